// Package subscription follows the log: it gives the events after any position, in
// order and each once, and goes on as they happen.
//
//	HUB_EVENTS ──▶ Feed ──┐ next position, or…
//	                      ├──▶ Subscription ──▶ filter ──▶ Batch (events, place reached)
//	log (Reader) ─────────┘ …what the feed lacks
//
// It is the only way in which the program follows the log: projections, reactions,
// the feed and the event streams all use it. JetStream is the fast way and the store
// the sure one. A position that JetStream lacks is noticed at the message after it and
// read from the store; with JetStream away everything is, and so is what came before the
// latest that all subscriptions of a process share. Of each batch that JetStream brings,
// the store is asked whether it has the last event, unless it has just said so, so that
// nobody follows what PostgreSQL has lost. So catching up and being live are one thing,
// without a seam between them.
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
	// Feed brings events as they happen. Without it, nil or with NATS down, they are read
	// from the store.
	Feed   *Feed
	Filter Filter
	// HeadsOnly is for whoever only wants to know that there is something, and reads it
	// elsewhere: the store is asked for no more than its head, which RoleQuery may see too.
	// Events that JetStream brings may then be of an end that PostgreSQL has lost; those
	// that it does not bring are passed over unseen.
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

	feed     *cursor
	opened   chan *cursor // the result of an attempt under way; nil when there is none
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
		s.open(ctx)
		if batch, last := s.fromFeed(after); batch.At != after {
			held, err := s.holds(ctx, last)
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

// holds reports whether the log has an event that was delivered, and so those before. The
// latest delivery is asked for in its place, so that others need not ask again at once.
// The zero event, of whom nobody may see, counts as held.
func (s *Subscription) holds(ctx context.Context, last domain.Event) (bool, error) {
	if s.options.HeadsOnly || last.Position == 0 {
		return true, nil
	}
	if _, known := s.feed.broadcast.confirms(last); known {
		return true, nil
	}
	select {
	case s.feed.broadcast.asking <- struct{}{}:
		defer func(b *broadcast) { <-b.asking }(s.feed.broadcast)
	case <-ctx.Done():
		return false, ctx.Err()
	}
	ask, known := s.feed.broadcast.confirms(last) // by whoever asked meanwhile
	if known {
		return true, nil
	}
	if s.options.Filter.Org != "" {
		ask = last // others' are not shown to us
	}
	asked := time.Now()
	held, err := s.reader.holds(ctx, ask)
	if held {
		s.feed.broadcast.confirm(ask, asked)
	}
	return held, err
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
		s.suspectFeed(batch.At.Position)
	}
	return batch, nil
}

// suspectFeed replaces a feed that has not delivered for too long what the log has. Where
// the feed is further than the store was read, it is we who are behind.
func (s *Subscription) suspectFeed(position int64) {
	switch now := time.Now(); {
	case position <= s.feed.reached():
		s.stalledSince = time.Time{}
	case s.stalledSince.IsZero():
		s.stalledSince = now
	case now.Sub(s.stalledSince) > stalledTime:
		s.drop()
	}
}

// wait returns when there may be something to read: the feed delivers, an attempt
// to open one has ended, or it is time to ask the store.
func (s *Subscription) wait(ctx context.Context) error {
	var news, ended <-chan struct{}
	if s.feed != nil {
		news, ended = s.feed.news, s.feed.broadcast.ended
	}
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-news:
	case <-ended:
		s.leave()
		s.behind = true
	case c := <-s.opened:
		s.joined(c)
	case <-timer.C:
		s.behind = true
	}
	return nil
}

// open joins the feed in the background, because a NATS that does not answer must not
// delay what the store has; nor must the store, while the log grows, keep us from the feed.
func (s *Subscription) open(ctx context.Context) {
	select {
	case c := <-s.opened:
		s.joined(c)
	default:
	}
	if s.options.Feed == nil || s.feed != nil || s.opened != nil || time.Now().Before(s.nextOpen) {
		return
	}
	s.nextOpen = time.Now().Add(openInterval)
	opened := make(chan *cursor, 1)
	s.opened = opened
	go func() {
		c, err := s.options.Feed.join(ctx)
		if err != nil {
			s.options.Log.Debug("subscription: reading from the log instead of JetStream", "reason", err)
		}
		opened <- c
	}()
}

// joined ends an attempt to join; nil when it failed.
func (s *Subscription) joined(c *cursor) {
	s.opened, s.feed = nil, c
	s.behind = s.behind || c == nil
}

// drop gives up what is broadcast, for all: the next to join begins anew.
func (s *Subscription) drop() {
	s.feed.broadcast.end()
	s.leave()
}

func (s *Subscription) leave() {
	s.feed.leave()
	s.feed, s.pending, s.stalledSince = nil, nil, time.Time{}
}

// Close leaves the feed, also one that is still being joined.
func (s *Subscription) Close() {
	if s.feed != nil {
		s.leave()
	}
	if opened := s.opened; opened != nil {
		s.opened = nil
		go func() {
			if c := <-opened; c != nil {
				c.leave()
			}
		}()
	}
}
