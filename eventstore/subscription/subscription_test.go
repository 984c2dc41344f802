package subscription

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestLogIsFollowedWithoutNATS(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.appendSome(t, 3)
	r := l.subscribe(t, l.options, Place{})
	require.Equal(t, upTo(0, 3), r.through(3))
	require.Equal(t, upTo(0, 5), r.through(l.appendSome(t, 2)))
}

// Writers append and a relay publishes while subscriptions start, catch up and become
// live, each from another position: there is no seam.
func TestCatchingUpBecomesLiveWithoutASeam(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.options.Feed = NewFeed(broker.JetStream)
	const last = 1500
	l.appendSome(t, 100)
	l.stream(t, broker.JetStream, 50)
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() { l.write(t, broker.JetStream, 100, last) }) // when it fails, the readers wait in vain
	readers := map[int64]*reader{}
	for _, after := range []int64{0, 1, 49, 50, 99, 100, 400, last - 1} {
		readers[after] = l.subscribe(t, l.options, Place{Position: after})
	}
	for after, r := range readers {
		require.Equal(t, upTo(after, last), r.through(last))
	}
}

func TestHoleIsReadFromTheStore(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.options.Feed = NewFeed(broker.JetStream)
	l.appendSome(t, 30)
	stream := l.stream(t, broker.JetStream, 1)
	for _, gone := range []uint64{1, 7, 8, 9, 20, 30} {
		require.NoError(t, stream.DeleteMsg(t.Context(), gone))
	}
	require.Equal(t, upTo(0, 30), l.subscribe(t, l.options, Place{}).through(30))
}

func TestNATSGoesAndTheStoreGoesOn(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.options.Feed = NewFeed(broker.JetStream)
	l.appendSome(t, 5)
	l.stream(t, broker.JetStream, 1)
	r := l.subscribe(t, l.options, Place{})
	r.through(5)

	// Wiped, and refilled later from where it is needed.
	require.NoError(t, broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
	r.through(l.appendSome(t, 5))
	l.appendSome(t, 5)
	l.stream(t, broker.JetStream, 11)
	r.through(15)

	broker.Stop()
	require.Equal(t, upTo(0, 20), r.through(l.appendSome(t, 5)))
}

func TestAnyPositionMayBeAskedForAgain(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.options.Feed = NewFeed(broker.JetStream)
	l.appendSome(t, 20)
	l.stream(t, broker.JetStream, 1)
	r := l.subscribe(t, l.options, Place{})
	r.through(20)
	for _, back := range []int64{3, 19, 0} {
		r.at, r.got = Place{Position: back}, nil
		require.Equal(t, upTo(back, 20), r.through(20))
	}
}

// What the filter leaves out moves the place all the same, whoever brings it and
// wherever the filter is applied.
func TestFiltersLeaveOutEventsButNotPositions(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	var all []happened
	for i := range 40 {
		all = append(all, happened{
			org: []string{"acme", "other"}[i%2], kind: []string{"thing.happened", "thing.ended"}[i/2%2], tag: domain.Tag(fmt.Sprint("room:", i/4%2)),
		})
	}
	wanted := func(f Filter) (found []int64) {
		for i, h := range all {
			if f.Wants(domain.Event{Org: h.org, Type: h.kind, Tags: []domain.Tag{h.tag}}) {
				found = append(found, int64(i)+1)
			}
		}
		return found
	}
	filters := []struct {
		Filter
		count int
	}{
		{Filter{}, 40},
		{Filter{Org: "acme"}, 20},
		{Filter{Types: []string{"thing.ended"}}, 20},
		{Filter{Types: []string{"thing.ended", "thing.happened"}}, 40},
		{Filter{Tag: "room:1"}, 20},
		{Filter{Org: "acme", Types: []string{"thing.ended"}, Tag: "room:1"}, 5},
		{Filter{Org: "nobody"}, 0},
	}
	l.append(t, all[:30]...)
	l.stream(t, broker.JetStream, 1)
	for _, withNATS := range []bool{false, true} {
		var readers []*reader
		for _, f := range filters {
			options := Options{Store: l.options.Store, Filter: f.Filter}
			if f.Org != "" {
				options.Store = l.query
			}
			if withNATS {
				options.Feed = NewFeed(broker.JetStream)
			}
			require.Len(t, wanted(f.Filter), f.count)
			readers = append(readers, l.subscribe(t, options, Place{}))
		}
		for i, r := range readers {
			r.through(30)
			require.LessOrEqual(t, len(r.got), filters[i].count)
		}
		if !withNATS {
			l.append(t, all[30:]...)
			l.publish(t, broker.JetStream, 30)
		}
		for i, r := range readers {
			require.Equal(t, wanted(filters[i].Filter), r.through(40), "%+v", filters[i])
			require.EqualValues(t, 40, r.at.Position)
		}
	}
}

func TestBatchesFromTheStoreAreBounded(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	const count = 60
	large := happened{org: "acme", kind: "thing.happened", data: `{"x":"` + strings.Repeat("x", 200<<10) + `"}`}
	for range count / 10 {
		l.append(t, large, large, large, large, large, large, large, large, large, large)
	}
	for _, options := range []Options{l.options, {Store: l.query, Filter: Filter{Org: "acme"}}} {
		r := l.subscribe(t, options, Place{})
		r.next() // learns how large the events are
		r.at, r.got = Place{}, nil
		for r.at.Position < count {
			batch := r.next()
			require.LessOrEqual(t, sizeOf(batch.Events), MaxBytes+len(large.data))
		}
		require.Equal(t, upTo(0, count), positions(r.got))
	}
}

func sizeOf(events []domain.Event) int {
	size := 0
	for _, e := range events {
		size += len(e.Data)
	}
	return size
}

// However many follow, the stream is read once.
func TestAllWhoFollowShareOneConsumer(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.options.Feed = NewFeed(broker.JetStream)
	l.appendSome(t, 3)
	stream := l.stream(t, broker.JetStream, 1)
	readers := []*reader{}
	for range 4 {
		readers = append(readers, l.subscribe(t, l.options, Place{}))
	}
	for slices.ContainsFunc(readers, func(r *reader) bool { return r.from.feed == nil }) {
		head := l.publish(t, broker.JetStream, l.appendSome(t, 1)-1)
		for _, r := range readers {
			require.Equal(t, upTo(0, head), r.through(head))
		}
	}
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, info.State.Consumers)
}

// A subscriber that falls further behind than the feed keeps reads the log, and does not
// take the feed for broken, however long that takes.
func TestWhoeverFallsBehindReadsTheLogAndLeavesTheFeedAlone(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.options.Feed = NewFeed(broker.JetStream)
	head := l.appendSome(t, 1)
	l.stream(t, broker.JetStream, 1)
	r := l.subscribe(t, l.options, Place{})
	for r.from.feed == nil {
		head = l.publish(t, broker.JetStream, l.appendSome(t, 1)-1)
		r.through(head)
	}
	feed := r.from.feed
	for range 2*feedDeliveries/500 + 1 {
		head = l.publish(t, broker.JetStream, l.appendSome(t, 500)-500)
	}
	for feed.reached() < head {
		hubtest.Wait(t, patience, "what was published", feed.news)
	}
	for r.at.Position < head {
		r.from.stalledSince = time.Now().Add(-2 * stalledTime)
		r.next()
	}
	require.Equal(t, upTo(0, head), positions(r.got))
	require.Same(t, feed, r.from.feed)
}

func TestLogThatIsAwayIsSaidAndComesBack(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.appendSome(t, 1)
	_, err := l.admin.Exec(t.Context(), `REVOKE EXECUTE ON FUNCTION read_log FROM hub_projector`)
	require.NoError(t, err)
	r := l.subscribe(t, l.options, Place{})
	_, err = r.from.Next(t.Context(), Place{})
	require.ErrorIs(t, err, ErrLogAway)
	_, err = l.admin.Exec(t.Context(), `GRANT EXECUTE ON FUNCTION read_log TO hub_projector`)
	require.NoError(t, err)
	require.Equal(t, upTo(0, 3), r.through(l.appendSome(t, 2)))
}

// A JetStream store that outlived its log holds what this log does not.
func TestStreamAheadOfTheLogIsNotBelieved(t *testing.T) {
	t.Parallel()
	former, l, broker := newLog(t), newLog(t), hubtest.NATS(t)
	_, err := former.admin.Exec(t.Context(), `INSERT INTO log_epochs (number, after_position, fork_position) VALUES (2, 0, 0)`)
	require.NoError(t, err)
	former.appendSome(t, 40)
	former.stream(t, broker.JetStream, 1)
	l.appendSome(t, 10)
	l.options.Feed = NewFeed(broker.JetStream)
	r := l.subscribe(t, l.options, Place{})
	r.through(10)
	for _, e := range r.got {
		require.Equal(t, r.at.Epoch, e.Epoch)
	}
	require.EqualValues(t, 10, r.at.Position)
}

// PostgreSQL has lost what was published, and taken other events under the same epoch,
// before anybody has noticed.
func TestWhatTheLogHasLostIsNotBelieved(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.appendSome(t, 3)
	entries, err := l.relay.ReadLog(t.Context(), 0, 3)
	require.NoError(t, err)
	lost := make([]*delivery, 5)
	for i := range lost {
		lost[i] = message(int64(i + 1))
		lost[i].event.ID, lost[i].event.Epoch = uuid.New(), entries[0].Epoch
	}
	s := fed(t, lost...)
	s.reader = NewReader(l.options.Store, Filter{})
	batch, err := s.Next(t.Context(), Place{Epoch: entries[0].Epoch})
	require.NoError(t, err)
	require.Equal(t, Place{3, entries[0].Epoch}, batch.At)
	require.Len(t, batch.Events, 3)
	for i, e := range batch.Events {
		require.Equal(t, entries[i].ID, e.ID)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	s := New(l.options)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Next(ctx, Place{})
		ended <- err
	}()
	cancel()
	err := hubtest.Wait(t, patience, "the end", ended)
	require.ErrorIs(t, err, context.Canceled)
}

// The feed comes back by itself: JetStream alone brings events again once the store
// is not asked any more.
func TestFeedIsOpenedAgainAfterTheStreamWasGone(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.appendSome(t, 3)
	l.options.Feed = NewFeed(broker.JetStream)
	r := l.subscribe(t, l.options, Place{})
	require.Equal(t, []int64{1, 2, 3}, r.through(3), "from the store")
	l.stream(t, broker.JetStream, 2)
	s := r.from
	for s.feed == nil {
		s.nextOpen = s.nextOpen.Add(-openInterval)
		s.open(t.Context())
		require.NoError(t, s.wait(t.Context()))
	}
	s.behind = false
	l.publish(t, broker.JetStream, l.appendSome(t, 1)-1)
	require.Equal(t, []int64{1, 2, 3, 4}, r.through(4))
	require.False(t, s.behind, "the store was not asked")
}

// The log was restored to an earlier state and went on: whoever has seen the lost end is
// told where to go on from, whether the log has grown past it already or not.
func TestPlaceOnALostEndIsForked(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	head := l.appendSome(t, 10)
	_, old, err := l.relay.Head(t.Context())
	require.NoError(t, err)
	_, err = l.admin.Exec(t.Context(), `INSERT INTO log_epochs (number, after_position, fork_position) VALUES (2, $1, $2)`, head, head-2)
	require.NoError(t, err)
	_, now, err := l.relay.Head(t.Context())
	require.NoError(t, err)
	want := Place{Position: head - 2, Epoch: now}
	check := func(at Place) {
		t.Helper()
		for _, options := range []Options{l.options, {Store: l.query, Filter: Filter{Org: "acme"}}} {
			s := New(options)
			defer s.Close()
			s.behind = true
			var forked *ForkedError
			_, err := s.Next(t.Context(), at)
			require.ErrorAs(t, err, &forked)
			require.Equal(t, &ForkedError{At: at, From: want}, forked)
			require.Contains(t, err.Error(), "has lost its end")
		}
	}
	check(Place{Position: head + 5, Epoch: old})
	check(Place{Position: head - 1, Epoch: old})
	l.appendSome(t, 10)
	check(Place{Position: head + 5, Epoch: old})
	check(Place{Position: head + 5, Epoch: uuid.New()}) // of a history that is not known

	// What was before the fork is as it was.
	r := l.subscribe(t, l.options, Place{Position: head - 2, Epoch: old})
	require.Equal(t, upTo(head-2, head+10), r.through(head+10))
}
