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
	"log/slog"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
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
	// a column org; the engine secures them (row-level security, grants).
	Tables []string
	DDL    func(schema string) string
	// Apply queues the statements that bring the tables of the schema from the
	// position before the first event to that of the last. Set-based: a batch is up
	// to subscription.MaxEvents events and as few statements as can be.
	Apply func(batch *pgx.Batch, schema string, events []Event) error
}

// Event is an event of the log together with its payload, upcast to the schema
// version of this program.
type Event struct {
	domain.Event
	Payload domain.Payload
}

// Options are what the engine and a rebuild work on.
type Options struct {
	// Pool writes the views, as eventstore.RoleProjector; a rebuild needs two
	// connections at a time.
	Pool *pgxpool.Pool
	// NATS brings events as they happen. Without it, nil or down, they are read
	// from the store.
	NATS jetstream.JetStream
	// Store reads the log, as eventstore.RoleProjector.
	Store *eventstore.Store
	Codec *eventstore.Codec
	// Notify is called after every commit; it must not block. Nil does nothing.
	Notify func()
	// Log is told when a view stops and goes on; nil is silent.
	Log *slog.Logger
	// Metrics gets what the engine counts; nil counts nowhere.
	Metrics *telemetry.Registry
}

func (o Options) withDefaults() Options {
	if o.Notify == nil {
		o.Notify = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Status is how far a view is, for health and metrics.
type Status struct {
	Name     string `json:"name"`
	Schema   string `json:"schema"`
	Position int64  `json:"position"`
	// Err says in a sentence for operators why the view does not go on; empty when
	// all is well.
	Err string `json:"error,omitempty"`
}

// Engine keeps all views up to date.
type Engine struct{ workers []*worker }

// New makes an engine for all projections (All).
func New(options Options) *Engine { return newEngine(options, All()) }

func newEngine(options Options, projections []Projection) *Engine {
	options = options.withDefaults()
	engine := &Engine{}
	for _, p := range projections {
		w := newWorker(options, p)
		w.measure(options.Metrics)
		engine.workers = append(engine.workers, w)
	}
	return engine
}

// measure shows the status as metrics.
func (w *worker) measure(metrics *telemetry.Registry) {
	view := telemetry.At{Name: "view", Value: w.projection.Name}
	metrics.Sample("hub_view_position", "Position up to which a view has the log.", func() float64 { return float64(w.currentStatus().Position) }, view)
	metrics.Sample("hub_view_stopped", "1 while a view cannot go on.", func() float64 {
		if w.currentStatus().Err != "" {
			return 1
		}
		return 0
	}, view)
}

// Run follows the log until the context ends, which is its only end: then it
// returns nil. Failures are shown in Status and tried again.
func (e *Engine) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, w := range e.workers {
		all.Go(func() { w.run(ctx) })
	}
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

// handled are the events that the projection is made of, decoded.
func (p Projection) handled(codec *eventstore.Codec, events []domain.Event) ([]Event, error) {
	var handled []Event
	for _, e := range events {
		if !slices.Contains(p.Types, e.Type) {
			continue
		}
		fact, err := codec.Fact(e)
		if err != nil {
			return nil, &unreadableError{position: e.Position, cause: err}
		}
		handled = append(handled, Event{Event: e, Payload: fact.Payload})
	}
	return handled, nil
}
