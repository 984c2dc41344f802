package projections

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

const (
	statusActive   = "active"
	statusArchived = "archived"
)

// entityFold is what a batch of events does to entities and types, each of them once
// and in the order in which they first appear: the same batch always gives the same
// statements.
type entityFold struct {
	entities      []*entityChange
	types         []*typeChange
	entityByID    map[entityID]*entityChange
	typeChangeFor map[typeID]*typeChange

	relationships   []*relationshipChange
	relationshipFor map[relationshipID]*relationshipChange
	access          accessChanges
}

type entityID struct {
	org string
	id  uuid.UUID
}

type typeID struct{ org, name string }

func newEntityFold() *entityFold {
	return &entityFold{
		entityByID: map[entityID]*entityChange{}, typeChangeFor: map[typeID]*typeChange{}, relationshipFor: map[relationshipID]*relationshipChange{},
	}
}

// entityChange is the sum of an entity's events in a batch. For one created in it,
// set holds all attributes; for others only the new ones. Zero means unchanged for
// status, set, tags and typeVersion.
type entityChange struct {
	entityID
	created   bool
	typeName  string
	key       string
	status    string
	set       map[string]json.RawMessage
	removed   map[string]struct{}
	tags      []string
	version   int64
	createdAt time.Time
	createdBy string
	updatedAt time.Time
	updatedBy string
	position  int64
	eventID   uuid.UUID

	typeVersion int64
	// sealed are the sensitive attributes among set, with the hashes of those that have one.
	sealed map[string]domain.Sealed
	hashes map[string]string
}

type typeChange struct {
	typeID
	title     string
	schema    json.RawMessage
	kinds     []entity.RelationshipKind
	search    []string
	sensitive []string
	subjects  bool
	audit     string
	version   int64
	createdAt time.Time
	createdBy string
	updatedAt time.Time
	updatedBy string
}

func (f *entityFold) add(e Event) error {
	if defined, ok := e.Payload.(entity.TypeDefined); ok {
		f.define(e, defined)
		return nil
	}
	id, err := uuid.Parse(e.Stream.Name())
	if err != nil {
		return fmt.Errorf("stream of %s is not named by an id", e.Type)
	}
	c := f.change(entityID{e.Org, id})
	switch p := e.Payload.(type) {
	case entity.Created:
		c.created, c.typeName, c.key, c.status = true, p.Type, p.Key, statusActive
		// A copy: later events of the batch change it, and the payload is not ours; what is
		// sealed was put together for this view.
		c.set, c.tags = maps.Clone(p.Attributes), p.Tags
		c.createdAt, c.createdBy, c.typeVersion = e.RecordedAt, e.Actor.Sub, p.TypeVersion
		c.sealed, c.hashes = e.Sealed, e.Hashes
	case entity.Updated:
		c.update(p)
		for name := range p.Attributes {
			delete(c.sealed, name)
			delete(c.hashes, name)
		}
		for name, value := range e.Sealed {
			c.sealed = with(c.sealed, name, value)
		}
		for name, hash := range e.Hashes {
			c.hashes = with(c.hashes, name, hash)
		}
	case entity.Archived:
		c.status = statusArchived
	case entity.Restored:
		c.status, c.typeVersion = statusActive, cmp.Or(p.TypeVersion, c.typeVersion)
	case entity.RelationshipAdded, entity.RelationshipRemoved:
		f.relate(e, id)
	case entity.AccessChanged:
		f.access.add(c.entityID, p.Entries)
	default:
		return fmt.Errorf("event type %s is not part of this view", e.Type)
	}
	c.version, c.position, c.eventID = e.Version, e.Position, e.ID
	c.updatedAt, c.updatedBy = e.RecordedAt, e.Actor.Sub
	return nil
}

func (f *entityFold) change(id entityID) *entityChange {
	c, found := f.entityByID[id]
	if !found {
		c = &entityChange{entityID: id}
		f.entityByID[id] = c
		f.entities = append(f.entities, c)
	}
	return c
}

// update composes: the last word on each attribute counts.
func (c *entityChange) update(p entity.Updated) {
	for name, value := range p.Attributes {
		if string(value) == "null" {
			delete(c.set, name)
			c.removed = with(c.removed, name, struct{}{})
		} else {
			delete(c.removed, name)
			c.set = with(c.set, name, value)
		}
	}
	if p.Tags != nil {
		c.tags = p.Tags
	}
	c.typeVersion = cmp.Or(p.TypeVersion, c.typeVersion)
}

// with is an assignment that makes the map when there is none.
func with[V any](m map[string]V, name string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[name] = value
	return m
}

func (f *entityFold) define(e Event, p entity.TypeDefined) {
	id := typeID{e.Org, p.Name}
	c, found := f.typeChangeFor[id]
	if !found {
		c = &typeChange{typeID: id, createdAt: e.RecordedAt, createdBy: e.Actor.Sub}
		f.typeChangeFor[id] = c
		f.types = append(f.types, c)
	}
	c.title, c.schema, c.kinds, c.search, c.version = p.Title, p.Schema, p.Relationships, p.Search, e.Version
	c.sensitive, c.subjects, c.audit = p.Sensitive, p.DataSubject, p.AuditReads
	c.updatedAt, c.updatedBy = e.RecordedAt, e.Actor.Sub
}

// entityRows are the columns of many changes, for unnest. Arrays of differing length
// do not fit a two-dimensional one, so tags and removed are array literals.
type entityRows struct {
	org, typeName, createdBy, updatedBy    []string
	key, status, attributes, removed, tags []*string
	sealed, touched                        []string
	id, eventID                            [][16]byte
	version, position, typeVersion         []int64
	createdAt, updatedAt                   []time.Time
}

func (r *entityRows) add(c *entityChange) error {
	r.org, r.id = append(r.org, c.org), append(r.id, c.id)
	r.typeName, r.key = append(r.typeName, c.typeName), append(r.key, orNull(c.key))
	r.status = append(r.status, orNull(c.status))
	var attributes, removed, tags *string
	if c.created || len(c.set) > 0 || len(c.removed) > 0 {
		text, err := encodeAttributes(c.set)
		if err != nil {
			return fmt.Errorf("encoding the attributes at position %d: %w", c.position, err)
		}
		gone := arrayLiteral(slices.Sorted(maps.Keys(c.removed)))
		attributes, removed = &text, &gone
	}
	if c.created || c.tags != nil {
		text := arrayLiteral(c.tags)
		tags = &text
	}
	r.attributes, r.removed, r.tags = append(r.attributes, attributes), append(r.removed, removed), append(r.tags, tags)
	r.version, r.position = append(r.version, c.version), append(r.position, c.position)
	r.createdAt, r.createdBy = append(r.createdAt, c.createdAt), append(r.createdBy, c.createdBy)
	r.updatedAt, r.updatedBy = append(r.updatedAt, c.updatedAt), append(r.updatedBy, c.updatedBy)
	r.eventID, r.typeVersion = append(r.eventID, c.eventID), append(r.typeVersion, c.typeVersion)
	r.addSealed(c)
	return nil
}

// addSealed adds the sensitive attributes, and the names of all that changed, of which only
// an update has a use.
func (r *entityRows) addSealed(c *entityChange) {
	text := entity.SealedRow(c.id, c.sealed, c.hashes)
	touched := "{}"
	if !c.created {
		names := slices.Concat(slices.Collect(maps.Keys(c.set)), slices.Collect(maps.Keys(c.removed)))
		slices.Sort(names)
		touched = arrayLiteral(names)
	}
	r.sealed, r.touched = append(r.sealed, string(text)), append(r.touched, touched)
}

// forInsert and forUpdate are in the order of the statements' parameters.
func (r *entityRows) forInsert() []any {
	return []any{
		r.org, r.id, r.typeName, r.key, r.status, r.attributes, r.tags, r.version,
		r.createdAt, r.createdBy, r.updatedAt, r.updatedBy, r.position, r.eventID, r.typeVersion, r.sealed,
	}
}

func (r *entityRows) forUpdate() []any {
	return []any{
		r.org, r.id, r.status, r.attributes, r.removed, r.tags, r.version,
		r.updatedAt, r.updatedBy, r.position, r.eventID, r.typeVersion, r.sealed, r.touched,
	}
}

func typeArrays(changes []*typeChange) ([]any, error) {
	var (
		org, name, title, schema, createdBy, updatedBy, relationships, search []string
		version                                                               []int64
		createdAt, updatedAt                                                  []time.Time
		sensitive, audit                                                      []string
		dataSubject                                                           []bool
	)
	for _, c := range changes {
		sensitive, dataSubject = append(sensitive, arrayLiteral(c.sensitive)), append(dataSubject, c.subjects)
		audit = append(audit, c.audit)
		org, name, title, schema = append(org, c.org), append(name, c.name), append(title, c.title), append(schema, string(c.schema))
		version, search = append(version, c.version), append(search, arrayLiteral(c.search))
		createdAt, createdBy = append(createdAt, c.createdAt), append(createdBy, c.createdBy)
		updatedAt, updatedBy = append(updatedAt, c.updatedAt), append(updatedBy, c.updatedBy)
		kinds, err := json.Marshal(append([]entity.RelationshipKind{}, c.kinds...))
		if err != nil {
			return nil, err
		}
		relationships = append(relationships, string(kinds))
	}
	return []any{org, name, title, schema, version, createdAt, createdBy, updatedAt, updatedBy, relationships, search, sensitive, dataSubject, audit}, nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// arrayLiteral is PostgreSQL's text form of a text[].
func arrayLiteral(items []string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for j := range len(item) {
			if item[j] == '"' || item[j] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(item[j])
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}
