// Package relay copies the log to JetStream, so that consumers are pushed what
// happened instead of asking PostgreSQL for it. It keeps one promise: the sequence
// of a message in the stream is the position of its event in the log.
//
//	log ── ReadLog(after) ──▶ Encode ──▶ publish, expecting sequence position−1 ──▶ HUB_EVENTS
//	 ▲                                                                                  │
//	 └────────────── reconcile: where does the stream end, and is that ours? ◀──────────┘
//
// The stream is the relay's only memory. JetStream stores a message only if the one
// before it is the last of the stream, so neither a retry, nor a late message of an
// earlier attempt, nor a second relay can leave a gap, a duplicate or a wrong order:
// whatever is stored at a sequence is the event of that position.
//
// Every few seconds, and after anything unexpected, the relay looks at the stream
// again. A stream that lost its end or all of it is filled up. One that is ahead of
// the log or holds another event where they meet means that the log was restored to
// an earlier state: the relay then refuses rather than guesses, publishes nothing,
// says so in its Status, and looks again until an operator has settled it.
//
// Nothing waits for the relay: with NATS down commands are accepted as ever.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// NudgeSubject is where a process that appends, and has no relay of its own, says
// so over core NATS. A nudge may get lost; the relay looks for itself too.
const NudgeSubject = "hub.nudge.log"

const (
	// pollInterval is how long an append can go unnoticed when its nudge got lost.
	pollInterval = 250 * time.Millisecond
	// sessionTime is how long the relay trusts what it knows of the stream.
	sessionTime = 2 * time.Second
	// requestTimeout bounds each question to NATS or to the log.
	requestTimeout = 5 * time.Second

	// A failure waits between half and all of a time that doubles up to the last.
	firstBackoff = 10 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// Options are what a relay can do without.
type Options struct {
	Stream StreamConfig
	// Log is told when the relay stops and resumes publishing; nil is silent.
	Log *slog.Logger
	// Metrics gets what the relay counts; nil counts nowhere.
	Metrics *telemetry.Registry
}

// Status is how far the relay is, for health and metrics.
type Status struct {
	// Published is the position up to which the stream is known to have the log;
	// Head the last position that the relay saw in the log.
	Published, Head int64
	// Err says in a sentence for operators, without addresses or secrets, why
	// nothing is published; empty when all is well. Since is when that began.
	Err   string
	Since time.Time
}

// Relay copies the log to JetStream. Any number may run at once: they slow each
// other down and do no harm.
type Relay struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	store   *eventstore.Store
	wake    *eventstore.Signal
	options Options

	// acknowledged counts what this relay got stored itself.
	acknowledged int64

	mu     sync.Mutex
	status Status

	// Tests wait for changed, and make the intervals so long that only a wake works.
	changed                   func(Status)
	pollInterval, sessionTime time.Duration
}

// New makes a relay over a connection that reconnects for ever
// (nats.MaxReconnects(-1)) and a store of RoleRelay. It takes a JetStream context of
// its own, since those hold the time-outs of what is published. Wake is given by the
// command loop when it runs in the same process; nil otherwise.
func New(conn *nats.Conn, store *eventstore.Store, wake *eventstore.Signal, options Options) (*Relay, error) {
	js, err := jetstream.New(conn,
		jetstream.WithPublishAsyncTimeout(requestTimeout),
		jetstream.WithPublishAsyncMaxPending(2*maxInFlight))
	if err != nil {
		return nil, fmt.Errorf("preparing JetStream for the relay: %w", err)
	}
	if wake == nil {
		wake = eventstore.NewSignal()
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	r := &Relay{
		conn: conn, js: js, store: store, wake: wake, options: options,
		changed: func(Status) {}, pollInterval: pollInterval, sessionTime: sessionTime,
	}
	r.measure(options.Metrics)
	return r, nil
}

// measure shows the status as metrics.
func (r *Relay) measure(metrics *telemetry.Registry) {
	metrics.Sample("hub_relay_head_position", "Last position that the relay saw in the log.", func() float64 { return float64(r.Status().Head) })
	metrics.Sample("hub_relay_published_position", "Position up to which JetStream has the log.", func() float64 { return float64(r.Status().Published) })
	metrics.Sample("hub_relay_stopped", "1 while the relay cannot publish.", func() float64 {
		if r.Status().Err != "" {
			return 1
		}
		return 0
	})
}

// Run publishes until the context ends, which is its only end: then it returns nil.
// Failures are shown in Status and tried again.
func (r *Relay) Run(ctx context.Context) error {
	nudges, err := r.conn.Subscribe(NudgeSubject, func(*nats.Msg) { r.wake.Wake() })
	if err != nil {
		return fmt.Errorf("subscribing to %s: %w", NudgeSubject, err)
	}
	defer func() { _ = nudges.Unsubscribe() }()
	defer r.js.CleanupPublisher()

	backoff := firstBackoff
	for {
		before := r.acknowledged
		err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		// Progress of another relay does not count: it is the one to go on.
		if err == nil || r.acknowledged > before {
			backoff = firstBackoff
		}
		if err == nil {
			continue
		}
		// What is still under way belongs to an attempt that is over.
		r.js.CleanupPublisher()
		r.failed(err)
		// Without the random half, two relays that collided would do so again.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff/2 + rand.N(backoff/2)): //nolint:gosec // nothing secret
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// session finds out where the stream ends and publishes from there, until it is time
// to look again (nil) or something is not as expected.
func (r *Relay) session(ctx context.Context) error {
	published, err := r.reconcile(ctx)
	if err != nil {
		return err
	}
	r.recovered(published)
	return r.publish(ctx, published)
}

// Status is safe to call from anywhere.
func (r *Relay) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// update changes the status and tells those who wait for it.
func (r *Relay) update(change func(*Status)) {
	r.mu.Lock()
	change(&r.status)
	status := r.status
	r.mu.Unlock()
	r.changed(status)
}

func (r *Relay) sawHead(head int64) {
	r.update(func(s *Status) { s.Head = head })
}

func (r *Relay) sawPublished(position int64) {
	r.update(func(s *Status) { s.Published = position })
}

func (r *Relay) recovered(published int64) {
	previous := r.Status().Err
	if previous != "" {
		r.options.Log.Info("relay: publishing again", "position", published)
	}
	r.update(func(s *Status) {
		s.Published, s.Err = published, ""
		if previous != "" || s.Since.IsZero() {
			s.Since = time.Now()
		}
	})
}

// failed shows a failure, unless it only means to look at the stream again.
func (r *Relay) failed(err error) {
	var f *failure
	switch {
	case errors.Is(err, errOvertaken):
		return
	case !errors.As(err, &f):
		f = &failure{says: "the relay failed", cause: err}
	}
	previous := r.Status().Err
	if previous == f.says {
		return
	}
	r.options.Log.Warn("relay: not publishing", "reason", f.says, "error", err)
	r.update(func(s *Status) {
		s.Err = f.says
		if previous == "" {
			s.Since = time.Now()
		}
	})
}

// failure is an error with a sentence for Status. The cause may hold addresses and
// is for the log only.
type failure struct {
	says  string
	cause error
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.says
	}
	return f.says + ": " + f.cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }
