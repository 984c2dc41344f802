package eventstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
)

// AccessQuery selects records of accesses; what is empty does not restrict.
type AccessQuery struct {
	Subject, Actor string
	// Before is a position, 0 for all.
	Before int64
	// Limit and Bytes bound a page, which has one record at least if there are any.
	Limit, Bytes int
	// Count asks for the number of all matches, too.
	Count bool
}

// AccessPage is some of the records, and the state of the log that it shows.
type AccessPage struct {
	// Events are the latest first.
	Events []domain.Event
	// Next is the position before which the next page has more; 0 on the last one.
	Next int64
	// Count is nil where it was not asked for.
	Count *int64
	Head  int64
	Epoch uuid.UUID
}

// Accesses are the records of an organisation about a subject, by an actor, or both. One
// round trip. RoleQuery.
func (s *Store) Accesses(ctx context.Context, org string, q AccessQuery) (AccessPage, error) {
	var page AccessPage
	var count, found int64
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('hub.org', $1, true)`, org)
	batch.Queue(`SELECT head, epoch FROM log_head()`).QueryRow(func(row pgx.Row) error { return row.Scan(&page.Head, &page.Epoch) })
	if q.Count {
		page.Count = &count
		text, args := q.all(org)
		batch.Queue(`SELECT count(*) `+text, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&count) })
	}
	text, args := q.sql(org)
	batch.Queue(text, args...).Query(func(rows pgx.Rows) (err error) {
		page.Events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (domain.Event, error) {
			var e domain.Event
			return e, scanEvent(&e).from(row, &found)
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return AccessPage{}, fmt.Errorf("reading accesses: %w", err)
	}
	if found > int64(len(page.Events)) {
		page.Next = page.Events[len(page.Events)-1].Position
	}
	// What came while this was read is not of the state that the page shows.
	page.Events = slices.DeleteFunc(page.Events, func(e domain.Event) bool { return e.Position > page.Head })
	return page, nil
}

// all is what comes after SELECT and its columns for every match, as e.
func (q AccessQuery) all(org string) (text string, args []any) {
	from := `FROM events e WHERE e.org = $1`
	args = []any{org, q.Actor}
	if q.Subject != "" {
		args = append(args, string(domain.SubjectTag(q.Subject)))
		from = `FROM event_tags t CROSS JOIN LATERAL (SELECT * FROM events WHERE events.position = t.position OFFSET 0) e
			WHERE t.org = $1 AND t.tag = $3`
	}
	return from + ` AND e.type = 'access.recorded' AND ($2 = '' OR e.actor->>'sub' = $2)`, args
}

// sql is the text of a page; what is beyond its bytes is not read.
func (q AccessQuery) sql(org string) (text string, args []any) {
	matching, args := q.all(org)
	if q.Before > 0 {
		args = append(args, q.Before)
		before := fmt.Sprintf(" AND e.position < $%d", len(args))
		if q.Subject != "" {
			before += fmt.Sprintf(" AND t.position < $%d", len(args))
		}
		matching += before
	}
	return fmt.Sprintf(`SELECT %s, found FROM (
		SELECT e.*, count(*) OVER () AS found, row_number() OVER (ORDER BY e.position DESC) AS place,
		       coalesce(sum(octet_length(e.data) + octet_length(e.subjects::text)) OVER (ORDER BY e.position DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS size_before
		  FROM (SELECT e.* %s ORDER BY e.position DESC LIMIT %d) e) w
		 WHERE place <= %d AND size_before < %d ORDER BY position DESC`, columns, matching, q.Limit+1, q.Limit, q.Bytes), args
}
