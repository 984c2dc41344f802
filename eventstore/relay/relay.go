// Package relay copies the log to JetStream, so that consumers are pushed what
// happened instead of asking PostgreSQL for it. It keeps one promise: the sequence
// of a message in the stream is the position of its event in the log.
//
//	log ── ReadLog(after) ──▶ Encode ──▶ publish, expecting sequence position−1 ──▶ HUB_EVENTS
//	 ▲                                                                                  │
//	 └───────── reconcile: where does the stream end, and is that ours? settle ◀────────┘
//
// The stream is the relay's only memory. JetStream stores a message only if the one
// before it is the last of the stream, so neither a retry, nor a late message of an
// earlier attempt, nor a second relay can leave a gap, a duplicate or a wrong order:
// whatever is stored at a sequence is the event of that position.
//
// Of all relays one works, by a lease (internal/lease); the others only look. That is
// for speed: two at once collide, and do no harm.
//
// Every few seconds, and after anything unexpected, the relay looks at the stream
// again and compares event ids where the stream ends (reconcile.go). A stream that lost
// its end is filled up, and one that is gone is made again from the first position that
// would have been kept. One that holds what the log does not, because the log has lost
// its end, is settled (settle.go): the lost events are appended to the log again if all
// of them are there and nothing came since; otherwise the log goes on in a new epoch
// and the stream is made again.
//
// Nothing waits for the relay: with NATS down commands are accepted as ever.
package relay

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/lease"
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
	// Lease lets one of several relays work at a time; nil works always.
	Lease *lease.Lease
	// Log is told when the relay stops and resumes publishing; nil is silent.
	Log *slog.Logger
	// Metrics gets what the relay counts; nil counts nowhere.
	Metrics *telemetry.Registry
	// Tracer records what is published in the traces that events belong to; nil records
	// nothing.
	Tracer *telemetry.Tracer
}

// Relay copies the log to JetStream. Any number may run at once: they slow each
// other down and do no harm.
type Relay struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	store   *eventstore.Store
	wake    *eventstore.Signal
	options Options
	metrics metrics

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
	r.metrics = newMetrics(options.Metrics, r)
	return r, nil
}

// Run publishes until the context ends, which is its only end: then it returns nil.
// Failures are shown in Status and tried again.
func (r *Relay) Run(ctx context.Context) error {
	nudges, err := r.conn.Subscribe(NudgeSubject, func(*nats.Msg) { r.wake.Wake() })
	if err != nil {
		return fmt.Errorf("subscribing to %s: %w", NudgeSubject, err)
	}
	defer func() { _ = nudges.Unsubscribe() }()
	if r.options.Lease == nil {
		r.lead(ctx, 0)
		return nil
	}
	var all sync.WaitGroup
	all.Go(func() { r.options.Lease.Run(ctx, r.lead) })
	all.Go(func() { r.watch(ctx) })
	all.Wait()
	return nil
}

// lead publishes until the context ends.
func (r *Relay) lead(ctx context.Context, _ int64) {
	r.update(func(s *Status) { s.Leading = true })
	defer r.update(func(s *Status) { s.Leading, s.Err = false, "" })
	defer r.js.CleanupPublisher()

	backoff := firstBackoff
	for {
		before := r.acknowledged
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
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
			return
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
	r.recovered(published.position)
	return r.publish(ctx, published)
}

// watch keeps the status true while another relay works.
func (r *Relay) watch(ctx context.Context) {
	ticker := time.NewTicker(sessionTime)
	defer ticker.Stop()
	for {
		if !r.Status().Leading {
			r.look(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look reads how far the relay that works has come. What cannot be read is shown by
// the health of the database and of NATS.
func (r *Relay) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	head, epoch, err := r.store.Head(ctx)
	if err != nil {
		return
	}
	stream, err := r.js.Stream(ctx, StreamName)
	if err != nil {
		return
	}
	last := int64(stream.CachedInfo().State.LastSeq) //nolint:gosec // positions are bigint
	r.update(func(s *Status) {
		if !s.Leading {
			s.Head, s.Published, s.Epoch = max(head, last), last, epoch.String()
		}
	})
}
