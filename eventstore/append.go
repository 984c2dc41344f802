package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/reactdjango-hub/backend/domain"
)

// Boundary is a tag within an organisation.
type Boundary struct {
	Org string
	Tag domain.Tag
}

// Mark is a boundary and the position up to which its events were read.
type Mark struct {
	Boundary
	Head int64
}

// NewEvent is an event without its place in the log.
type NewEvent struct {
	ID            uuid.UUID
	Stream        domain.Tag
	Version       int64
	Type          string
	SchemaVersion int
	// Tags include the stream and, for every subject, its "subject:" tag.
	Tags     []domain.Tag
	Subjects []string
	// Reason is why, as it is stored: ciphertext where there are subjects.
	Reason string
	Data   []byte
}

// Outcome is a decided command whose answer is kept: with events when accepted,
// with Refusal (JSON) when refused, with neither when nothing had to change.
type Outcome struct {
	Meta           domain.Meta
	IdempotencyKey string
	RequestHash    []byte
	Refusal        []byte
	ResourceID     string
	Created        bool
	Version        int64
	Events         []NewEvent
}

// Turn is what one append writes: all of it or nothing. Marks name every boundary
// that any outcome depends on, also outcomes that are not kept.
type Turn struct {
	// Incarnation is that of the log which the marked boundaries were read from, as
	// Locked gives it. Without marks it does not matter.
	Incarnation string
	Marks       []Mark
	Outcomes    []Outcome
	// With queues statements that are done behind it in the same transaction, under the
	// log's lock: should one fail, nothing of the turn is written. Nil for none.
	With func(*pgx.Batch)
}

// Appended says where a turn went, or why it went nowhere.
type Appended struct {
	// Base is the position before the turn's first event.
	Base       int64
	RecordedAt time.Time
	// Other says that the log is not the one that the turn was decided on: its server
	// was started again, or is another, and may have lost events.
	Other bool
	// Moved holds indexes into Marks of boundaries that have later events;
	// KnownCommands and KnownKeys indexes into Outcomes of what was answered before.
	Moved, KnownCommands, KnownKeys []int
}

// Refused reports that nothing was written because the turn was decided on a past state.
func (a Appended) Refused() bool {
	return a.Other || len(a.Moved)+len(a.KnownCommands)+len(a.KnownKeys) > 0
}

// ErrUnknownOutcome wraps errors after which a turn may or may not be in the log.
var ErrUnknownOutcome = errors.New("the log did not say whether it was written")

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// Append writes a turn if nothing it depends on has moved, durably, in one round
// trip. An error that wraps ErrUnknownOutcome leaves open whether it was written;
// any other means it was not.
func (s *Store) Append(ctx context.Context, t Turn) (Appended, error) {
	return appendTurn(ctx, s.pool, t)
}

// Locked holds the log's lock while do decides: what do reads is the newest there
// is and stays so until it returns. Nil from do commits. Errors as with Append.
func (s *Store) Locked(ctx context.Context, do func(*LockedLog) error) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("starting a transaction: %w", err)
	}
	// After a commit this does nothing; before, the connection may be gone anyway.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	log := &LockedLog{tx: tx}
	if err := tx.QueryRow(ctx, `SELECT lock_log()`).Scan(&log.Incarnation); err != nil {
		return fmt.Errorf("locking the log: %w", err)
	}
	if err := do(log); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return unknownUnlessRefused(err)
	}
	return nil
}

// LockedLog is the log while its lock is held.
type LockedLog struct {
	tx pgx.Tx
	// Incarnation changes when the server of the log is started again or replaced:
	// what was read before may then be of events that this log does not have.
	Incarnation string
}

// Load is a Loader.
func (l *LockedLog) Load(ctx context.Context, marks []Mark) (events []BoundaryEvent, more bool, err error) {
	return load(ctx, l.tx, marks)
}

// FindReceipts reads as Store.FindReceipts does.
func (l *LockedLog) FindReceipts(ctx context.Context, keys []ReceiptKey) ([]StoredOutcome, error) {
	return findReceipts(ctx, l.tx, keys)
}

// Append writes a turn that becomes durable when Locked returns nil.
func (l *LockedLog) Append(ctx context.Context, t Turn) (Appended, error) {
	return appendTurn(ctx, l.tx, t)
}

func appendTurn(ctx context.Context, q querier, t Turn) (Appended, error) {
	args, err := t.args()
	if err != nil {
		return Appended{}, err
	}
	var (
		a                               Appended
		incarnation                     string
		moved, knownCommands, knownKeys []int32
	)
	const statement = `SELECT incarnation, base, recorded, moved, known_commands, known_keys
		FROM append_events($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,$26,$27,$28,$29)`
	answer := []any{&incarnation, &a.Base, &a.RecordedAt, &moved, &knownCommands, &knownKeys}
	if t.With == nil {
		err = q.QueryRow(ctx, statement, args...).Scan(answer...)
	} else {
		batch := &pgx.Batch{}
		batch.Queue(statement, args...).QueryRow(func(row pgx.Row) error { return row.Scan(answer...) })
		t.With(batch)
		err = q.SendBatch(ctx, batch).Close()
	}
	if err != nil {
		if unsent(err) {
			return Appended{}, fmt.Errorf("appending: %w", err)
		}
		return Appended{}, unknownUnlessRefused(err)
	}
	a.Other = len(t.Marks) > 0 && incarnation != t.Incarnation
	a.RecordedAt = a.RecordedAt.UTC()
	a.Moved, a.KnownCommands, a.KnownKeys = fromOne(moved), fromOne(knownCommands), fromOne(knownKeys)
	return a, nil
}

// unknownUnlessRefused tells a refusal by the server, which means that it rolled
// back, from a connection that broke in between.
func unknownUnlessRefused(err error) error {
	if refused(err) {
		return fmt.Errorf("appending: %w", err)
	}
	return fmt.Errorf("appending: %w: %w", ErrUnknownOutcome, err)
}

// refused: an answer of the severity FATAL ends the session, perhaps after the commit;
// a proxy may word the loss of the server as an error, in class 08 or 57P.
func refused(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.SeverityUnlocalized == "ERROR" &&
		!strings.HasPrefix(answer.Code, "08") && !strings.HasPrefix(answer.Code, "57P")
}

// unsent: the server was never asked. It does not hold for COMMIT, after which pgx
// calls a connection that breaks closed before.
func unsent(err error) bool {
	var unconnected *pgconn.ConnectError
	return errors.As(err, &unconnected) || pgconn.SafeToRetry(err)
}

// BadData reports that the server refused values as such (classes 22, 23 and 54), so
// that the same turn would be refused again.
func BadData(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && slices.Contains([]string{"22", "23", "54"}, answer.Code[:min(2, len(answer.Code))])
}

// args lays the turn out in the arrays of append_events.
func (t Turn) args() ([]any, error) {
	var b boundaryArrays
	b.add(t.Marks)
	var c outcomeArrays
	var m metaArrays
	var e eventArrays
	for _, o := range t.Outcomes {
		c.add(o)
		if err := m.add(o.Meta); err != nil {
			return nil, err
		}
		for _, event := range o.Events {
			e.add(event)
		}
	}
	return []any{
		t.Incarnation, b.org, b.tag, b.head,
		c.id, c.org, c.caller, c.key, c.hash, c.refusal, c.resource, c.created, c.version, c.events,
		m.actor, m.onBehalfOf, m.request, m.correlation, m.causation, m.occurred,
		e.id, e.stream, e.version, e.kind, e.schemaVersion, e.tags, e.subjects, e.reason, e.data,
	}, nil
}

type boundaryArrays struct {
	org, tag array[text]
	head     array[number]
}

func (a *boundaryArrays) add(marks []Mark) {
	for _, m := range marks {
		a.org = append(a.org, text(m.Org))
		a.tag = append(a.tag, text(m.Tag))
		a.head = append(a.head, number(m.Head))
	}
}

type outcomeArrays struct {
	id                    array[id]
	org, caller, resource array[text]
	key, refusal          array[optional]
	hash                  array[blob]
	created               []bool
	version, events       array[number]
}

func (a *outcomeArrays) add(o Outcome) {
	a.id = append(a.id, id(o.Meta.CommandID))
	a.org = append(a.org, text(o.Meta.Org))
	a.caller = append(a.caller, text(o.Meta.Actor.Sub))
	a.key = append(a.key, optional(o.IdempotencyKey))
	a.hash = append(a.hash, o.RequestHash)
	a.refusal = append(a.refusal, optional(o.Refusal))
	a.resource = append(a.resource, text(o.ResourceID))
	a.created = append(a.created, o.Created)
	a.version = append(a.version, number(o.Version))
	a.events = append(a.events, number(len(o.Events)))
}

// metaArrays are what events have of their command.
type metaArrays struct {
	command                                     array[id]
	org, actor                                  array[text]
	onBehalfOf, request, correlation, causation array[optional]
	occurred                                    []time.Time
}

func (a *metaArrays) add(m domain.Meta) error {
	actor, onBehalfOf, err := encodeActors(m)
	if err != nil {
		return err
	}
	a.command = append(a.command, id(m.CommandID))
	a.org = append(a.org, text(m.Org))
	a.actor = append(a.actor, text(actor))
	a.onBehalfOf = append(a.onBehalfOf, optional(onBehalfOf))
	a.request = append(a.request, optional(m.RequestID))
	a.correlation = append(a.correlation, optional(m.CorrelationID))
	a.causation = append(a.causation, optional(m.CausationID))
	a.occurred = append(a.occurred, m.Now)
	return nil
}

type eventArrays struct {
	id                           array[id]
	stream, kind, tags, subjects array[text]
	reason                       array[optional]
	version, schemaVersion       array[number]
	data                         array[blob]
}

func (a *eventArrays) add(e NewEvent) {
	a.id = append(a.id, id(e.ID))
	a.stream = append(a.stream, text(e.Stream))
	a.version = append(a.version, number(e.Version))
	a.kind = append(a.kind, text(e.Type))
	a.schemaVersion = append(a.schemaVersion, number(e.SchemaVersion))
	a.tags = append(a.tags, text(arrayLiteral(e.Tags)))
	a.subjects = append(a.subjects, text(arrayLiteral(e.Subjects)))
	a.reason = append(a.reason, optional(e.Reason))
	a.data = append(a.data, e.Data)
}

func encodeActors(m domain.Meta) (actor, onBehalfOf string, err error) {
	encoded, err := json.Marshal(m.Actor)
	if err != nil {
		return "", "", fmt.Errorf("encoding the actor: %w", err)
	}
	if m.OnBehalfOf == nil {
		return string(encoded), "", nil
	}
	other, err := json.Marshal(m.OnBehalfOf)
	if err != nil {
		return "", "", fmt.Errorf("encoding on_behalf_of: %w", err)
	}
	return string(encoded), string(other), nil
}

var quoteEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// arrayLiteral is PostgreSQL's text form of a text[]: rows of differing length do
// not fit a two-dimensional array.
func arrayLiteral[T ~string](items []T) string {
	var b strings.Builder
	length := 2
	for _, item := range items {
		length += len(item) + 3
	}
	b.Grow(length)
	b.WriteByte('{')
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		if !strings.ContainsAny(string(item), `"\`) {
			b.WriteString(string(item))
		} else {
			b.WriteString(quoteEscapes.Replace(string(item)))
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// fromOne turns PostgreSQL's numbers from 1 into indexes.
func fromOne(numbers []int32) []int {
	indexes := make([]int, len(numbers))
	for i, n := range numbers {
		indexes[i] = int(n) - 1
	}
	return indexes
}
