package subscription

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// tail runs one on the log, with a feed if that is not nil.
func (l *logOfTest) tail(t *testing.T, feed *Feed) *Tail {
	t.Helper()
	tail := NewTail(Options{Store: l.query, Feed: feed, Log: l.options.Log})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = tail.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return tail
}

// small bounds, so that pages are cut.
var few = Bounds{Events: 7, Bytes: MaxBytes}

// follow reads until a position is reached, and waits for news in between. The first
// place is after the one given.
func follow(ctx context.Context, f *Follower, at Place, through int64) (got []domain.Event, reached Place, err error) {
	for at.Position < through {
		batch, err := f.Read(ctx, at, few)
		if err != nil {
			return got, at, err
		}
		if batch.At.Position < at.Position || len(batch.Events) > few.Events {
			return got, at, fmt.Errorf("from %v to %v with %d events", at, batch.At, len(batch.Events))
		}
		last := at.Position
		for _, e := range batch.Events {
			if e.Position <= last || e.Position > batch.At.Position {
				return got, at, fmt.Errorf("position %d after %d", e.Position, last)
			}
			last = e.Position
		}
		got = append(got, batch.Events...)
		if batch.At.Position > at.Position {
			at = batch.At
			continue
		}
		select {
		case <-f.News():
		case <-ctx.Done():
			return got, at, ctx.Err()
		}
	}
	return got, at, nil
}

// However many follow, from wherever, with whatever filter, while others write: each gets
// what passes its filter once and in order, and its place gets to the end.
func TestFollowersGetTheirEventsOnceAndInOrder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"with JetStream", "without"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			var js jetstream.JetStream
			var feed *Feed
			if name == "with JetStream" {
				js = hubtest.NATS(t).JetStream
				feed = NewFeed(js)
				l.stream(t, js, 1)
			}
			tail := l.tail(t, feed)
			kinds := []string{"thing.happened", "thing.ended", "other.began"}
			var truth []happened
			head := int64(0)
			rapid.Check(t, func(rt *rapid.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				type follower struct {
					filter Filter
					at     Place
					until  int64
					got    []domain.Event
					end    Place
					err    error
				}
				count := rapid.IntRange(1, 60).Draw(rt, "events")
				all := make([]*follower, rapid.IntRange(1, 5).Draw(rt, "followers"))
				var running sync.WaitGroup
				for i := range all {
					all[i] = &follower{
						filter: Filter{
							Org:   rapid.SampledFrom([]string{"acme", "acme", "other"}).Draw(rt, "org"),
							Types: rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 2).Draw(rt, "types"),
							Tag:   rapid.SampledFrom([]domain.Tag{"", "", "key:a"}).Draw(rt, "tag"),
						},
						at: Place{Position: max(0, head-rapid.Int64Range(0, 20).Draw(rt, "behind"))}, until: head + int64(count),
					}
					if all[i].filter.Org == "other" {
						all[i].until++
					}
					running.Go(func() {
						f := tail.Follow(all[i].filter)
						defer f.Close()
						all[i].got, all[i].end, all[i].err = follow(ctx, f, all[i].at, all[i].until)
					})
				}
				for i := range count + 1 {
					one := happened{
						org: rapid.SampledFrom([]string{"acme", "other"}).Draw(rt, "org"), kind: rapid.SampledFrom(kinds).Draw(rt, "kind"),
						tag: rapid.SampledFrom([]domain.Tag{"", "key:a"}).Draw(rt, "tag"),
					}
					// Whoever has no news does not look: the last two are for everybody.
					if i >= count-1 {
						one.org = []string{"acme", "other"}[i-count+1]
					}
					truth = append(truth, one)
					head = l.append(rt, one)
				}
				if js != nil {
					l.publish(rt, js, head-int64(count)-1)
				}
				running.Wait()
				for _, f := range all {
					require.NoError(rt, f.err)
					require.GreaterOrEqual(rt, f.end.Position, f.until)
					var want, got []string
					for i := f.at.Position; i < f.until; i++ {
						e := truth[i]
						event := domain.Event{Org: e.org, Type: e.kind, Tags: []domain.Tag{e.tag}}
						if f.filter.Wants(event) {
							want = append(want, fmt.Sprint(i+1, e.org, e.kind))
						}
					}
					for _, e := range f.got {
						got = append(got, fmt.Sprint(e.Position, e.Org, e.Type))
					}
					require.Equal(rt, want, got, "%+v", f.filter)
				}
			})
		})
	}
}

// A log that went on differently ends those who have seen what was lost, also those who
// share what was read before, and nobody else.
func TestFollowersOfALostEndAreTold(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.appendSome(t, 10)
	tail := l.tail(t, nil)
	ahead, before := tail.Follow(Filter{Org: "acme"}), tail.Follow(Filter{Org: "acme"})
	defer ahead.Close()
	defer before.Close()
	start, err := tail.Head(t.Context())
	require.NoError(t, err)
	_, at, err := follow(t.Context(), ahead, Place{}, 10)
	require.NoError(t, err)
	require.Equal(t, start, at)

	l.fork(t, 6) // and appends that
	got, _, err := follow(t.Context(), before, Place{Position: 6, Epoch: start.Epoch}, 11)
	require.NoError(t, err)
	require.Equal(t, upTo(6, 10), positions(got), "10 and before are of the log; 11 is of the hub")
	_, _, err = follow(t.Context(), ahead, at, 11)
	var forked *ForkedError
	require.ErrorAs(t, err, &forked)
	require.EqualValues(t, 6, forked.From.Position)
}

// Those who are at the end share one reading of what is new: a thousand do not ask the
// database a thousand times.
func TestFollowersShareWhatIsRead(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	head := l.appendSome(t, 3)
	tail := l.tail(t, nil)
	all := make([]*Follower, 50)
	places := make([]Place, len(all))
	for i := range all {
		all[i] = tail.Follow(Filter{Org: "acme"})
		defer all[i].Close()
		var err error
		_, places[i], err = follow(t.Context(), all[i], Place{}, head)
		require.NoError(t, err)
	}
	l.appendSome(t, 2)
	_, at, err := follow(t.Context(), all[0], places[0], head+2)
	require.NoError(t, err)
	l.query = nil // nobody asks it now
	for i, f := range all[1:] {
		f.reader = nil
		batch, err := f.Read(t.Context(), places[i+1], few)
		require.NoError(t, err)
		require.Equal(t, at, batch.At)
		require.Equal(t, upTo(head, head+2), positions(batch.Events))
	}
}

// Nobody is followed for nobody, and whoever comes then is served.
func TestATailRestsWhenNobodyFollows(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	tail := l.tail(t, nil)
	require.False(t, tail.deserted() && len(tail.orgs) > 0)
	f := tail.Follow(Filter{Org: "acme"})
	require.False(t, tail.deserted())
	f.Close()
	tail.mu.Lock()
	tail.lastLeft = tail.lastLeft.Add(-2 * lingerTime)
	tail.mu.Unlock()
	require.True(t, tail.deserted())
	require.Empty(t, tail.orgs)
	f = tail.Follow(Filter{Org: "acme"})
	defer f.Close()
	head := l.appendSome(t, 1)
	got, _, err := follow(t.Context(), f, Place{}, head)
	require.NoError(t, err)
	require.Equal(t, []int64{1}, positions(got))
}
