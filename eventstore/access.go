package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
)

// MaxAccessSubjects bounds the subjects of one record: those of a whole page.
const MaxAccessSubjects = 1000

// Access is what somebody is about to be shown.
type Access struct {
	Org       string
	Actor     domain.Actor
	RequestID string
	// Subjects are the persons, at least one.
	Subjects []string
	// SchemaVersion and Data are of the event access.recorded.
	SchemaVersion int
	Data          []byte
}

// RecordAccess writes that something is shown, durably, and returns the position of the
// event. RoleQuery: it can write nothing else.
func (s *Store) RecordAccess(ctx context.Context, a Access) (position int64, err error) {
	if len(a.Subjects) == 0 || len(a.Subjects) > MaxAccessSubjects {
		return 0, errors.New("an access has 1 to 1,000 subjects")
	}
	actor, err := json.Marshal(a.Actor)
	if err != nil {
		return 0, fmt.Errorf("encoding the actor: %w", err)
	}
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('hub.org', $1, true)`, a.Org)
	batch.Queue(`SELECT record_access($1, $2, $3, $4, $5, $6, $7)`,
		uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), string(actor), a.RequestID, a.Subjects, a.SchemaVersion, a.Data,
	).QueryRow(func(row pgx.Row) error { return row.Scan(&position) })
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return 0, fmt.Errorf("recording an access: %w", err)
	}
	return position, nil
}

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
