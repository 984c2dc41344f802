// Package commands runs every write of the product through one loop: gather what
// waits, load the boundaries it depends on, decide one command after the other in
// memory, append all of it in one round trip, reply to all.
//
// Sub-packages hold the commands themselves, a file each.
package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/keyring"
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
	// maxWait bounds a command's time in the queue. It is reached only while the log
	// hangs, and then the caller can do better than to wait for longer.
	maxWait = 5 * time.Second
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
	// keys seal and open values; nil in a program that has nothing to seal.
	keys *keyring.Keyring
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
	metrics  *loopMetrics
	tracer   *telemetry.Tracer
	// snapshots saves the states of long boundaries beside the loop.
	snapshots *snapshots
	// settle is how long a turn may try to get a definite outcome: settleTimeout.
	settle time.Duration
}

// Options are what a loop needs.
type Options struct {
	Store *eventstore.Store
	Codec *eventstore.Codec
	Folds domain.Folds
	// Keys seal and open values, as eventstore.RoleCommand; nil for events without any.
	Keys *keyring.Keyring
	// Appended is called after each turn that wrote events, with the last position.
	// It must not block.
	Appended func(position int64)
	Log      *slog.Logger
	// Fingerprint is of the program, for the snapshots that it writes and reads; nil, or
	// one that gives nil, for none. It may take its time when it is first called.
	Fingerprint func() []byte
	// Metrics gets what the loop counts; nil counts nowhere.
	Metrics *telemetry.Registry
	// Tracer records what becomes of a command; nil records nothing.
	Tracer *telemetry.Tracer
}

// New makes a loop; Run starts it.
func New(o Options) *Loop {
	queue := make(chan *call, maxQueued)
	return &Loop{
		store: o.Store, codec: o.Codec, folds: o.Folds, keys: o.Keys, cache: newCache(), metrics: newLoopMetrics(o.Metrics, queue), tracer: o.Tracer, snapshots: newSnapshots(o),
		queue: queue, stopped: make(chan struct{}), reading: make(chan struct{}, 1), appended: o.Appended, log: o.Log, settle: settleTimeout,
	}
}

// Codes that are looked at again.
const (
	keyReused      = "idempotency_key_reused"
	codeOverloaded = "overloaded"
)

// call is a submission and where its answer goes.
type call struct {
	Submission
	// since is when it was queued.
	since time.Time
	// claimed says that the loop has taken the call or its caller has given it up.
	claimed atomic.Bool
	// needs is what the decider asks of the keyring, and keys those that it was decided
	// with where its resource is to be shown.
	needs   needs
	keys    keyring.Keys
	receipt Receipt
	err     error
	done    chan struct{}
	// span is that of the command, and within the context that has it: it goes with the
	// call through the queue.
	span   telemetry.Span
	within context.Context
}

func newCall(s Submission) *call {
	if s.Meta.CommandID == uuid.Nil {
		s.Meta.CommandID = uuid.Must(uuid.NewV7()) // fails only where crypto/rand does, which ends the process
	}
	now := time.Now()
	if s.Meta.Now.IsZero() {
		s.Meta.Now = now
	}
	if s.DryRun {
		s.IdempotencyKey = ""
	}
	// PostgreSQL keeps microseconds; a decision must not see more than is recorded.
	s.Meta.Now = s.Meta.Now.UTC().Truncate(time.Microsecond)
	return &call{Submission: s, since: now, done: make(chan struct{})}
}

// claim reports whether the call is now the claimant's: the loop's, which then answers
// it, or that of a caller who gives up, and then nothing was done.
func (c *call) claim() bool { return c.claimed.CompareAndSwap(false, true) }

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
// problems; so are, all Unavailable and before anything was done, overloaded,
// shutting_down, log_unavailable and, when ctx ended, cancelled; and OutcomeUnknown
// outcome_unknown when the log, or this caller, did not wait long enough to know.
func (l *Loop) Submit(ctx context.Context, s Submission) (Receipt, error) {
	return l.Queue(ctx, s)()
}

// Queue hands a command to the loop without waiting for it, and gives what waits, as
// Submit does: it is to be called, once. What one caller queues is decided in that order.
func (l *Loop) Queue(ctx context.Context, s Submission) func() (Receipt, error) {
	c := newCall(s)
	ctx, c.span = l.tracer.Command(ctx, c.Meta.CorrelationID, c.Meta.CommandID)
	c.within = ctx
	err := l.enqueue(c)
	return func() (r Receipt, _ error) {
		if err == nil {
			r, err = l.outcome(ctx, c)
		}
		l.metrics.count(c, r, err)
		return r, err
	}
}

func (l *Loop) enqueue(c *call) error {
	select {
	case <-l.stopped:
		return shuttingDown()
	default:
	}
	select {
	case l.queue <- c:
		return nil
	default:
		return overloaded()
	}
}

func (l *Loop) outcome(ctx context.Context, c *call) (Receipt, error) {
	select {
	case <-c.done:
		return l.represented(ctx, c)
	case <-l.stopped:
		return c.afterStop()
	case <-ctx.Done():
		if c.claim() {
			return Receipt{}, fmt.Errorf("%w (%w: %w)", cancelled(), errAbandoned, context.Cause(ctx))
		}
		return Receipt{}, fmt.Errorf("%w (%w: %w)", outcomeUnknown(), errAbandoned, context.Cause(ctx))
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

// errAbandoned marks the answer to a caller who has not waited for one.
var errAbandoned = errors.New("the caller has gone")

func overloaded() error {
	return problem.New(problem.Unavailable, codeOverloaded, "Too many commands are waiting. Nothing was done; send it again later.").Retry(time.Second)
}

func cancelled() error {
	return problem.New(problem.Unavailable, "cancelled", "The request was cancelled before the command was looked at. Nothing was done.")
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
	saving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	beside.Go(func() { l.snapshots.run(saving) })
	defer beside.Wait()
	defer stop()
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
	now := time.Now()
	calls := l.take(nil, first, now)
	for len(calls) < maxTurn {
		select {
		case c := <-l.queue:
			calls = l.take(calls, c, now)
		default:
			return calls
		}
	}
	return calls
}

// take adds a call to a turn, unless its caller has gone or it waited for too long.
func (l *Loop) take(calls []*call, c *call, now time.Time) []*call {
	if !c.claim() {
		return calls
	}
	waited := now.Sub(c.since)
	l.metrics.waited.Observe(waited.Seconds())
	if waited > maxWait {
		c.answer(Receipt{}, overloaded())
		return calls
	}
	return append(calls, c)
}
