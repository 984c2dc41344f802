package readmodels

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Reader is who asks for entities: of an organisation, those that the reader may see.
type Reader struct {
	Org string
	// Principals are the names that the reader goes by in ACL entries; without any, only
	// what has no entries is seen.
	Principals []string
}

// sees is the condition that the reader may see the entity of two columns. It
// belongs into every query that shows, counts, finds or orders entities: as part of
// it, neither totals nor pages tell of what is left out. The table has a row only for
// what is not open to all, in the snapshot of the rows that it guards.
func (r Reader) sees(schema, org, id string, args *arguments) string {
	if entity.SeesAll(r.Principals) {
		return "true"
	}
	names := args.add(r.Principals) + "::text[]"
	return `NOT EXISTS (SELECT FROM ` + schema + `.entity_access a WHERE a.org = ` + org + ` AND a.id = ` + id + `
		AND NOT coalesce(a.readers && ` + names + ` AND NOT a.denied && ` + names + `, false))` // no names at all are null
}

// audited is a further column: whether every read of entities of a type is recorded. The
// types of which that is so, a few, are looked up once in a statement.
func audited(schema, org, typeName string) string { return `, ` + auditedType(schema, org, typeName) }

func auditedType(schema, org, typeName string) string {
	return typeName + ` = ANY (ARRAY(SELECT t.name FROM ` + schema + `.entity_types t WHERE t.org = ` + org + ` AND t.audit_reads = '` + AuditAll + `'))`
}

// EntityACL are the entries that say who may do what with an entity, for whom it does
// itself not ask: see domain/entity.AllowedTo.
type EntityACL struct {
	Entries []entity.ACLEntry
	Version int64
}

// EntityACL gives the entries of an entity of an organisation, also one that not everybody
// may see. Problem: NotFound not_found.
func (s *Store) EntityACL(ctx context.Context, org string, id uuid.UUID) (EntityACL, Snapshot, error) {
	var found EntityACL
	at, err := s.read(ctx, org, entitiesView, func(schema string) statement {
		found = EntityACL{}
		return statement{
			sql:  `SELECT ` + heads + `, e.version, a.entries FROM ` + pointed + entityWithACL(schema),
			args: []any{entitiesView, org, id},
			row:  found.scan,
		}
	})
	return found, at, found.missing(err)
}

// entityWithACL joins an entity's version and entries; $2 is the organisation, $3 the id.
func entityWithACL(schema string) string {
	return ` LEFT JOIN LATERAL (
			SELECT * FROM ` + schema + `.entities e WHERE e.org = $2 AND e.id BETWEEN $3 AND $3 ORDER BY e.id LIMIT 1
		) e ON true LEFT JOIN ` + schema + `.entity_access a ON a.org = $2 AND a.id = e.id`
}

func (a *EntityACL) scan(scan func(...any) error) error {
	var version *int64
	var entries []byte
	if err := scan(&version, &entries); err != nil || version == nil {
		return err
	}
	a.Version = *version
	if entries == nil {
		return nil
	}
	if err := json.Unmarshal(entries, &a.Entries); err != nil {
		return fmt.Errorf("reading ACL entries: %w", err)
	}
	return nil
}

func (a *EntityACL) missing(err error) error {
	if err == nil && a.Version == 0 {
		err = problem.New(problem.NotFound, "not_found", "There is no entity with this id.")
	}
	return err
}

// Membership is what the directory knows of a login; Known is false when it was never seen.
type Membership struct {
	Known         bool
	Roles, Groups []string
}

// EntityACLWith is EntityACL together with what the directory knows of a login. The
// position is the least of the two views'.
func (s *Store) EntityACLWith(ctx context.Context, org string, id uuid.UUID, sub string) (found EntityACL, member Membership, at Snapshot, err error) {
	for range maxSwitches {
		directory, err := s.schema(ctx, membersView)
		if err != nil {
			return found, member, at, err
		}
		var (
			current  *string
			position *int64
		)
		at, err = s.read(ctx, org, entitiesView, func(schema string) statement {
			found, member = EntityACL{}, Membership{}
			return statement{
				sql: `SELECT ` + heads + `, mp.schema, mc.position, m.sub IS NOT NULL, m.roles, m.groups, e.version, a.entries
					FROM ` + pointed + entityWithACL(schema) + `
					LEFT JOIN view_pointers mp ON mp.name = $4 LEFT JOIN view_checkpoints mc ON mc.schema = mp.schema
					LEFT JOIN ` + pgx.Identifier{directory}.Sanitize() + `.members m ON m.org = $2 AND m.sub = $5`,
				args: []any{entitiesView, org, id, membersView, sub},
				row: func(scan func(...any) error) error {
					return found.scan(func(destinations ...any) error {
						return scan(append([]any{&current, &position, &member.Known, &member.Roles, &member.Groups}, destinations...)...)
					})
				},
			}
		})
		if err == nil && current != nil && *current == directory && position != nil {
			at.Position = min(at.Position, *position)
			return found, member, at, found.missing(nil)
		}
		if p := problem.Of(err); err != nil && (p == nil || p.Code != noView().Code) {
			return found, member, at, err
		}
		s.forget(membersView, directory)
	}
	return found, member, at, noView()
}
