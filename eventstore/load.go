package eventstore

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
)

// loadedAtOnce is how many events of boundaries one round trip fetches: few enough to
// be held in memory whatever their size, enough to make the trips cheap.
const loadedAtOnce = 2000

// BoundaryEvent is an event as one of the loaded boundaries contains it. Only what
// a fold may see is read, ID, Stream, Type, SchemaVersion, Tags, Subjects and Data, and
// what says by whom and when: Position, Actor.Sub and RecordedAt.
type BoundaryEvent struct {
	// Mark is the index of the boundary among those asked for.
	Mark  int
	Event domain.Event
}

// Loader reads the events of the marked boundaries after their marks, in position
// order, in one round trip. When there are too many for one, more is true: then
// those that came are all up to the position of the last, and asking again with no
// mark before that position brings the next.
type Loader func(ctx context.Context, marks []Mark) (events []BoundaryEvent, more bool, err error)

// Load is a Loader. RoleCommand only.
func (s *Store) Load(ctx context.Context, marks []Mark) (events []BoundaryEvent, more bool, err error) {
	return load(ctx, s.pool, marks)
}

func load(ctx context.Context, q querier, marks []Mark) (events []BoundaryEvent, more bool, err error) {
	var b boundaryArrays
	b.add(marks)
	rows, err := q.Query(ctx, `SELECT boundary, position, id, stream, type, schema_version, event_tags, subjects, data, actor_sub, recorded_at
		FROM load_boundaries($1, $2, $3, $4)`, b.org, b.tag, b.head, loadedAtOnce)
	if err != nil {
		return nil, false, fmt.Errorf("loading boundaries: %w", err)
	}
	events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (BoundaryEvent, error) {
		var (
			loaded BoundaryEvent
			stream string
			tags   []string
		)
		e := &loaded.Event
		err := row.Scan(&loaded.Mark, &e.Position, &e.ID, &stream, &e.Type, &e.SchemaVersion, &tags, &e.Subjects, &e.Data, &e.Actor.Sub, &e.RecordedAt)
		loaded.Mark--
		e.Stream, e.Tags, e.RecordedAt = domain.Tag(stream), asTags(tags), e.RecordedAt.UTC()
		return loaded, err
	})
	if err != nil {
		return nil, false, fmt.Errorf("loading boundaries: %w", err)
	}
	return events, len(events) >= loadedAtOnce, nil
}

// ReceiptKey finds a stored outcome by command or, when Key is not empty, by
// idempotency key.
type ReceiptKey struct {
	CommandID        uuid.UUID
	Org, Caller, Key string
}

// StoredOutcome is an answer that was given before.
type StoredOutcome struct {
	Receipt
	// Refusal is the JSON it was refused with, nil when accepted.
	Refusal []byte
	// EventTypes are those of FirstPosition to Position.
	EventTypes []string
}

// FindReceipts returns what is stored for any of the keys, in no order. RoleCommand only.
func (s *Store) FindReceipts(ctx context.Context, keys []ReceiptKey) ([]StoredOutcome, error) {
	return findReceipts(ctx, s.pool, keys)
}

func findReceipts(ctx context.Context, q querier, keys []ReceiptKey) ([]StoredOutcome, error) {
	var (
		ids                     [][16]byte
		orgs, callers, keyTexts []string
	)
	for _, k := range keys {
		ids = append(ids, k.CommandID)
		orgs = append(orgs, k.Org)
		callers = append(callers, k.Caller)
		keyTexts = append(keyTexts, k.Key)
	}
	rows, err := q.Query(ctx, `
		SELECT (f.receipt).command_id, (f.receipt).org, (f.receipt).caller, coalesce((f.receipt).idempotency_key, ''),
		       (f.receipt).request_hash, (f.receipt).refusal, (f.receipt).resource_id, (f.receipt).created,
		       (f.receipt).version, coalesce((f.receipt).first_position, 0), (f.receipt).position, f.event_types
		  FROM find_receipts($1, $2, $3, $4) f`, ids, orgs, callers, keyTexts)
	if err != nil {
		return nil, fmt.Errorf("finding receipts: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (StoredOutcome, error) {
		var o StoredOutcome
		err := row.Scan(&o.CommandID, &o.Org, &o.Caller, &o.IdempotencyKey, &o.RequestHash, &o.Refusal, &o.ResourceID,
			&o.Created, &o.Version, &o.FirstPosition, &o.Position, &o.EventTypes)
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("finding receipts: %w", err)
	}
	return found, nil
}
