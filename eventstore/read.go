package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
)

// MaxReadLimit is the most events one call returns: about 1 MiB of usual events,
// at the very most 1 GiB.
const MaxReadLimit = 4096

// columns are those of domain.Event in the order that scanEvent reads.
const columns = `position, org_position, epoch, id, org, stream, version, type, schema_version, tags, subjects, data,
	actor, on_behalf_of, reason, request_id, correlation_id, causation_id, command_id, occurred_at, recorded_at, leaf_hash`

// LogEntry is an event as the relay sends it: the last event of a command brings
// the command's receipt, so that a lost tail could be restored from the copies.
type LogEntry struct {
	domain.Event
	Receipt *Receipt
}

// Receipt is what the log keeps of an accepted command's answer.
type Receipt struct {
	CommandID      uuid.UUID `json:"command_id"`
	Org            string    `json:"org"`
	Caller         string    `json:"caller"`
	IdempotencyKey string    `json:"idempotency_key,omitempty"`
	RequestHash    []byte    `json:"request_hash,omitempty"`
	ResourceID     string    `json:"resource_id"`
	Created        bool      `json:"created"`
	Version        int64     `json:"version"`
	// FirstPosition is 0 when the command had no events.
	FirstPosition int64 `json:"first_position"`
	Position      int64 `json:"position"`
}

// ReadLog reads the whole log, all organisations, in position order after a
// position. RoleRelay and RoleProjector only.
func (s *Store) ReadLog(ctx context.Context, after int64, limit int) ([]LogEntry, error) {
	rows, err := s.pool.Query(ctx, `SELECT * FROM read_log($1, $2)`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the log after %d: %w", after, err)
	}
	entries, err := pgx.CollectRows(rows, scanLogEntry)
	if err != nil {
		return nil, fmt.Errorf("reading the log after %d: %w", after, err)
	}
	return entries, nil
}

// ReadStream reads one stream of any organisation in version order, from a version on.
// RoleProjector only.
func (s *Store) ReadStream(ctx context.Context, org string, stream domain.Tag, from int64, limit int) ([]domain.Event, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM read_stream($1, $2, $3, $4)`, org, string(stream), from, limit)
	if err != nil {
		return nil, fmt.Errorf("reading a stream from version %d: %w", from, err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (domain.Event, error) {
		var e domain.Event
		return e, scanEvent(&e).from(row)
	})
	if err != nil {
		return nil, fmt.Errorf("reading a stream from version %d: %w", from, err)
	}
	return events, nil
}

// Query selects events of one organisation. Fields left zero do not restrict.
type Query struct {
	Stream domain.Tag
	Tag    domain.Tag
	Types  []string
	// After and Before are exclusive positions; Before 0 is the end of the log.
	After, Before int64
	// Backwards gives the newest first.
	Backwards bool
	// Limit is at most MaxReadLimit, which is also its default.
	Limit int
}

// Read returns events of one organisation, at most q.Limit. RoleCommand and
// RoleQuery; row-level security holds the organisation even if the text did not.
func (s *Store) Read(ctx context.Context, org string, q Query) ([]domain.Event, error) {
	text, args := q.sql()
	var events []domain.Event
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('hub.org', $1, true)`, org)
	batch.Queue(text, append([]any{org}, args...)...).Query(func(rows pgx.Rows) error {
		var err error
		events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (domain.Event, error) {
			var e domain.Event
			scan := scanEvent(&e)
			return e, scan.from(row)
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return events, nil
}

// Page is a part of what a query selects, and how far the log was just before.
type Page struct {
	Events []domain.Event
	// More says that a bound has cut the page: there may be more behind its last event.
	More bool
	// Head is the last position of the log and Epoch the one in force. All of the query's
	// events up to the head are in the page, or behind it.
	Head  int64
	Epoch uuid.UUID
}

// Page reads forwards and stops after about maxBytes of data, so that a page of the
// largest events stays in bounds: it then has those up to and with the one that begins
// within them. One round trip. RoleCommand and RoleQuery, as Read.
func (s *Store) Page(ctx context.Context, org string, q Query, maxBytes int) (Page, error) {
	text, args := q.sql()
	// What is left out is not read: a large value is a pointer until it is looked at.
	text = fmt.Sprintf(`SELECT %s, found FROM (
		SELECT e.*, count(*) OVER () AS found,
		       coalesce(sum(octet_length(e.data)) OVER (ORDER BY e.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS size_before
		  FROM (%s) e) w WHERE size_before < %d ORDER BY position`, columns, text, maxBytes)
	var (
		page  Page
		found int64
	)
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('hub.org', $1, true)`, org)
	batch.Queue(`SELECT head, epoch FROM log_head()`).QueryRow(func(row pgx.Row) error { return row.Scan(&page.Head, &page.Epoch) })
	batch.Queue(text, append([]any{org}, args...)...).Query(func(rows pgx.Rows) error {
		var err error
		page.Events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (domain.Event, error) {
			var e domain.Event
			return e, scanEvent(&e).from(row, &found)
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return Page{}, fmt.Errorf("reading a page of events: %w", err)
	}
	page.More = found > int64(len(page.Events)) || found == int64(q.limit())
	// What came while this was read may be of another epoch already; it is for the next page.
	behind := func(e domain.Event) bool { return e.Position > page.Head }
	if slices.ContainsFunc(page.Events, behind) {
		page.Events, page.More = slices.DeleteFunc(page.Events, behind), false
	}
	return page, nil
}

// sql is the query's text; $1 is the organisation. Types and tags are looked up in their
// own indexes and never filtered out of all the organisation's events, of which a rare one
// would take all to be read.
func (q Query) sql() (string, []any) {
	b := &queryBuilder{}
	order := "ASC"
	if q.Backwards {
		order = "DESC"
	}
	switch {
	case q.Stream != "":
		// Versions have the same order, and it is the one that the stream's index has.
		where := "e.org = $1 AND e.stream = " + b.arg(string(q.Stream)) + b.between("e", q)
		if len(q.Types) > 0 {
			where += " AND e.type = ANY (" + b.arg(q.Types) + ")"
		}
		if q.Tag != "" {
			where += " AND " + b.arg(string(q.Tag)) + " = ANY (e.tags)"
		}
		return fmt.Sprintf("SELECT %s FROM events e WHERE %s ORDER BY version %s LIMIT %d", columns, where, order, q.limit()), b.args
	case q.Tag != "":
		tagged := "t.org = $1 AND t.tag = " + b.arg(string(q.Tag)) + b.between("t", q)
		if len(q.Types) > 0 {
			tagged += " AND (SELECT k.type FROM events k WHERE k.org = $1 AND k.position = t.position) = ANY (" + b.arg(q.Types) + ")"
		}
		return q.at(fmt.Sprintf("SELECT t.position FROM event_tags t WHERE %s ORDER BY t.position %s LIMIT %d", tagged, order, q.limit()), order), b.args
	case len(q.Types) > 0:
		types := "SELECT DISTINCT w.type FROM unnest(" + b.arg(q.Types) + "::text[]) AS w(type)"
		each := fmt.Sprintf("SELECT k.position FROM events k WHERE k.org = $1 AND %s%s ORDER BY k.type %s, k.position %s LIMIT %d", q.ofType(b), b.between("k", q), order, order, q.limit())
		return q.at(fmt.Sprintf("SELECT p.position FROM (%s) w CROSS JOIN LATERAL (%s) p ORDER BY p.position %s LIMIT %d", types, each, order, q.limit()), order), b.args
	}
	return fmt.Sprintf("SELECT %s FROM events e WHERE e.org = $1%s ORDER BY position %s LIMIT %d", columns, b.between("e", q), order, q.limit()), b.args
}

// at selects the events at some positions. OFFSET keeps this a look-up for each.
func (q Query) at(positions, order string) string {
	return fmt.Sprintf(`SELECT %s FROM (SELECT e.* FROM (%s) p
		CROSS JOIN LATERAL (SELECT * FROM events WHERE events.org = $1 AND events.position = p.position OFFSET 0) e) found ORDER BY position %s`,
		columns, positions, order)
}

// ofType is k.type = w.type in the order of the query, put so that the planner can use
// no other index than that of types, and in it goes straight to where the query begins. As
// an equation it would be taken for a filter on all events of the organisation.
func (q Query) ofType(b *queryBuilder) string {
	if !q.Backwards {
		return "(k.type, k.position) > (w.type, " + b.arg(q.After) + ") AND k.type <= w.type"
	}
	before := q.Before
	if before <= 0 {
		before = math.MaxInt64
	}
	return "(k.type, k.position) < (w.type, " + b.arg(before) + ") AND k.type >= w.type"
}

func (q Query) limit() int {
	if q.Limit <= 0 || q.Limit > MaxReadLimit {
		return MaxReadLimit
	}
	return q.Limit
}

// queryBuilder numbers the arguments of a query after the organisation.
type queryBuilder struct{ args []any }

func (b *queryBuilder) arg(v any) string {
	b.args = append(b.args, v)
	return fmt.Sprintf("$%d", len(b.args)+1)
}

// between are the conditions on the position in a table.
func (b *queryBuilder) between(table string, q Query) (where string) {
	if q.After > 0 {
		where += " AND " + table + ".position > " + b.arg(q.After)
	}
	if q.Before > 0 {
		where += " AND " + table + ".position < " + b.arg(q.Before)
	}
	return where
}

func scanLogEntry(row pgx.CollectableRow) (LogEntry, error) {
	var (
		entry                 LogEntry
		hash                  []byte
		caller, key, resource *string
		created               *bool
		version, first, final *int64
	)
	e := &entry.Event
	err := scanEvent(e).from(row, &caller, &key, &hash, &resource, &created, &version, &first, &final)
	if err != nil || final == nil {
		return entry, err
	}
	entry.Receipt = &Receipt{
		CommandID: e.CommandID, Org: e.Org, Caller: *caller, IdempotencyKey: orZero(key), RequestHash: hash,
		ResourceID: *resource, Created: *created, Version: *version, FirstPosition: orZero(first), Position: *final,
	}
	return entry, nil
}

// eventScan holds what differs between a row of events and a domain.Event.
type eventScan struct {
	event                                         *domain.Event
	stream                                        string
	tags                                          []string
	actor, onBehalfOf                             []byte
	reason, requestID, correlationID, causationID *string
}

func scanEvent(e *domain.Event) *eventScan { return &eventScan{event: e} }

func (s *eventScan) from(row pgx.CollectableRow, further ...any) error {
	e := s.event
	err := row.Scan(append([]any{
		&e.Position, &e.OrgPosition, &e.Epoch, &e.ID, &e.Org, &s.stream, &e.Version, &e.Type, &e.SchemaVersion,
		&s.tags, &e.Subjects, &e.Data, &s.actor, &s.onBehalfOf, &s.reason, &s.requestID, &s.correlationID,
		&s.causationID, &e.CommandID, &e.OccurredAt, &e.RecordedAt, &e.LeafHash,
	}, further...)...)
	if err != nil {
		return err
	}
	e.Stream = domain.Tag(s.stream)
	e.Tags = asTags(s.tags)
	e.Reason, e.RequestID = orZero(s.reason), orZero(s.requestID)
	e.CorrelationID, e.CausationID = orZero(s.correlationID), orZero(s.causationID)
	e.OccurredAt, e.RecordedAt = e.OccurredAt.UTC(), e.RecordedAt.UTC()
	if err := json.Unmarshal(s.actor, &e.Actor); err != nil {
		return fmt.Errorf("reading the actor of position %d: %w", e.Position, err)
	}
	if s.onBehalfOf != nil {
		e.OnBehalfOf = new(domain.Actor)
		if err := json.Unmarshal(s.onBehalfOf, e.OnBehalfOf); err != nil {
			return fmt.Errorf("reading on_behalf_of of position %d: %w", e.Position, err)
		}
	}
	return nil
}

func asTags(texts []string) []domain.Tag {
	tags := make([]domain.Tag, len(texts))
	for i, text := range texts {
		tags[i] = domain.Tag(text)
	}
	return tags
}

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
