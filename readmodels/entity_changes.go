package readmodels

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// relationshipAdded tells the event that adds a relationship from the one that removes it.
var relationshipAdded = entity.RelationshipAdded{}.EventType()

// EntityVersion is one version of an entity: the event that made it, and what that
// changed.
type EntityVersion struct {
	Version       int64          `json:"version" doc:"The version that it made." example:"2"`
	Position      int64          `json:"position" doc:"Position of the event." example:"4712"`
	EventID       uuid.UUID      `json:"event_id" doc:"Id of the event." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c12"`
	Type          string         `json:"type" doc:"Type of the event." example:"entity.updated"`
	RecordedAt    time.Time      `json:"recorded_at" doc:"When it was recorded."`
	By            string         `json:"by" doc:"Who did it." example:"ana"`
	OnBehalfOf    *string        `json:"on_behalf_of" nullable:"true" doc:"For whom a service did it." example:"ben"`
	Reason        *string        `json:"reason" nullable:"true" doc:"Why, as Hub-Reason said; *** where that is about persons and not shown, null when there was none or they were erased." example:"Customer called"`
	RequestID     string         `json:"request_id" doc:"X-Request-Id of the request." example:"web-4f1a"`
	CorrelationID string         `json:"correlation_id" doc:"What it belongs to, through all that followed." example:"web-4f1a"`
	Changes       []EntityChange `json:"changes" doc:"What it changed, by path."`

	// SealedReason is the reason where that is about persons; Reason has a mask for it.
	SealedReason *domain.Sealed `json:"-"`
	// Audited says that every read of the entity is recorded.
	Audited bool `json:"-"`
}

// EntityChange is one value before and after.
type EntityChange struct {
	Path      string          `json:"path" doc:"JSON pointer (RFC 6901) to the value in the entity." example:"/attributes/city"`
	Attribute *string         `json:"attribute,omitempty" doc:"Name of the attribute, if it is one." example:"city"`
	From      json.RawMessage `json:"from" nullable:"true" doc:"The value before; null when there was none, *** when it is not shown." example:"\"Paris\""`
	To        json.RawMessage `json:"to" nullable:"true" doc:"The value after; null when there is none, *** when it is not shown." example:"\"Lyon\""`
}

// EntityVersionQuery selects versions of an entity.
type EntityVersionQuery struct {
	Page
	// Attribute, when not empty, selects those that changed the attribute of this name.
	Attribute string
	// OldestFirst turns the order round.
	OldestFirst bool
}

// EntityVersionPage is a page of an entity's history.
type EntityVersionPage struct {
	Items      []EntityVersion `json:"items" doc:"The versions of this page."`
	NextCursor *string         `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64          `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

// EntityVersions tells how an entity became what it is: all of its versions, however many
// and however old. Problems: NotFound not_found; invalid_limit, invalid_filter (Invalid),
// invalid_cursor (Malformed), epoch_changed (Conflict).
func (s *Store) EntityVersions(ctx context.Context, by Reader, id uuid.UUID, q EntityVersionQuery) (EntityVersionPage, Snapshot, error) {
	limit, err := q.limit()
	if err != nil {
		return EntityVersionPage{}, Snapshot{}, err
	}
	if !storable(q.Attribute) {
		return EntityVersionPage{}, Snapshot{}, invalidFilter("attribute", "must be UTF-8 without NUL characters")
	}
	scope := cursorScope{org: by.Org, route: "entity_versions", sort: strconv.FormatBool(q.OldestFirst), filters: []string{id.String(), q.Attribute}}
	from, after, err := s.afterVersion(q, scope)
	if err != nil {
		return EntityVersionPage{}, Snapshot{}, err
	}
	var (
		page        EntityVersionPage
		exists, cut bool
	)
	at, err := s.read(ctx, by.Org, entityHistoryView, func(schema string) statement {
		page, exists = EntityVersionPage{Items: []EntityVersion{}}, false
		args := arguments{entityHistoryView, by.Org, id, after.Time, after.Version, limit + 1, q.Attribute}
		return statement{
			sql: entityVersionsSQL(schema, q, by, &args), args: args, cut: &cut,
			row: func(scan func(...any) error) error {
				var r entityVersionRow
				if err := scan(append([]any{&page.Count}, r.columns(&exists)...)...); err != nil || r.version == nil {
					return err
				}
				page.Items = append(page.Items, r.entityVersion(q.Attribute))
				return nil
			},
		}
	})
	switch {
	case err != nil:
		return EntityVersionPage{}, at, err
	case q.Cursor != "" && from.sameLog(at) != nil:
		return EntityVersionPage{}, at, from.sameLog(at)
	case !exists:
		return EntityVersionPage{}, at, problem.New(problem.NotFound, "not_found", "There is no entity with this id.")
	}
	if page.Items, cut = paged(page.Items, limit, cut); cut {
		end := page.Items[len(page.Items)-1]
		last := string(encoded(versionPlace{end.RecordedAt, end.Version}))
		next, err := s.seal(cursor{Epoch: at.Epoch, Value: &last}, scope)
		if err != nil {
			return EntityVersionPage{}, at, err
		}
		page.NextCursor = &next
	}
	return page, at, nil
}

// versionPlace is a place between the versions of an entity.
type versionPlace struct {
	Time    time.Time
	Version int64
}

// ends of all versions, in times that every database knows.
var (
	firstVersion = versionPlace{Time: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}
	lastVersion  = versionPlace{Time: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
)

// afterVersion reads a cursor, and the place that the page begins after.
func (s *Store) afterVersion(q EntityVersionQuery, scope cursorScope) (cursor, versionPlace, error) {
	switch {
	case q.Cursor == "" && q.OldestFirst:
		return cursor{}, firstVersion, nil
	case q.Cursor == "":
		return cursor{}, lastVersion, nil
	}
	from, err := s.open(q.Cursor, scope)
	if err != nil {
		return from, versionPlace{}, err
	}
	if from.Value == nil {
		return from, versionPlace{}, invalidCursor()
	}
	var place versionPlace
	if err := json.Unmarshal([]byte(*from.Value), &place); err != nil {
		return from, place, invalidCursor()
	}
	return from, place, nil
}

// entityVersionsSQL joins to each version the one before it. As ranges and sorted by the
// id, too, as in seenAt. Entities that the reader may not see are not named as targets either.
func entityVersionsSQL(schema string, q EntityVersionQuery, by Reader, args *arguments) string {
	table := schema + ".entity_versions "
	beyond, direction := "(v.id, v.updated_at, v.version) < ($3, $4, $5) AND v.id >= $3", " DESC"
	if q.OldestFirst {
		beyond, direction = "(v.id, v.updated_at, v.version) > ($3, $4, $5) AND v.id <= $3", " ASC"
	}
	all := table + "v WHERE v.org = $2 AND v.id = $3 AND ($7::text = '' OR $7::text = ANY (v.changed))"
	return `SELECT ` + heads + `, ` + q.counted(all) + `, EXISTS (SELECT FROM ` + table + `f WHERE f.org = $2 AND f.id = $3 AND ` + by.sees(schema, "f.org", "f.id", args) + `),
		       v.version, v.position, v.event_id, v.event_type, v.updated_at, v.updated_by, v.on_behalf_of, v.reason, v.request_id, v.correlation_id,
		       v.type, v.key, v.type_version, b.type_version, v.status, b.status, v.tags, b.tags, v.changed, v.kind,
		       CASE WHEN ` + by.sees(schema, "v.org", "v.target::uuid", args) + ` THEN v.target ELSE '` + Hidden + `' END,
		       ARRAY(SELECT (b.attributes -> name)::text FROM unnest(v.changed) WITH ORDINALITY AS u(name, nth) ORDER BY nth),
		       ARRAY(SELECT (v.attributes -> name)::text FROM unnest(v.changed) WITH ORDINALITY AS u(name, nth) ORDER BY nth)` + audited(schema, "$2", "v.type") + `
		  FROM ` + pointed + ` LEFT JOIN LATERAL (
			SELECT * FROM ` + table + `v
			 WHERE v.org = $2 AND ` + beyond + ` AND ($7::text = '' OR $7::text = ANY (v.changed))
			 ORDER BY v.id` + direction + `, v.updated_at` + direction + `, v.version` + direction + ` LIMIT $6
		  ) v ON true LEFT JOIN LATERAL (
			SELECT * FROM ` + table + `b
			 WHERE b.org = $2 AND (b.id, b.updated_at, b.version) < (v.id, v.updated_at, v.version) AND b.id >= v.id
			 ORDER BY b.id DESC, b.updated_at DESC, b.version DESC LIMIT 1
		  ) b ON true
		 ORDER BY v.version` + direction
}

// entityVersionRow is a row of entityVersionsSQL, which is one of nulls where it finds
// nothing.
type entityVersionRow struct {
	version, position                   *int64
	eventID                             *uuid.UUID
	eventType, by, onBehalfOf, reason   *string
	requestID, correlationID            *string
	recordedAt                          *time.Time
	typeName, key, status, statusBefore *string
	typeVersion, typeVersionBefore      *int64
	tags, tagsBefore, changed           []string
	from, to                            []*string
	// kind and target are of the relationship that was added or removed.
	kind, target *string
	audited      *bool
}

func (r *entityVersionRow) columns(exists *bool) []any {
	return []any{
		exists, &r.version, &r.position, &r.eventID, &r.eventType, &r.recordedAt, &r.by, &r.onBehalfOf, &r.reason, &r.requestID, &r.correlationID,
		&r.typeName, &r.key, &r.typeVersion, &r.typeVersionBefore, &r.status, &r.statusBefore, &r.tags, &r.tagsBefore, &r.changed, &r.kind, &r.target, &r.from, &r.to, &r.audited,
	}
}

// entityVersion leaves out the changes of other attributes when one is asked for.
func (r *entityVersionRow) entityVersion(attribute string) EntityVersion {
	v := EntityVersion{
		Version: *r.version, Position: *r.position, EventID: *r.eventID, Type: *r.eventType, RecordedAt: r.recordedAt.UTC(),
		By: *r.by, OnBehalfOf: r.onBehalfOf, Reason: r.reason, RequestID: *r.requestID, CorrelationID: *r.correlationID,
		Changes: []EntityChange{}, Audited: *r.audited,
	}
	if r.reason != nil {
		if value, ok := domain.ParseSealed([]byte(*r.reason), v.EventID, domain.ReasonPointer); ok {
			hidden := Hidden
			v.Reason, v.SealedReason = &hidden, &value
		}
	}
	for i, name := range r.changed {
		if attribute == "" || name == attribute {
			v.Changes = append(v.Changes, EntityChange{
				Path: "/attributes/" + pointerEscaping.Replace(name), Attribute: &name, From: shown(r.from[i]), To: shown(r.to[i]),
			})
		}
	}
	if attribute == "" {
		v.Changes = append(v.Changes, r.otherChanges()...)
	}
	slices.SortFunc(v.Changes, func(a, b EntityChange) int { return strings.Compare(a.Path, b.Path) })
	return v
}

// otherChanges are those that are not of attributes.
func (r *entityVersionRow) otherChanges() []EntityChange {
	var changes []EntityChange
	add := func(path string, from, to any) {
		changes = append(changes, EntityChange{Path: path, From: encoded(from), To: encoded(to)})
	}
	if r.statusBefore == nil { // the first
		add("/type", nil, *r.typeName)
		if *r.typeVersion > 0 {
			add("/type_version", nil, *r.typeVersion)
		}
		if r.key != nil {
			add("/key", nil, *r.key)
		}
		add("/status", nil, *r.status)
		if len(r.tags) > 0 {
			add("/tags", nil, r.tags)
		}
		return changes
	}
	if *r.status != *r.statusBefore {
		add("/status", *r.statusBefore, *r.status)
	}
	if *r.typeVersion != *r.typeVersionBefore {
		add("/type_version", *r.typeVersionBefore, *r.typeVersion)
	}
	if !slices.Equal(r.tags, r.tagsBefore) {
		add("/tags", r.tagsBefore, r.tags)
	}
	switch {
	case r.kind == nil:
	case *r.eventType == relationshipAdded:
		add("/relationships/"+*r.kind, nil, *r.target)
	default:
		add("/relationships/"+*r.kind, *r.target, nil)
	}
	return changes
}

// pointerEscaping writes a name into a JSON pointer (RFC 6901 §3).
var pointerEscaping = strings.NewReplacer("~", "~0", "/", "~1")

// Hidden stands for a value that is not shown.
const Hidden = "***"

// shown is a value as it may be shown: what is sealed is not.
func shown(value *string) json.RawMessage {
	switch {
	case value == nil:
		return json.RawMessage("null")
	case sealed([]byte(*value)):
		return encoded(Hidden)
	}
	return json.RawMessage(*value)
}

// sealed reports whether a value is a sealed one: an object with the member $sealed,
// which no other value has.
func sealed(value []byte) bool {
	if !bytes.HasPrefix(value, []byte("{")) {
		return false
	}
	var object struct {
		Sealed *json.RawMessage `json:"$sealed"`
	}
	return json.Unmarshal(value, &object) == nil && object.Sealed != nil
}

// encoded is the JSON of what can always be written.
func encoded(value any) json.RawMessage {
	text, _ := json.Marshal(value)
	return text
}
