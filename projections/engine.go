// Package projections keeps the read tables: it follows the log in position order
// and folds each batch of events into rows.
//
//	HUB_EVENTS or the log                    ┌─ checkpoint: from ─▶ to, or abandon
//	(eventstore/subscription) ──▶ batch ──▶ fold ──▶ rows          (one transaction,
//	                                         └─ commit             one round trip)
//
// A view's rows and its checkpoint commit together, and the checkpoint moves only
// from the position that the batch was folded on. So each event takes effect exactly
// once, whoever crashes, and a second engine on the same view does no harm.
//
// A view owns a PostgreSQL schema, and a row of view_pointers says which schema
// answers for it. A rebuild, or a newer version of a projection, builds another
// schema beside it and swaps the pointer (rebuild.go).
package projections

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// Projection declares one view.
type Projection struct {
	// Name and Version make the name of its schema: lower-case letters and
	// underscores. The version goes up when the tables or what is in them change;
	// the new one is then built beside the old.
	Name    string
	Version int
	// Types are the event types it is made of; all others only move its position.
	Types []string
	// Tables are made by DDL in the schema given, which is quoted already. Each needs
	// a primary key and a column org; the engine secures them (row-level security,
	// grants). Indexes, which only queries need, are made when the tables are filled.
	Tables  []string
	DDL     func(schema string) string
	Indexes func(schema string) string
	// Masked says that masks of sensitive values are all that the view has a use for: its
	// events have nothing in Sealed and Hashes.
	Masked bool
	// Apply queues the statements that bring the tables of the schema from the
	// position before the first event to that of the last. Set-based: a batch is up
	// to subscription.MaxEvents events and as few statements as can be. An error blames
	// the events; a stream whose event is refused comes later than others (parked.go).
	Apply func(batch *pgx.Batch, schema string, events []Event) error
	// Settle, if there is one, does a bounded part of what Apply has left for later; see
	// settle.go. Backlog is the table that has rows while something is left.
	Settle  func(ctx context.Context, tx pgx.Tx, schema string) error
	Backlog string
}

// Event is an event of the log together with its payload, upcast to the schema
// version of this program.
type Event struct {
	domain.Event
	// Payload has sealed values opened, as far as views may show them.
	Payload domain.Payload
	// Sealed are the sensitive values of the payload, which shows masks for them, and Hashes
	// the keyed hashes of those that are single values, as hex.
	Sealed map[string]domain.Sealed
	Hashes map[string]string
}

// Options are what the engine and a rebuild work on.
type Options struct {
	// Pool writes the views, as eventstore.RoleProjector; a rebuild needs two
	// connections at a time.
	Pool *pgxpool.Pool
	// Feed brings events as they happen. Without it, nil or with NATS down, they are
	// read from the store.
	Feed *subscription.Feed
	// Store reads the log, as eventstore.RoleProjector.
	Store *eventstore.Store
	Codec *eventstore.Codec
	// Keys open sealed values, as eventstore.RoleProjector; nil for a log without any.
	Keys *keyring.Keyring
	// Notify is called after every commit; it must not block. Nil does nothing.
	Notify func()
	// Log is told when a view stops and goes on; nil is silent.
	Log *slog.Logger
	// Metrics gets what the engine counts; nil counts nowhere.
	Metrics *telemetry.Registry
	// Tracer records batches in the traces that their events belong to; nil records
	// nothing.
	Tracer *telemetry.Tracer

	// VerifyEvery is how often the views are held against the log by themselves; 0 never.
	VerifyEvery time.Duration

	// Projections are the views to keep; nil is All.
	Projections []Projection

	// leaseTTL is 0 (lease.DefaultTTL) but in tests, and stalledAfter as the constant.
	leaseTTL     time.Duration
	stalledAfter time.Duration
}

func (o Options) withDefaults() Options {
	if o.Notify == nil {
		o.Notify = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.stalledAfter == 0 {
		o.stalledAfter = stalledAfter
	}
	if o.Projections == nil {
		o.Projections = All()
	}
	return o
}

// projection finds one by name, or returns ErrUnknownView.
func (o Options) projection(name string) (Projection, error) {
	for _, p := range o.Projections {
		if p.Name == name {
			return p, nil
		}
	}
	return Projection{}, fmt.Errorf("%w: %s", ErrUnknownView, name)
}

// Status is what this process knows of a view.
type Status struct {
	Name string `json:"name"`
	// Leads says that this process keeps the view; another does otherwise, and the
	// rest is zero.
	Leads    bool   `json:"leads"`
	Schema   string `json:"schema"`
	Position int64  `json:"position"`
	Lag
	// Parked is how many streams wait because an event of theirs cannot be applied.
	Parked int `json:"parked"`
	// Err says in a sentence for operators why the view does not go on; empty when
	// all is well.
	Err string `json:"error,omitempty"`
}

// Engine keeps all views up to date, in turn with the engines of other processes: each
// view is led by one of them at a time (internal/lease), and jobs are done by any.
type Engine struct {
	workers []*worker
	runner  *runner
	moves   *moves
}

// New makes an engine for all projections (All).
func New(options Options) *Engine {
	options = options.withDefaults()
	engine := &Engine{runner: newRunner(options), moves: newMoves(options.Pool)}
	for _, p := range options.Projections {
		w := newWorker(options, p)
		w.moves = engine.moves
		w.measure()
		engine.workers = append(engine.workers, w)
	}
	return engine
}

// Prepare makes the views that are not there yet, empty, so that queries find them as
// soon as the process serves. What cannot be done now Run does, or tells why not.
func (e *Engine) Prepare(ctx context.Context) {
	for _, w := range e.workers {
		if _, err := ensureView(ctx, w.options, w.projection); err != nil {
			w.options.Log.Warn("projections: the views are not prepared", "view", w.projection.Name, "error", err)
			return
		}
	}
}

// Run follows the log until the context ends, which is its only end: then it
// returns nil. Failures are shown in Status and tried again.
func (e *Engine) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, w := range e.workers {
		all.Go(func() { w.run(ctx) })
	}
	all.Go(func() { e.moves.run(ctx) })
	all.Go(func() { e.runner.run(ctx) })
	all.Go(func() { e.runner.options.purge(ctx) })
	all.Wait()
	return nil
}

// Status is safe to call from anywhere.
func (e *Engine) Status() []Status {
	statuses := make([]Status, len(e.workers))
	for i, w := range e.workers {
		statuses[i] = w.currentStatus()
	}
	return statuses
}
