package readmodels

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// What was is answered from a view with every version of every entity, whole:
//
//	a time ──▶ of each entity the last version made until then
//
// The log's times never decrease, so a time stands for a position: the last event
// recorded until then. Lists by what never changes of an entity (its key, when it was
// made) walk first versions in that order and look up of each the one that the time sees,
// so they cost as much however many versions there are. By updated_at all versions are
// walked, and those that were followed by another until then are passed over.

// entityHistoryView is the view that holds the versions of entities.
const entityHistoryView = "entity_history"

// Moment says which state of an entity is wanted; zero is the present one.
type Moment struct {
	// AsOf is a time of the log. What was recorded until then counts.
	AsOf *time.Time
	// Version is one of the entity's; not together with AsOf.
	Version int64
}

// view is the one that answers the plan.
func (p *entityPlan) view() string {
	if p.query.AsOf != nil {
		return entityHistoryView
	}
	return entitiesView
}

// heads are the first columns of the plan's statement.
func (p *entityPlan) heads(schema string, args *arguments) string {
	if p.query.AsOf == nil {
		return heads
	}
	return headsAsOf(schema, args.add(p.by.Org), args.add(*p.query.AsOf))
}

// headsAsOf have in place of the view's position that which the time stands for: the
// view's, if that time is not behind it; otherwise that of the last event there is of
// the organisation's entities.
func headsAsOf(schema, org, at string) string {
	table := schema + ".entity_versions v WHERE v.org = " + org
	last := `(SELECT v.updated_at FROM ` + table + ` AND v.updated_at <= ` + at + ` ORDER BY v.updated_at DESC, v.id DESC LIMIT 1)`
	return `p.schema, CASE WHEN c.recorded_at <= ` + at + ` THEN c.position ELSE coalesce((
			SELECT max(l.position) FROM (
				SELECT * FROM ` + table + ` AND v.updated_at BETWEEN ` + last + ` AND ` + last + ` ORDER BY v.updated_at, v.id OFFSET 0
			) l), 0) END` + headsBeside
}

// seenAt is the version of an entity that a time sees. As a range and sorted by the id,
// too: one index alone fits that, so that a plan made while there were few keeps to it.
func seenAt(schema, org, id, at string) string {
	return `(SELECT * FROM ` + schema + `.entity_versions v
		 WHERE v.org = ` + org + ` AND (v.id, v.updated_at) <= (` + id + `, ` + at + `) AND v.id >= ` + id + `
		 ORDER BY v.id DESC, v.updated_at DESC, v.version DESC LIMIT 1)`
}

// pastSources are those of a plan about a time.
func (p *entityPlan) pastSources(schema string, args *arguments) (counted, listed source) {
	at := args.add(*p.query.AsOf)
	table := schema + ".entity_versions "
	firsts := source{
		rows:  table + "f CROSS JOIN LATERAL " + seenAt(schema, "f.org", "f.id", at) + " e",
		fixed: "f",
		where: " AND f.version = 1 AND f.created_at <= " + at,
	}
	if p.order.fixed {
		return firsts, firsts
	}
	return firsts, source{
		rows:  table + "e",
		fixed: "e",
		// A query of its own for each row: as a join it would be made for all rows first.
		where: " AND e.updated_at <= " + at + ` AND coalesce((SELECT n.updated_at > ` + at + ` FROM ` + table + `n
			 WHERE n.org = e.org AND (n.id, n.updated_at, n.version) > (e.id, e.updated_at, e.version) AND n.id <= e.id
			 ORDER BY n.id, n.updated_at, n.version LIMIT 1), true)`,
	}
}

// EntityAt gives one entity as it was, to a reader who may see it now. The snapshot is of the position
// that it was so at. Problem: NotFound not_found, as of Entity.
func (s *Store) EntityAt(ctx context.Context, by Reader, id uuid.UUID, when Moment) (Entity, Snapshot, error) {
	var (
		e     Entity
		found bool
	)
	at, err := s.read(ctx, by.Org, entityHistoryView, func(schema string) statement {
		e, found = Entity{}, false
		scanned := newEntityRow(nil, false)
		args := arguments{entityHistoryView, by.Org, id}
		var first, row string
		if when.AsOf != nil {
			moment := args.add(*when.AsOf)
			first, row = headsAsOf(schema, "$2", moment), seenAt(schema, "$2", "$3", moment)
		} else {
			version := args.add(when.Version)
			first = `p.schema, coalesce(e.position, c.position)` + headsBeside
			row = `(SELECT * FROM ` + schema + `.entity_versions v
				 WHERE v.org = $2 AND v.id BETWEEN $3 AND $3 AND v.version = ` + version + ` ORDER BY v.id, v.updated_at, v.version LIMIT 1)`
		}
		return statement{
			sql:  `SELECT ` + first + `, ` + entityColumns + audited(schema, "$2", "e.type") + ` FROM ` + pointed + ` LEFT JOIN LATERAL ` + row + ` e ON ` + by.sees(schema, "e.org", "e.id", &args),
			args: args,
			row: func(scan func(...any) error) (err error) {
				found, err = scanned.scan(scan, &e)
				return err
			},
		}
	})
	if err == nil && !found {
		err = problem.New(problem.NotFound, "not_found", "There was no entity with this id then.")
	}
	return e, at, err
}
