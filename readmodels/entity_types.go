package readmodels

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// EntityType is an entity type as it is now.
type EntityType struct {
	Name      string          `json:"name" doc:"The type's name." example:"customer"`
	Title     string          `json:"title" doc:"What people call such entities." example:"Customer"`
	Schema    json.RawMessage `json:"schema" doc:"JSON Schema (draft 2020-12) of the attributes, as it was written."`
	Search    []string        `json:"search" doc:"Names of the attributes that q of the list of entities searches." example:"[\"name\",\"city\"]"`
	Version   int64           `json:"version" doc:"Counts the type's events; also its ETag." example:"1"`
	CreatedAt time.Time       `json:"created_at" doc:"When it was first defined."`
	CreatedBy string          `json:"created_by" doc:"Who defined it." example:"ana"`
	UpdatedAt time.Time       `json:"updated_at" doc:"When it was last changed."`
	UpdatedBy string          `json:"updated_by" doc:"Who changed it last." example:"ana"`

	Relationships []RelationshipKind `json:"relationships" doc:"The kinds of relationships that its entities can have."`
	Sensitive     []string           `json:"sensitive" doc:"Names of the attributes that only the role privacy sees; all others see ***." example:"[\"iban\"]"`
	DataSubject   bool               `json:"data_subject" doc:"true when each entity is a person, of whom everything is sealed in the log."`
	AuditReads    string             `json:"audit_reads" enum:"sensitive,all" doc:"Which reads of its entities are recorded: those of sensitive attributes in clear, or all." example:"sensitive"`
}

// AuditAll is EntityType.AuditReads where every read is recorded.
const AuditAll = "all"

// bytes are about what it takes in an answer; 0 for none.
func (t *EntityType) bytes() int {
	if t == nil {
		return 0
	}
	const kind = 200 // of relationships, with long names
	return len(t.Schema) + kind*len(t.Relationships)
}

// RelationshipKind is a kind of relationships, as a type declares it.
type RelationshipKind struct {
	Kind      string `json:"kind" doc:"Its name: a lower-case letter, then up to 62 lower-case letters, digits or underscores." example:"employer"`
	Target    string `json:"target" doc:"The type that targets are of." example:"company"`
	OnArchive string `json:"on_archive,omitempty" enum:"restrict,detach" default:"restrict" doc:"When a target is archived: restrict refuses that while an entity in use refers to it, detach removes the relationships."`
	Acyclic   bool   `json:"acyclic,omitempty" doc:"true when following the kind must never lead back to where it began, as with parents."`
}

// entityTypeColumns are what scanEntityType reads, of the alias t.
const entityTypeColumns = `t.name, t.title, t.schema, t.version, t.created_at, t.created_by, t.updated_at, t.updated_by, t.relationships, t.search, t.sensitive, t.data_subject, t.audit_reads`

// entityTypeRow is a row of entityTypeColumns, which is one of nulls where a statement
// finds nothing.
type entityTypeRow struct {
	name, title, createdBy, updatedBy *string
	auditReads                        *string
	schema, relationships             []byte
	search, sensitive                 []string
	dataSubject                       *bool
	version                           *int64
	createdAt, updatedAt              *time.Time
}

// columns are what a row is scanned into.
func (r *entityTypeRow) columns() []any {
	return []any{&r.name, &r.title, &r.schema, &r.version, &r.createdAt, &r.createdBy, &r.updatedAt, &r.updatedBy, &r.relationships, &r.search, &r.sensitive, &r.dataSubject, &r.auditReads}
}

// entityType is what was scanned, nil for a row of nulls.
func (r *entityTypeRow) entityType() (*EntityType, error) {
	if r.name == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	found := &EntityType{
		Name: *r.name, Title: *r.title, Schema: r.schema, Search: r.search, Version: *r.version,
		CreatedAt: r.createdAt.UTC(), CreatedBy: *r.createdBy, UpdatedAt: r.updatedAt.UTC(), UpdatedBy: *r.updatedBy,
		Sensitive: r.sensitive, DataSubject: *r.dataSubject, AuditReads: cmp.Or(*r.auditReads, "sensitive"),
	}
	return found, json.Unmarshal(r.relationships, &found.Relationships)
}

// scanEntityType reads a row, and into before what comes before it; nil for a row of nulls.
func scanEntityType(scan func(...any) error, before ...any) (*EntityType, error) {
	var r entityTypeRow
	if err := scan(append(before, r.columns()...)...); err != nil {
		return nil, err
	}
	return r.entityType()
}

// EntityType gives one type of an organisation. Problem: NotFound not_found, together
// with the snapshot in which it was not there.
func (s *Store) EntityType(ctx context.Context, org, name string) (EntityType, Snapshot, error) {
	var found *EntityType
	notFound := problem.New(problem.NotFound, "not_found", "There is no entity type with this name.")
	if !storable(name) {
		return EntityType{}, Snapshot{}, notFound
	}
	at, err := s.read(ctx, org, entitiesView, func(schema string) statement {
		found = nil
		return statement{
			sql: `SELECT ` + heads + `, ` + entityTypeColumns + `
				FROM ` + pointed + ` LEFT JOIN ` + schema + `.entity_types t ON t.org = $2 AND t.name = $3`,
			args: []any{entitiesView, org, name},
			row: func(scan func(...any) error) (err error) {
				found, err = scanEntityType(scan)
				return err
			},
		}
	})
	switch {
	case err != nil:
		return EntityType{}, at, err
	case found == nil:
		return EntityType{}, at, notFound
	}
	return *found, at, nil
}

// EntityTypePage is a page of types.
type EntityTypePage struct {
	Items      []EntityType `json:"items" doc:"The types of this page, by name."`
	NextCursor *string      `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64       `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

// EntityTypes lists the types of an organisation by name. Problems: invalid_limit
// (Invalid), invalid_cursor (Malformed), epoch_changed (Conflict).
func (s *Store) EntityTypes(ctx context.Context, org string, p Page) (EntityTypePage, Snapshot, error) {
	limit, err := p.limit()
	if err != nil {
		return EntityTypePage{}, Snapshot{}, err
	}
	scope := cursorScope{org: org, route: "entity_types", sort: "name"}
	after, from := "", cursor{} // no name is empty, so all come after that
	if p.Cursor != "" {
		if from, err = s.open(p.Cursor, scope); err != nil {
			return EntityTypePage{}, Snapshot{}, err
		}
		if from.Value == nil {
			return EntityTypePage{}, Snapshot{}, invalidCursor()
		}
		after = *from.Value
	}
	var page EntityTypePage
	var cut bool
	at, err := s.read(ctx, org, entitiesView, func(schema string) statement {
		page = EntityTypePage{Items: []EntityType{}}
		return statement{
			sql: `SELECT ` + heads + `, ` + p.counted(schema+".entity_types WHERE org = $2") + `, ` + entityTypeColumns + `
				FROM ` + pointed + ` LEFT JOIN LATERAL (
					SELECT ` + entityTypeColumns + ` FROM ` + schema + `.entity_types t
					 WHERE t.org = $2 AND t.name > $3 ORDER BY t.name LIMIT $4
				) t ON true ORDER BY t.name`,
			args: []any{entitiesView, org, after, limit + 1},
			cut:  &cut,
			row: func(scan func(...any) error) error {
				found, err := scanEntityType(scan, &page.Count)
				if found != nil {
					page.Items = append(page.Items, *found)
				}
				return err
			},
		}
	})
	if err == nil && p.Cursor != "" {
		err = from.sameLog(at)
	}
	if err != nil {
		return EntityTypePage{}, at, err
	}
	if page.Items, cut = paged(page.Items, limit, cut); cut {
		next, err := s.seal(cursor{Epoch: at.Epoch, Value: &page.Items[len(page.Items)-1].Name}, scope)
		if err != nil {
			return EntityTypePage{}, at, err
		}
		page.NextCursor = &next
	}
	return page, at, nil
}
