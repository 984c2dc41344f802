package eventstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
)

// Accesses are the records of an organisation about a subject, by an actor, or both, the
// latest first, of positions before one (0 for all). more says that there are others.
// RoleQuery.
func (s *Store) Accesses(ctx context.Context, org, subject, actor string, before int64, limit int) (found []domain.Event, more bool, err error) {
	args := []any{org, limit + 1, before, actor}
	from := `FROM events e WHERE e.org = $1`
	if subject != "" {
		args = append(args, string(domain.SubjectTag(subject)))
		from = `FROM event_tags t CROSS JOIN LATERAL (SELECT * FROM events WHERE events.position = t.position OFFSET 0) e
			WHERE t.org = $1 AND t.tag = $5 AND ($3 = 0 OR t.position < $3)`
	}
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('hub.org', $1, true)`, org)
	batch.Queue(`SELECT `+columns+` FROM (SELECT e.* `+from+`
		   AND e.type = 'access.recorded' AND ($3 = 0 OR e.position < $3) AND ($4 = '' OR e.actor->>'sub' = $4)
		 ORDER BY e.position DESC LIMIT $2) e ORDER BY position DESC`, args...).Query(func(rows pgx.Rows) error {
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (domain.Event, error) {
			var e domain.Event
			return e, scanEvent(&e).from(row)
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, false, fmt.Errorf("reading accesses: %w", err)
	}
	if more = len(found) > limit; more {
		found = found[:limit]
	}
	return found, more, nil
}
