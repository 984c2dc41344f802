package readmodels

import (
	"context"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// SelectEntities gives all entities that the query finds and the reader may see, most of
// them at most, each in its version, in the order in which they were made. Sort, pages and
// AsOf of the query do not count. Problems: those of Entities, and Invalid
// too_many_entities.
func (s *Store) SelectEntities(ctx context.Context, by Reader, q EntityQuery, most int) ([]entity.Selected, Snapshot, error) {
	q.Sort, q.Limit, q.Cursor, q.Offset, q.AsOf, q.ExpandTypes, q.Count = "", 0, "", 0, nil, false, false
	plan, err := s.plan(by, q)
	if err != nil {
		return nil, Snapshot{}, err
	}
	var (
		selected []entity.Selected
		hits     searchRow
		seals    sealedRow
	)
	at, err := s.read(ctx, by.Org, plan.view(), func(schema string) statement {
		selected = nil
		sql, args := plan.selection(schema, most)
		return statement{sql: sql, args: args, row: func(scan func(...any) error) error {
			var id *uuid.UUID
			var version *int64
			columns := append(plan.searchColumns(&hits), plan.sealedColumns(&seals)...)
			if err := scan(append(columns, &id, &version)...); err != nil || id == nil {
				return err
			}
			selected = append(selected, entity.Selected{ID: *id, Version: *version})
			return nil
		}}
	})
	if err == nil {
		err = plan.outcome(seals)
	}
	if err == nil && q.Search != "" {
		var truncated bool
		if truncated, err = hits.outcome(); err == nil && truncated {
			err = problem.New(problem.Invalid, "invalid_search", "More match q than can be told apart from others, or what is searched was just changed. Search for more words, or again in a moment.").
				With(problem.Field{Location: "query.q", Message: "must find at most 5,000 entities"})
		}
	}
	if err == nil && len(selected) > most {
		err = problem.New(problem.Invalid, "too_many_entities", "The filter finds more than %d entities. Narrow it, and do the rest after that.", most)
	}
	if err != nil {
		return nil, at, err
	}
	return selected, at, nil
}

// selection is the statement, for one entity more than may be selected.
func (p *entityPlan) selection(schema string, most int) (string, []any) {
	args := arguments{p.view()}
	_, from := p.sources(schema, &args)
	with, beside := p.searching(schema, &args)
	beside += p.sealing(schema, &args)
	return with + `SELECT ` + p.heads(schema, &args) + beside + `, e.id, e.version FROM ` + pointed + ` LEFT JOIN LATERAL (
		SELECT e.id, e.version` + from.columns + ` FROM ` + from.rows + ` WHERE ` + p.where(schema, from, &args) +
		` ORDER BY e.id LIMIT ` + args.add(most+1) + `) e ON true ORDER BY e.id`, args
}
