// Package subscription follows the log: it gives the events after any position, in
// order and each once, and goes on as they happen.
//
//	HUB_EVENTS ──▶ feed ──┐ next position, or…
//	                      ├──▶ Subscription ──▶ filter ──▶ Batch (events, place reached)
//	log (Reader) ─────────┘ …what the feed lacks
//
// It is the only way in which the program follows the log: projections, reactions,
// the feed and the event streams all use it. JetStream is the fast way and the store
// the sure one. A position that JetStream lacks is noticed at the message after it and
// read from the store; with JetStream away everything is. Of each batch that JetStream
// brings, the store is asked whether it has the last event, so that nobody follows what
// PostgreSQL has lost. So catching up and being
// live are one thing, without a seam between them.
//
// The caller keeps the place, because it is the caller who knows what has been done.
// The place also moves over events that the filter leaves out.
package subscription

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// A batch is whatever is there, up to these bounds. More than a thousand events do
// not get faster (docs/performance.md), and the bytes bound what a batch of the
// largest events holds in memory. A subscription holds at most two batches more, on
// their way from JetStream.
const (
	MaxEvents = 1000
	MaxBytes  = 4 << 20
)

const (
	// pollInterval is how soon the store is asked when JetStream is silent.
	pollInterval = 250 * time.Millisecond
	// openInterval is the least time between two attempts to consume from JetStream.
	openInterval = time.Second
	// stalledTime is how long the store may deliver what the feed does not before a
	// new feed is tried: longer than a relay or a consumer needs to recover by itself.
	stalledTime = 5 * time.Second
)

var (
	// ErrLogAway means that the store could not be read; what it says is joined to it.
	ErrLogAway = errors.New("the log cannot be read")
	// ErrLogBehind means that what has been delivered is not this log; guessing would
	// make a view wrong without anybody knowing.
	ErrLogBehind = errors.New("the stream holds events that the log does not: was the log restored to an earlier state?")
	// ErrLogHole means the same of the log itself.
	ErrLogHole = errors.New("the log lacks a position")
)

// Place is how far in the log somebody has come, as of an epoch: the one that was in
// force when the log was read, which the events before it need not have. The zero place
// is before the first event of any log, and without an epoch a place is on any history.
type Place struct {
	Position int64
	Epoch    uuid.UUID
}

// Filter says which events are wanted. Fields left zero do not restrict.
type Filter struct {
	// Org restricts to one organisation, which the store then reads as
	// eventstore.RoleQuery or RoleCommand; all of them takes RoleProjector or
	// RoleRelay.
	Org   string
	Types []string
	Tag   domain.Tag
}

// Wants reports whether an event passes.
func (f Filter) Wants(e domain.Event) bool {
	return (f.Org == "" || e.Org == f.Org) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, e.Type)) &&
		(f.Tag == "" || slices.Contains(e.Tags, f.Tag))
}

// Options are what a subscription works on.
type Options struct {
	Store *eventstore.Store
	// NATS brings events as they happen. Without it, nil or down, they are read from
	// the store.
	NATS   jetstream.JetStream
	Filter Filter
	// HeadsOnly is for whoever only wants to know that there is something, and reads it
	// elsewhere: the store is asked for no more than its head, which RoleQuery may see too.
	// Events that JetStream brings then come without their data, and may be of an end that
	// PostgreSQL has lost; those that it does not bring are passed over unseen.
	HeadsOnly bool
	// Metrics gets what a Tail counts; nil counts nowhere.
	Metrics *telemetry.Registry
	// Log is told why the store is read instead of JetStream; nil is silent.
	Log *slog.Logger
}

// Batch is what came after a place.
type Batch struct {
	// Events passed the filter. There may be none.
	Events []domain.Event
	// At is the place reached, which is further than the one asked for.
	At Place
	// More says that a bound has cut a page: it is worth reading on at once.
	More bool
	// Unseen says, with HeadsOnly, that there may have been other events.
	Unseen bool
}

// Subscription is used by one goroutine and closed by it.
type Subscription struct {
	reader  *Reader
	options Options

	feed     *feed
	opened   chan *feed // the result of an attempt under way; nil when there is none
	nextOpen time.Time
	// pending was taken from the feed and is ahead of what is needed next.
	pending *delivery
	// behind means that the store is to be asked: the feed has not what comes next.
	behind       bool
	stalledSince time.Time
}

// New makes a subscription; it works only within Next.
func New(options Options) *Subscription {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	// The store comes first: it knows whether the place is on the log's history.
	return &Subscription{reader: NewReader(options.Store, options.Filter), options: options, behind: true}
}

// Next waits until the log goes on after a place and returns how. Any place may be
// asked for, usually the one reached before. Errors: ErrLogAway, ErrLogBehind,
// ErrLogHole and the context's, after which the next call may succeed; a ForkedError,
// after which it must ask for another place.
func (s *Subscription) Next(ctx context.Context, after Place) (Batch, error) {
	for {
		s.open(ctx, after.Position)
		if batch, last := s.fromFeed(after); batch.At != after {
			held, err := s.options.HeadsOnly, error(nil)
			if !held {
				held, err = s.reader.holds(ctx, last)
			}
			if err != nil {
				return Batch{}, err
			}
			if held {
				s.behind, s.stalledSince = false, time.Time{}
				return batch, nil
			}
			s.drop()
			s.behind = true
		}
		if s.behind {
			batch, err := s.fromStore(ctx, after)
			if err != nil || batch.At != after {
				return batch, err
			}
			s.behind = false
		}
		if err := s.wait(ctx); err != nil {
			return Batch{}, err
		}
	}
}

// fromFeed takes what is there, without waiting, and says which event the store is to be
// asked about. It leaves out what is not the next position of the same log; behind then
// says that there is something beyond.
func (s *Subscription) fromFeed(after Place) (batch Batch, last domain.Event) {
	batch = Batch{At: after}
	for count, size := 0, 0; count < MaxEvents && size < MaxBytes; {
		next := batch.At.Position + 1
		d := s.take()
		switch {
		case d == nil:
			return batch, last
		case d.position < next:
			continue // delivered again, or read from the store already
		case d.position > next || !d.readable || d.event.Epoch != after.Epoch:
			// A hole, or not what the log holds here as far as we know: the store
			// decides. Whatever is further on is kept.
			if d.position > next {
				s.pending = d
			}
			s.behind = true
			return batch, last
		}
		if s.options.Filter.Wants(d.event) {
			batch.Events = append(batch.Events, d.event)
		}
		if s.options.Filter.Org == "" || d.event.Org == s.options.Filter.Org {
			last = d.event
		}
		batch.At.Position = next
		size += d.size
		count++
	}
	return batch, last
}

// take is the next delivery, nil when there is none now.
func (s *Subscription) take() *delivery {
	if d := s.pending; d != nil {
		s.pending = nil
		return d
	}
	if s.feed == nil {
		return nil
	}
	return s.feed.take()
}

// fromStore reads what the feed does not have; the batch stays at the place when the
// log ends there.
func (s *Subscription) fromStore(ctx context.Context, after Place) (Batch, error) {
	through := int64(0)
	if s.pending != nil {
		through = s.pending.position - 1
	}
	read := s.reader.Read
	if s.options.HeadsOnly {
		read = s.reader.head
	}
	batch, err := read(ctx, after, through)
	if err != nil {
		var forked *ForkedError
		if errors.As(err, &forked) && s.feed != nil {
			s.drop() // it may be ahead by what was lost
		}
		return Batch{}, err
	}
	if batch.At == after && s.pending != nil {
		return Batch{}, ErrLogBehind
	}
	if batch.At != after && s.feed != nil {
		s.suspectFeed()
	}
	return batch, nil
}

// suspectFeed replaces a feed that has not delivered for too long what the log has.
func (s *Subscription) suspectFeed() {
	switch now := time.Now(); {
	case s.stalledSince.IsZero():
		s.stalledSince = now
	case now.Sub(s.stalledSince) > stalledTime:
		s.drop()
	}
}

// wait returns when there may be something to read: the feed delivers, an attempt
// to open one has ended, or it is time to ask the store.
func (s *Subscription) wait(ctx context.Context) error {
	var deliveries <-chan delivery
	if s.feed != nil {
		deliveries = s.feed.deliveries
	}
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case d := <-deliveries:
		s.feed.release(d)
		s.pending = &d
	case f := <-s.opened:
		s.opened, s.feed = nil, f
		s.behind = s.behind || f == nil
	case <-timer.C:
		s.behind = true
	}
	return nil
}

// open starts to consume in the background, because a NATS that does not answer must
// not delay what the store has.
func (s *Subscription) open(ctx context.Context, after int64) {
	if s.options.NATS == nil || s.feed != nil || s.opened != nil || time.Now().Before(s.nextOpen) {
		return
	}
	s.nextOpen = time.Now().Add(openInterval)
	opened := make(chan *feed, 1)
	s.opened = opened
	go func() {
		f, err := openFeed(ctx, s.options.NATS, after, s.options.HeadsOnly)
		if err != nil {
			s.options.Log.Debug("subscription: reading from the log instead of JetStream", "reason", err)
		}
		opened <- f
	}()
}

// drop gives up the feed; a new one starts at the place asked for.
func (s *Subscription) drop() {
	s.feed.close()
	s.feed, s.pending, s.stalledSince = nil, nil, time.Time{}
}

// Close ends the feed, also one that is still being opened.
func (s *Subscription) Close() {
	if s.feed != nil {
		s.drop()
	}
	if opened := s.opened; opened != nil {
		s.opened = nil
		go func() {
			if f := <-opened; f != nil {
				f.close()
			}
		}()
	}
}
