package subscription

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore/relay"
)

const (
	// feedBytes bounds what waits between NATS and the subscriber: two batches, so that
	// one can be decoded while the other is worked on.
	feedBytes = 2 * MaxBytes
	// headerBytes is about what the headers of a message take.
	headerBytes = 2 << 10
	// feedDeliveries bounds the same for small events.
	feedDeliveries = 2 * MaxEvents
	// openTimeout bounds each question to NATS.
	openTimeout = 5 * time.Second
)

// delivery is a message of the stream. Its position is the stream's sequence, which
// holds even where the message cannot be read.
type delivery struct {
	position int64
	event    domain.Event
	readable bool
	size     int
}

// feed consumes the stream in order, ahead of the subscriber by a bounded amount.
type feed struct {
	deliveries chan delivery
	budget     *semaphore.Weighted
	consuming  jetstream.ConsumeContext
	stop       context.CancelFunc
}

// errNotInStream means that the stream does not reach to the position, on either
// side.
var errNotInStream = errors.New("the stream does not hold the next position")

// openFeed consumes from the position after the one given. It fails when the stream
// has dropped that already, or has not come to it yet.
func openFeed(ctx context.Context, js jetstream.JetStream, after int64, headersOnly bool) (*feed, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, relay.StreamName)
	if err != nil {
		return nil, fmt.Errorf("finding the stream: %w", err)
	}
	next := uint64(after) + 1 //nolint:gosec // a position is at least 0
	if state := stream.CachedInfo().State; next < state.FirstSeq || next > state.LastSeq+1 {
		return nil, errNotInStream
	}
	consumer, err := js.OrderedConsumer(ctx, relay.StreamName, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: next, HeadersOnly: headersOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("creating a consumer: %w", err)
	}
	running, stop := context.WithCancel(context.Background())
	f := &feed{deliveries: make(chan delivery, feedDeliveries), budget: semaphore.NewWeighted(feedBytes), stop: stop}
	f.consuming, err = consumer.Consume(func(msg jetstream.Msg) { f.deliver(running, msg) },
		jetstream.PullMaxMessagesWithBytesLimit(MaxEvents, MaxBytes))
	if err != nil {
		stop()
		return nil, fmt.Errorf("consuming: %w", err)
	}
	return f, nil
}

// deliver reads a message on NATS's goroutine, while the subscriber works on the one before.
func (f *feed) deliver(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return // not a message of a stream
	}
	d := delivery{position: int64(meta.Sequence.Stream), size: min(len(msg.Data())+headerBytes, feedBytes)} //nolint:gosec // positions are int64
	d.event, err = relay.DecodeEvent(msg.Headers(), msg.Data())
	d.readable = err == nil && d.event.Position == d.position
	if f.budget.Acquire(ctx, int64(d.size)) != nil {
		return
	}
	select {
	case f.deliveries <- d:
	case <-ctx.Done():
	}
}

// take is the next delivery, nil when there is none now.
func (f *feed) take() *delivery {
	select {
	case d := <-f.deliveries:
		f.release(d)
		return &d
	default:
		return nil
	}
}

// release makes room for what comes after a delivery that was taken.
func (f *feed) release(d delivery) { f.budget.Release(int64(d.size)) }

// close does not wait: an ordered consumer that is trying to reach NATS takes up to
// its own time-outs to stop.
func (f *feed) close() {
	f.stop()
	go f.consuming.Stop()
}
