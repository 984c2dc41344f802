// Package commands runs every write of the product through one loop: gather what
// waits, load the boundaries it depends on, decide one command after the other in
// memory, append all of it in one round trip, reply to all.
//
// Sub-packages hold the commands themselves, a file each.
package commands

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	// maxQueued is under a second of work at the rates this was measured at; what
	// would wait longer is better told so at once.
	maxQueued = 4096
	// maxTurn bounds what one append writes, and how long the first caller of a turn
	// waits for the last. Turns of a hundred already cost little more than the rows.
	maxTurn = 256
	// maxEvents of one boundary are read to decide on it: a second of work. A boundary
	// that outgrows it needs smaller buckets.
	maxEvents = 100_000
	// settleTimeout is how long a turn may try to get a definite outcome.
	settleTimeout = 10 * time.Second
)

// Submission is one command of one caller.
type Submission struct {
	Decider domain.Decider
	// Meta needs Org and Actor; Now and CommandID are filled in when zero.
	Meta domain.Meta
	// IdempotencyKey makes the answer repeatable, within Org and Actor.Sub, for
	// requests of the same RequestHash. Empty for none.
	IdempotencyKey string
	RequestHash    []byte
	// DryRun decides and validates, and writes nothing; IdempotencyKey is not looked at.
	DryRun bool
	// Represent asks for Receipt.Resource. It is the kind of the resource's stream, so
	// that a replay, which knows only the id, finds it; "" for none.
	Represent string
}

// Loop decides commands. One goroutine (Run) does all of it, so that commands of
// one turn see each other's effects.
type Loop struct {
	store *eventstore.Store
	codec *eventstore.Codec
	folds domain.Folds
	cache *cache
	// incarnation is that of the log which all of cache was read from, "" before the
	// first turn.
	incarnation string
	queue       chan *call
	// stopped is closed when Run has returned: nobody will answer any more.
	stopped chan struct{}
	// reading is held by who reads a resource for a replay.
	reading  chan struct{}
	appended func(position int64)
	log      *slog.Logger
	// turnSizes counts the commands of each turn.
	turnSizes *telemetry.Histogram
}

// Options are what a loop needs.
type Options struct {
	Store *eventstore.Store
	Codec *eventstore.Codec
	Folds domain.Folds
	// Appended is called after each turn that wrote events, with the last position.
	// It must not block.
	Appended func(position int64)
	Log      *slog.Logger
	// Metrics gets what the loop counts; nil counts nowhere.
	Metrics *telemetry.Registry
}

// New makes a loop; Run starts it.
func New(o Options) *Loop {
	l := &Loop{
		store: o.Store, codec: o.Codec, folds: o.Folds, cache: newCache(),
		queue: make(chan *call, maxQueued), stopped: make(chan struct{}), reading: make(chan struct{}, 1), appended: o.Appended, log: o.Log,
		turnSizes: o.Metrics.Histogram("hub_loop_turn_commands", "Commands that were decided in one turn.", telemetry.Counts()),
	}
	o.Metrics.Sample("hub_loop_queued_commands", "Commands that wait for a turn.", func() float64 { return float64(len(l.queue)) })
	o.Metrics.Sample("hub_loop_queue_limit_commands", "Commands that may wait; more are refused.", func() float64 { return maxQueued })
	return l
}

// keyReused is the code of the refusal of a second request with the same key.
const keyReused = "idempotency_key_reused"

// call is a submission and where its answer goes.
type call struct {
	Submission
	receipt Receipt
	err     error
	done    chan struct{}
}

func newCall(s Submission) *call {
	if s.Meta.CommandID == uuid.Nil {
		s.Meta.CommandID = uuid.Must(uuid.NewV7()) // fails only where crypto/rand does, which ends the process
	}
	if s.Meta.Now.IsZero() {
		s.Meta.Now = time.Now()
	}
	if s.DryRun {
		s.IdempotencyKey = ""
	}
	// PostgreSQL keeps microseconds; a decision must not see more than is recorded.
	s.Meta.Now = s.Meta.Now.UTC().Truncate(time.Microsecond)
	return &call{Submission: s, done: make(chan struct{})}
}

func (c *call) answer(r Receipt, err error) {
	c.receipt, c.err = r, err
	close(c.done)
}

// scope is what an idempotency key is unique in, with the key.
type scope struct{ org, caller, key string }

func (c *call) scope() scope { return scope{c.Meta.Org, c.Meta.Actor.Sub, c.IdempotencyKey} }

// replayTo answers c with what was answered to the same idempotency key before.
func (c *call) replayTo(hash []byte, r Receipt, err error) {
	if !bytes.Equal(hash, c.RequestHash) {
		c.answer(Receipt{}, problem.New(problem.Invalid, keyReused,
			"This Idempotency-Key was used for a different request. Use a new key for each new request."))
		return
	}
	r.Replayed = true
	c.answer(r, err)
}

// Submit decides a command and returns when its outcome is on disk. Refusals are
// problems; so are Unavailable overloaded and shutting_down, before anything was
// done, and OutcomeUnknown outcome_unknown when the log did not answer in time.
func (l *Loop) Submit(ctx context.Context, s Submission) (Receipt, error) {
	c := newCall(s)
	select {
	case <-l.stopped:
		return Receipt{}, shuttingDown()
	default:
	}
	select {
	case l.queue <- c:
	default:
		return Receipt{}, problem.New(problem.Unavailable, "overloaded",
			"Too many commands are waiting. Nothing was done; send it again later.").Retry(time.Second)
	}
	select {
	case <-c.done:
		return l.represented(ctx, c)
	case <-l.stopped:
		return c.afterStop()
	case <-ctx.Done():
		return Receipt{}, outcomeUnknown()
	}
}

// afterStop answers a call that raced with the end of Run: Run answers all that it
// took from the queue before it says that it stopped.
func (c *call) afterStop() (Receipt, error) {
	select {
	case <-c.done:
		return c.receipt, c.err
	default:
		return Receipt{}, shuttingDown()
	}
}

func shuttingDown() error {
	return problem.New(problem.Unavailable, "shutting_down", "This server is stopping. Nothing was done; send it again.").Retry(time.Second)
}

func outcomeUnknown() error {
	return problem.New(problem.OutcomeUnknown, "outcome_unknown",
		"The command may or may not have been done. Send it again with the same Idempotency-Key to learn which.")
}

// Run decides turns until ctx ends, then finishes what is queued and returns.
func (l *Loop) Run(ctx context.Context) {
	for {
		select {
		case first := <-l.queue:
			l.turn(ctx, l.gather(first))
		case <-ctx.Done():
			for {
				select {
				case first := <-l.queue:
					l.turn(ctx, l.gather(first))
				default:
					// Not after a panic: what was under way then may have been done.
					close(l.stopped)
					return
				}
			}
		}
	}
}

// gather takes what queued up while the last turn was on disk. There is no timer:
// waiting for company would only add to the latency of a quiet system, and a busy
// one gathers by itself.
func (l *Loop) gather(first *call) []*call {
	calls := []*call{first}
	defer func() { l.turnSizes.Observe(float64(len(calls))) }()
	for len(calls) < maxTurn {
		select {
		case c := <-l.queue:
			calls = append(calls, c)
		default:
			return calls
		}
	}
	return calls
}
