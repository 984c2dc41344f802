package subscription

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// fed is a subscription whose feed has brought the given messages.
func fed(t *testing.T, deliveries ...*delivery) *Subscription {
	t.Helper()
	b := newBroadcast(0)
	for _, d := range deliveries {
		b.deliver(d)
	}
	return &Subscription{feed: b.join()}
}

var thisLog = uuid.MustParse("00000000-0000-4000-8000-000000000001")

func message(position int64) *delivery {
	return &delivery{position: position, readable: true, size: 1, event: domain.Event{Position: position, Epoch: thisLog}}
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
	s := fed(t, &delivery{position: 1, size: 1}, message(2))
	require.Empty(t, taken(s, Place{0, thisLog}))
	require.True(t, s.behind)
}

func TestBatchIsBoundedInEventsAndBytes(t *testing.T) {
	t.Parallel()
	var many []*delivery
	for i := range int64(MaxEvents + 5) {
		many = append(many, message(i+1))
	}
	s := fed(t, many...)
	require.Len(t, taken(s, Place{0, thisLog}), MaxEvents)
	require.Len(t, taken(s, Place{MaxEvents, thisLog}), 5)

	large := []*delivery{message(1), message(2), message(3)}
	for i := range large {
		large[i].size = MaxBytes / 2
	}
	require.Len(t, taken(fed(t, large...), Place{0, thisLog}), 2)
}

// Nobody waits for who is behind: the oldest let go of, and what was missed is a hole.
func TestTheFeedKeepsABoundedAmount(t *testing.T) {
	t.Parallel()
	s := fed(t, message(1))
	b := s.feed.broadcast
	for i := range int64(2 * feedDeliveries) {
		b.deliver(message(i + 2))
		require.LessOrEqual(t, len(b.recent), feedDeliveries)
	}
	require.Empty(t, taken(s, Place{0, thisLog}))
	require.True(t, s.behind)
	require.EqualValues(t, feedDeliveries+2, s.pending.position)

	for i := range 10 {
		large := message(int64(2*feedDeliveries + 2 + i))
		large.size = feedBytes / 3
		b.deliver(large)
		require.LessOrEqual(t, b.size, feedBytes)
	}
	require.Len(t, b.recent, 3)
	require.EqualValues(t, 2*feedDeliveries+11, s.feed.reached())
}

// Whoever follows first leaves last: the broadcast ends when nobody follows it, and for
// all when one finds that it is not to be believed.
func TestTheFeedEndsWithTheLastWhoFollows(t *testing.T) {
	t.Parallel()
	b := newBroadcast(0)
	first, second := b.join(), b.join()
	first.leave()
	select {
	case <-b.ended:
		require.Fail(t, "the broadcast ended while somebody followed")
	default:
	}
	second.leave()
	<-b.ended
	require.Nil(t, b.join())

	s, other := fed(t, message(1)), &Subscription{}
	other.feed = s.feed.broadcast.join()
	s.drop()
	require.NoError(t, other.wait(t.Context()))
	for other.feed != nil { // news came first
		require.NoError(t, other.wait(t.Context()))
	}
	require.True(t, other.behind)
}

// All who follow wake at the same moment. Who finds another asking the log waits for that
// answer, and asks only where it was none.
func TestTheLogIsAskedByOneForAll(t *testing.T) {
	t.Parallel()
	s := fed(t, message(1), message(2))
	b := s.feed.broadcast
	b.asking <- struct{}{} // another asks; s has no reader to do so
	answered := make(chan error, 1)
	go func() {
		batch, err := s.Next(t.Context(), Place{Epoch: thisLog})
		if err == nil && batch.At.Position != 2 {
			err = fmt.Errorf("reached %d", batch.At.Position)
		}
		answered <- err
	}()
	b.confirm(message(2).event, time.Now().Add(time.Hour)) // good for as long as the test takes
	<-b.asking
	require.NoError(t, hubtest.Wait(t, patience, "the answer", answered))
	require.Empty(t, b.asking)

	late := &Subscription{feed: b.join()}
	b.confirm(message(1).event, time.Now())
	b.asking <- struct{}{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := late.Next(ended, Place{Epoch: thisLog})
	require.ErrorIs(t, err, context.Canceled)
}
