package subscription

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore/relay"
)

const (
	// feedBytes bounds what is kept of what JetStream has brought: two batches, so that
	// whoever writes one finds the next there. Who is further back reads the log.
	feedBytes = 2 * MaxBytes
	// headerBytes is about what the headers of a message take.
	headerBytes = 2 << 10
	// feedDeliveries bounds the same for small events.
	feedDeliveries = 2 * MaxEvents
	// openTimeout bounds the questions to NATS.
	openTimeout = 5 * time.Second
	// confirmedTime is for how long the log's word is good that it has an event.
	confirmedTime = pollInterval
)

// Feed brings what is published, as it is published, to all subscriptions of a process:
// a message is received and read once, however many follow the log. Only the end of the
// stream is followed, and only while there are subscriptions; nil brings nothing.
type Feed struct {
	js jetstream.JetStream
	// joining is held by whoever reads or changes current.
	joining chan struct{}
	current *broadcast
}

// NewFeed makes a feed, for all subscriptions of a process.
func NewFeed(js jetstream.JetStream) *Feed {
	return &Feed{js: js, joining: make(chan struct{}, 1)}
}

// join follows what is broadcast, and has it begin if it has not.
func (f *Feed) join(ctx context.Context) (*cursor, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	select {
	case f.joining <- struct{}{}:
		defer func() { <-f.joining }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.current != nil {
		if c := f.current.join(); c != nil {
			return c, nil
		}
	}
	b, err := beginBroadcast(ctx, f.js)
	if err != nil {
		return nil, err
	}
	f.current = b
	return b.join(), nil
}

// delivery is a message of the stream. Its position is the stream's sequence, which
// holds even where the message cannot be read. Nobody changes it: all have the same.
type delivery struct {
	position int64
	event    domain.Event
	readable bool
	size     int
}

// broadcast is one consumer of the stream and the latest that it has brought.
type broadcast struct {
	consuming jetstream.ConsumeContext
	ended     chan struct{}
	// asking is held by whoever asks the log: all wake at the same moment, and one answer
	// is enough.
	asking chan struct{}

	mu   sync.Mutex
	over bool
	// recent is in the order in which it came, after passed others.
	recent       []*delivery
	passed, size int
	// reached is the position of the latest, or the one after which it begins.
	reached int64
	cursors []*cursor
	// confirmed is an event that the log had at a time.
	confirmed   domain.Event
	confirmedAt time.Time
}

// beginBroadcast consumes from the end of the stream on.
func beginBroadcast(ctx context.Context, js jetstream.JetStream) (*broadcast, error) {
	stream, err := js.Stream(ctx, relay.StreamName)
	if err != nil {
		return nil, fmt.Errorf("finding the stream: %w", err)
	}
	last := stream.CachedInfo().State.LastSeq
	consumer, err := js.OrderedConsumer(ctx, relay.StreamName, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("creating a consumer: %w", err)
	}
	b := newBroadcast(int64(last)) //nolint:gosec // positions are int64
	b.consuming, err = consumer.Consume(b.receive, jetstream.PullMaxMessagesWithBytesLimit(MaxEvents, MaxBytes))
	if err != nil {
		return nil, fmt.Errorf("consuming: %w", err)
	}
	return b, nil
}

func newBroadcast(reached int64) *broadcast {
	return &broadcast{ended: make(chan struct{}), asking: make(chan struct{}, 1), reached: reached}
}

// receive reads a message on NATS's goroutine, while the subscribers work on those before.
func (b *broadcast) receive(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return // not a message of a stream
	}
	d := &delivery{position: int64(meta.Sequence.Stream), size: min(len(msg.Data())+headerBytes, feedBytes)} //nolint:gosec // positions are int64
	d.event, err = relay.DecodeEvent(msg.Headers(), msg.Data())
	d.readable = err == nil && d.event.Position == d.position
	b.deliver(d)
}

// deliver lets the oldest go to make room, whether all have taken them or not: nobody
// waits for a subscriber.
func (b *broadcast) deliver(d *delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent, b.size, b.reached = append(b.recent, d), b.size+d.size, d.position
	for len(b.recent) > feedDeliveries || b.size > feedBytes {
		b.size -= b.recent[0].size
		b.recent[0] = nil
		b.recent = b.recent[1:]
		b.passed++
	}
	for _, c := range b.cursors {
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// join adds a cursor before the oldest delivery that is kept; nil when it is over.
func (b *broadcast) join() *cursor {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return nil
	}
	c := &cursor{broadcast: b, next: b.passed, news: make(chan struct{}, 1)}
	if len(b.recent) > 0 {
		c.news <- struct{}{}
	}
	b.cursors = append(b.cursors, c)
	return c
}

// end is for all: what JetStream brings is not to be believed, or it brings nothing. It
// does not wait: an ordered consumer that is trying to reach NATS takes up to its own
// time-outs to stop.
func (b *broadcast) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked()
}

func (b *broadcast) endLocked() {
	if b.over {
		return
	}
	b.over = true
	close(b.ended)
	if b.consuming != nil {
		go b.consuming.Stop()
	}
}

// confirms reports whether the log had the event a moment ago, or a later one of the same
// epoch, before which it has all; otherwise it says which one to ask for.
func (b *broadcast) confirms(e domain.Event) (ask domain.Event, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.confirmed.Epoch == e.Epoch && b.confirmed.Position >= e.Position && time.Since(b.confirmedAt) < confirmedTime {
		return e, true
	}
	if n := len(b.recent); n > 0 && b.recent[n-1].readable && b.recent[n-1].event.Epoch == e.Epoch {
		return b.recent[n-1].event, false
	}
	return e, false
}

func (b *broadcast) confirm(e domain.Event, asked time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.confirmed, b.confirmedAt = e, asked
}

// cursor is how far one subscription is in a broadcast.
type cursor struct {
	broadcast *broadcast
	// next is the number of the delivery to take, by the order in which they came.
	next int
	// news has an element when there may be something to take.
	news chan struct{}
}

// take is the next delivery that is still there, nil when there is none now.
func (c *cursor) take() *delivery {
	b := c.broadcast
	b.mu.Lock()
	defer b.mu.Unlock()
	c.next = max(c.next, b.passed)
	if c.next-b.passed == len(b.recent) {
		return nil
	}
	c.next++
	return b.recent[c.next-1-b.passed]
}

// reached is the latest position that JetStream has brought.
func (c *cursor) reached() int64 {
	c.broadcast.mu.Lock()
	defer c.broadcast.mu.Unlock()
	return c.broadcast.reached
}

// leave ends the broadcast when nobody else follows it.
func (c *cursor) leave() {
	b := c.broadcast
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cursors = slices.DeleteFunc(b.cursors, func(other *cursor) bool { return other == c })
	if len(b.cursors) == 0 {
		b.endLocked()
	}
}
