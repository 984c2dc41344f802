// Package reactions does what follows from what happens: an event of the log comes in,
// and commands go out.
//
//	subscription ──▶ subscriber ──▶ Watermill's router ──▶ React ──▶ commands.Loop
//	  (the log)      one leader,    parking, retries,      (pure)    exactly once, by
//	                 one message    time-outs, panics                the command's id
//	                 in flight
//
// Events come in the order of the log, one after the other. A reaction has a place in
// the log, reaction_checkpoints, which moves when an event is done with; a crash in
// between brings the event again. Its commands then have the same ids as the first
// time, and the receipts answer them: their effect is there once.
//
// An event that cannot be reacted to is parked, after some attempts, and the later
// events of its stream with it, so that nothing overtakes it there; all other streams
// go on. `hub reactions retry` takes it up again, and its stream behind it; `drop` gives
// it up. What is not the event's fault, as a log that does not answer, is waited for
// instead, for as long as it takes.
//
// Timers come in, too: what the view "timers" has as due is handed to the same router, and
// one command goes out for each, once (timers.go).
//
// Jobs are gone through, too: what the view "jobs" has as open is done step by step, each a
// command (jobs.go).
//
// Tokens come in, too. Every API tells, over core NATS, whom the tokens it verifies speak
// for (Observer), and the reaction "members" takes what is new into the directory. That is
// no event yet, so it has no place: what gets lost is told again within minutes.
package reactions

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// Reaction declares what follows from some events.
type Reaction struct {
	// Name is of lower-case letters and underscores, and does not begin with timer_. It
	// stays: the place in the log and the ids of commands hang on it.
	Name string
	// Types are the events it reacts to. A reaction that is new begins at the end of
	// the log: what happened before it was there is not its business.
	Types []string
	// React says which commands an event leads to, in order. It is pure: the same event
	// leads to the same commands. An error parks the event.
	React func(Event) ([]domain.Decider, error)
}

// Event is an event of the log together with its payload, upcast to the schema
// version of this program.
type Event struct {
	domain.Event
	Payload domain.Payload
}

// Submit is commands.Loop.Submit.
type Submit func(context.Context, commands.Submission) (commands.Receipt, error)

// Options are what reactions work on.
type Options struct {
	// Pool keeps places and parked events, in the database of the views, as
	// eventstore.RoleProjector.
	Pool *pgxpool.Pool
	// Store reads the log, as eventstore.RoleProjector.
	Store *eventstore.Store
	Codec *eventstore.Codec
	// Feed brings events as they happen. Without it, nil or with NATS down, they are read
	// from the store.
	Feed *subscription.Feed
	// Conn brings what observers tell, sealed with SeenKey; nil brings nothing.
	Conn    *nats.Conn
	SeenKey []byte
	Submit  Submit
	// Erase destroys the key of a subject, for jobs that have ended.
	Erase func(ctx context.Context, org, subject string) error
	// Now is the clock of timers; nil is time.Now.
	Now func() time.Time
	// LeaseTTL is lease.Options.TTL.
	LeaseTTL time.Duration
	// Log is told what is parked and why; nil is silent.
	Log     *slog.Logger
	Metrics *telemetry.Registry
	// Tracer records reactions in the traces that events belong to; nil records nothing.
	Tracer *telemetry.Tracer
}

// Status is how far a reaction is, as this process knows it.
type Status struct {
	Name string
	// Leading says that this process does it; Position is 0 otherwise.
	Leading  bool
	Position int64
	// Parked is how many of its events are parked.
	Parked int64
	// Err says in a sentence for operators why it does not go on; empty when all is well.
	Err string
}

// Engine runs all reactions, each in one of the processes that have an engine.
type Engine struct {
	options     Options
	subscribers []*subscriber
	timers      *timers // nil without any
	jobs        *jobs   // as timers
	metrics     *metrics
	started     chan struct{}
}

// New makes an engine for all reactions (All), timers (Timers) and jobs (JobKinds).
func New(options Options) *Engine {
	e := newEngine(options, All(), Timers()...)
	e.jobs = newJobs(e.options, JobKinds(options.Erase))
	return e
}

func newEngine(options Options, reactions []Reaction, kinds ...Timer) *Engine {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	e := &Engine{options: options, metrics: newMetrics(options.Metrics, reactions), started: make(chan struct{})}
	for _, r := range reactions {
		s := newSubscriber(options, r)
		s.show = e.metrics.status.of(r.Name)
		e.subscribers = append(e.subscribers, s)
	}
	if len(kinds) > 0 {
		e.timers = newTimers(options, kinds)
		e.timers.show = e.metrics.status.of(timersName)
	}
	return e
}

// Run reacts until the context ends, which is its only end; what is under way is
// finished. Failures are shown in Status and tried again.
func (e *Engine) Run(ctx context.Context) error {
	router, err := e.router()
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-router.Running():
			close(e.started)
		case <-ctx.Done():
		}
	}()
	var beside sync.WaitGroup
	defer beside.Wait()
	if e.jobs != nil {
		beside.Go(func() { e.jobs.run(ctx) })
	}
	return router.Run(ctx)
}

// Started is closed when Run listens to what observers tell.
func (e *Engine) Started() <-chan struct{} { return e.started }

// Status is safe to call from anywhere.
func (e *Engine) Status() []Status {
	statuses := make([]Status, 0, len(e.subscribers)+2)
	for _, s := range e.subscribers {
		statuses = append(statuses, s.currentStatus())
	}
	if e.timers != nil {
		statuses = append(statuses, e.timers.currentStatus())
	}
	if e.jobs != nil {
		statuses = append(statuses, e.jobs.currentStatus())
	}
	return statuses
}
