package subscription

import (
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/reactdjango-hub/backend/domain"
)

// fed is a subscription whose feed holds the given messages.
func fed(t *testing.T, deliveries ...delivery) *Subscription {
	t.Helper()
	f := &feed{
		deliveries: make(chan delivery, len(deliveries)), budget: semaphore.NewWeighted(feedBytes),
		consuming: unconsumed{}, stop: func() {},
	}
	for _, d := range deliveries {
		require.True(t, f.budget.TryAcquire(int64(d.size)))
		f.deliveries <- d
	}
	return &Subscription{feed: f}
}

// unconsumed is the consumer of a feed that is filled by hand.
type unconsumed struct{ jetstream.ConsumeContext }

// Stop has nothing to stop.
func (unconsumed) Stop() {}

var thisLog = uuid.MustParse("00000000-0000-4000-8000-000000000001")

func message(position int64) delivery {
	return delivery{position: position, readable: true, size: 1, event: domain.Event{Position: position, Epoch: thisLog}}
}

func positions(events []domain.Event) []int64 {
	var found []int64
	for _, e := range events {
		found = append(found, e.Position)
	}
	return found
}

func taken(s *Subscription, after Place) []domain.Event {
	batch, _ := s.fromFeed(after)
	return batch.Events
}

func TestFeedIsTakenInOrderAndOnce(t *testing.T) {
	t.Parallel()
	s := fed(t, message(3), message(4), message(5), message(6), message(5), message(6), message(7))
	require.Equal(t, []int64{5, 6, 7}, positions(taken(s, Place{4, thisLog})))
	require.False(t, s.behind)
}

func TestFeedWithAHoleAsksTheStore(t *testing.T) {
	t.Parallel()
	s := fed(t, message(1), message(4), message(5))
	require.Equal(t, []int64{1}, positions(taken(s, Place{0, thisLog})))
	require.True(t, s.behind)
	// Read from the store in the meantime: 2 and 3.
	require.Equal(t, []int64{4, 5}, positions(taken(s, Place{3, thisLog})))
}

func TestFeedOfAnotherLogAsksTheStore(t *testing.T) {
	t.Parallel()
	foreign := message(2)
	foreign.event.Epoch = uuid.New()
	s := fed(t, message(1), foreign, message(3))
	require.Equal(t, []int64{1}, positions(taken(s, Place{0, thisLog})))
	require.True(t, s.behind)
}

func TestUnreadableMessageAsksTheStore(t *testing.T) {
	t.Parallel()
	s := fed(t, delivery{position: 1, size: 1}, message(2))
	require.Empty(t, taken(s, Place{0, thisLog}))
	require.True(t, s.behind)
}

func TestBatchIsBoundedInEventsAndBytes(t *testing.T) {
	t.Parallel()
	var many []delivery
	for i := range int64(MaxEvents + 5) {
		many = append(many, message(i+1))
	}
	s := fed(t, many...)
	require.Len(t, taken(s, Place{0, thisLog}), MaxEvents)
	require.Len(t, taken(s, Place{MaxEvents, thisLog}), 5)

	large := []delivery{message(1), message(2), message(3)}
	for i := range large {
		large[i].size = MaxBytes / 2
	}
	require.Len(t, taken(fed(t, large...), Place{0, thisLog}), 2)
}
