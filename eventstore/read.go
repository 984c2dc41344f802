package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

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

// sql is the query's text; $1 is the organisation.
func (q Query) sql() (string, []any) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	where := []string{"org = $1"}
	if q.Tag != "" {
		where = append(where, "position IN (SELECT t.position FROM event_tags t WHERE t.org = $1 AND t.tag = "+arg(string(q.Tag))+")")
	}
	if q.Stream != "" {
		where = append(where, "stream = "+arg(string(q.Stream)))
	}
	if len(q.Types) > 0 {
		where = append(where, "type = ANY ("+arg(q.Types)+")")
	}
	if q.After > 0 {
		where = append(where, "position > "+arg(q.After))
	}
	if q.Before > 0 {
		where = append(where, "position < "+arg(q.Before))
	}
	order := "ASC"
	if q.Backwards {
		order = "DESC"
	}
	limit := q.Limit
	if limit <= 0 || limit > MaxReadLimit {
		limit = MaxReadLimit
	}
	by := "position"
	if q.Stream != "" {
		// The same order, and the one that the stream's index has.
		by = "version"
	}
	return fmt.Sprintf("SELECT %s FROM events WHERE %s ORDER BY %s %s LIMIT %d",
		columns, strings.Join(where, " AND "), by, order, limit), args
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
