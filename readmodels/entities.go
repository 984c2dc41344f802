package readmodels

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// entitiesView is the view that holds entities and their types.
const entitiesView = "entities"

// Entity is an entity as it is now.
type Entity struct {
	ID         uuid.UUID       `json:"id" doc:"The entity's id." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Type       string          `json:"type" doc:"Name of its type." example:"customer"`
	Key        *string         `json:"key" nullable:"true" doc:"The organisation's own identifier, unique within the type; null when it has none." example:"C-17"`
	Status     string          `json:"status" enum:"active,archived" doc:"Archived entities are out of use and can be restored."`
	Attributes json.RawMessage `json:"attributes" doc:"Values by name."`
	Tags       []string        `json:"tags" doc:"Labels for finding." example:"[\"vip\"]"`
	Version    int64           `json:"version" doc:"Counts the entity's events; also its ETag." example:"3"`
	// TypeVersion is 0 where no event says.
	TypeVersion int64     `json:"type_version" doc:"The version of the type that the attributes were last held against." example:"1"`
	CreatedAt   time.Time `json:"created_at" doc:"When it was created."`
	CreatedBy   string    `json:"created_by" doc:"Who created it." example:"ana"`
	UpdatedAt   time.Time `json:"updated_at" doc:"When it was last changed."`
	UpdatedBy   string    `json:"updated_by" doc:"Who changed it last." example:"ana"`

	// Definition is the type itself, when asked for.
	Definition *EntityType `json:"-"`
	// Sealed are the sensitive attributes, when asked for; Attributes has masks for them.
	Sealed map[string]domain.Sealed `json:"-"`
	// Audited says that every read of it is recorded.
	Audited bool `json:"-"`
	// rank is how well it matches what is searched for.
	rank int64
}

// entityColumns are what an entityRow holds of the alias e, beside audited.
const entityColumns = `e.id, e.type, e.key, e.status, e.attributes, e.tags, e.version, e.type_version, e.created_at, e.created_by, e.updated_at, e.updated_by`

// Entity gives one entity that the reader may see, archived or not. Problem: NotFound
// not_found, together with the snapshot in which it was not there.
func (s *Store) Entity(ctx context.Context, by Reader, id uuid.UUID, expandType bool) (Entity, Snapshot, error) {
	return s.entity(ctx, by, id, expandType, false)
}

// ClearEntity is Entity with Sealed, for who may see that.
func (s *Store) ClearEntity(ctx context.Context, by Reader, id uuid.UUID, expandType bool) (Entity, Snapshot, error) {
	return s.entity(ctx, by, id, expandType, true)
}

func (s *Store) entity(ctx context.Context, by Reader, id uuid.UUID, expandType, withSealed bool) (Entity, Snapshot, error) {
	var (
		e      Entity
		found  bool
		sealed []byte
	)
	at, err := s.read(ctx, by.Org, entitiesView, func(schema string) statement {
		e, found, sealed = Entity{}, false, nil
		args := arguments{entitiesView, by.Org, id}
		columns, types, before := entityColumns+audited(schema, "$2", "e.type"), "", []any(nil)
		if withSealed {
			columns, before = sealedColumn+", "+columns, []any{&sealed}
		}
		row := newEntityRow(before, expandType)
		if expandType {
			columns += ", " + entityTypeColumns
			types = ` LEFT JOIN ` + schema + `.entity_types t ON t.org = $2 AND t.name = e.type`
		}
		return statement{
			sql: `SELECT ` + heads + `, ` + columns + `
				FROM ` + pointed + ` LEFT JOIN LATERAL (
					-- As a range and sorted: the other indexes end with the id, too, and a
					-- plan made while there were few entities would keep to any of them.
					SELECT * FROM ` + schema + `.entities e
					 WHERE e.org = $2 AND e.id BETWEEN $3 AND $3 AND ` + by.sees(schema, "e.org", "e.id", &args) + ` ORDER BY e.id LIMIT 1
				) e ON true` + types,
			args: args,
			row: func(scan func(...any) error) (err error) {
				if found, err = row.scan(scan, &e); err == nil {
					e.Sealed, err = entity.ReadSealedRow(id, sealed)
				}
				return err
			},
		}
	})
	if err == nil && !found {
		err = problem.New(problem.NotFound, "not_found", "There is no entity with this id.")
	}
	return e, at, err
}

// EntityPage is a page of entities.
type EntityPage struct {
	Items      []Entity `json:"items" doc:"The entities of this page."`
	NextCursor *string  `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64   `json:"count,omitempty" doc:"How many match in all, when asked for."`
	Truncated  bool     `json:"truncated,omitempty" doc:"true when a search may have left out matches: more match q than are looked at, or what is searched of a type was changed a moment ago. Search for more words, or again."`
}

// Entities lists entities that the reader may see. Problems: invalid_sort, invalid_filter,
// invalid_limit, invalid_offset, invalid_search, not_searchable (Invalid), invalid_cursor
// (Malformed), epoch_changed (Conflict).
func (s *Store) Entities(ctx context.Context, by Reader, q EntityQuery) (EntityPage, Snapshot, error) {
	plan, err := s.plan(by, q)
	if err != nil {
		return EntityPage{}, Snapshot{}, err
	}
	var (
		page  EntityPage
		types map[string]*EntityType
		// cut is of the page, unread of what the database left out.
		cut, unread bool
		hits        searchRow
		seals       sealedRow
	)
	at, err := s.read(ctx, by.Org, plan.view(), func(schema string) statement {
		page, types, unread = EntityPage{Items: make([]Entity, 0, plan.limit+1)}, map[string]*EntityType{}, false
		sql, args := plan.sql(schema)
		row := newEntityRow(slices.Concat([]any{&page.Count}, plan.searchColumns(&hits), plan.sealedColumns(&seals)), q.ExpandTypes)
		return statement{sql: sql, args: args, cut: &cut, planned: plan.planned(), row: func(scan func(...any) error) error {
			var e Entity
			found, err := row.scan(scan, &e)
			if err == nil {
				e.Sealed, err = entity.ReadSealedRow(e.ID, seals.column)
			}
			if e.Definition != nil {
				types[e.Definition.Name] = e.Definition
			}
			if unread = unread || found && e.Attributes == nil; found && !unread {
				e.rank = hits.rankOf()
				page.Items = append(page.Items, e)
			}
			return err
		}}
	})
	if err == nil {
		err = plan.outcome(seals)
	}
	if err == nil && plan.after != nil {
		err = plan.after.sameLog(at)
	}
	if err == nil && q.Search != "" {
		page.Truncated, err = hits.outcome()
	}
	if err != nil {
		return EntityPage{}, at, err
	}
	page.Items, cut = paged(page.Items, plan.limit, cut || unread)
	if q.ExpandTypes {
		cut = page.expand(types) || cut
	}
	if cut {
		next, err := s.seal(plan.cursorAt(page.Items[len(page.Items)-1], at), plan.scope)
		if err != nil {
			return EntityPage{}, at, err
		}
		page.NextCursor = &next
	}
	return page, at, nil
}
