package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

// A batch is whatever is there, up to these bounds. More than a thousand events do
// not get faster (docs/performance.md), and the bytes bound what a batch of the
// largest events holds in memory.
const (
	maxBatchEvents = 1000
	maxBatchBytes  = 4 << 20
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
	errLogAway = errors.New("the log cannot be read")
	// errLogBehind and errLogHole mean that what has been delivered is not this log;
	// guessing would make the view wrong without anybody knowing.
	errLogBehind = errors.New("the stream holds events that the log does not: was the log restored to an earlier state?")
	errLogHole   = errors.New("the log lacks a position")
)

// source gives the events after a position without a gap: from JetStream while that
// has the next one, and from the store otherwise.
type source struct {
	log     logReader
	options Options

	feed     *feed
	opened   chan *feed // the result of an attempt under way; nil when there is none
	nextOpen time.Time
	// pending was taken from the feed and is ahead of what the view needs next.
	pending *delivery
	// behind means that the store is to be asked: the feed has not what comes next.
	behind       bool
	stalledSince time.Time
}

func newSource(options Options) *source {
	return &source{log: newLogReader(options.Store), options: options, behind: options.NATS == nil}
}

// next waits for events and returns them, the first being the one after at.
func (s *source) next(ctx context.Context, at checkpoint) ([]domain.Event, error) {
	for {
		s.open(ctx, at.position)
		if events := s.fromFeed(at); len(events) > 0 {
			s.behind, s.stalledSince = false, time.Time{}
			return events, nil
		}
		if s.behind {
			events, err := s.fromStore(ctx, at)
			if err != nil || len(events) > 0 {
				return events, err
			}
			s.behind = false
		}
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// fromFeed takes what is there, without waiting. It leaves out what is not the next
// position of the same log; behind then says that there is something beyond.
func (s *source) fromFeed(at checkpoint) []domain.Event {
	var (
		events []domain.Event
		size   int
	)
	for next := at.position + 1; len(events) < maxBatchEvents && size < maxBatchBytes; {
		d := s.take()
		switch {
		case d == nil:
			return events
		case d.position < next:
			continue // delivered again, or read from the store already
		case d.position > next || !d.readable || d.event.Epoch != at.epoch:
			// A hole, or not what the log holds here as far as we know: the store
			// decides. Whatever is further on is kept.
			if d.position > next {
				s.pending = d
			}
			s.behind = true
			return events
		}
		events = append(events, d.event)
		size += d.size
		next++
	}
	return events
}

// take is the next delivery, nil when there is none now.
func (s *source) take() *delivery {
	if d := s.pending; d != nil {
		s.pending = nil
		return d
	}
	if s.feed == nil {
		return nil
	}
	return s.feed.take()
}

// fromStore reads what the feed does not have; empty when the log ends at the
// position.
func (s *source) fromStore(ctx context.Context, at checkpoint) ([]domain.Event, error) {
	limit := int64(maxBatchEvents)
	if s.pending != nil {
		limit = min(limit, s.pending.position-at.position-1)
	}
	events, err := s.log.read(ctx, at.position, int(limit))
	if err != nil {
		return nil, err
	}
	if len(events) == 0 && s.pending != nil {
		return nil, errLogBehind
	}
	if len(events) > 0 && s.feed != nil {
		s.suspectFeed()
	}
	return events, nil
}

// suspectFeed replaces a feed that has not delivered for too long what the log has.
func (s *source) suspectFeed() {
	switch now := time.Now(); {
	case s.stalledSince.IsZero():
		s.stalledSince = now
	case now.Sub(s.stalledSince) > stalledTime:
		s.drop()
	}
}

// wait returns when there may be something to read: the feed delivers, an attempt
// to open one has ended, or it is time to ask the store.
func (s *source) wait(ctx context.Context) error {
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
func (s *source) open(ctx context.Context, after int64) {
	if s.options.NATS == nil || s.feed != nil || s.opened != nil || time.Now().Before(s.nextOpen) {
		return
	}
	s.nextOpen = time.Now().Add(openInterval)
	opened := make(chan *feed, 1)
	s.opened = opened
	go func() {
		f, err := openFeed(ctx, s.options.NATS, after)
		if err != nil {
			s.options.Log.Debug("projections: reading from the log instead of JetStream", "reason", err)
		}
		opened <- f
	}()
}

// drop gives up the feed; a new one starts where the view is.
func (s *source) drop() {
	s.feed.close()
	s.feed, s.pending, s.stalledSince = nil, nil, time.Time{}
}

// close ends the feed, also one that is still being opened.
func (s *source) close() {
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

// logReader reads the store in batches of about maxBatchBytes.
type logReader struct {
	store *eventstore.Store
	// limit adapts to the size of the events seen last: the store counts rows only.
	limit int
}

func newLogReader(store *eventstore.Store) logReader {
	return logReader{store: store, limit: maxBatchEvents}
}

// minReadEvents keeps reading in useful steps however large the events; 16 of the
// largest are maxBatchBytes.
const minReadEvents = 16

// read returns the events after a position, at most atMost of them, without a gap.
func (r *logReader) read(ctx context.Context, after int64, atMost int) ([]domain.Event, error) {
	entries, err := r.store.ReadLog(ctx, after, min(r.limit, atMost))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLogAway, err)
	}
	events := make([]domain.Event, len(entries))
	size := 0
	for i, entry := range entries {
		if entry.Position != after+int64(i)+1 {
			return nil, fmt.Errorf("%w: %d", errLogHole, after+int64(i)+1)
		}
		events[i] = entry.Event
		size += len(entry.Data)
	}
	if size > 0 {
		r.limit = max(minReadEvents, min(maxBatchEvents, len(events)*maxBatchBytes/size))
	}
	return events, nil
}
