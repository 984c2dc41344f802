package subscription

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// fork has the log begin an epoch, as a relay does, and returns the one before.
func (l *logOfTest) fork(t *testing.T, common int64) (before uuid.UUID) {
	t.Helper()
	head, before, err := l.relay.Head(t.Context())
	require.NoError(t, err)
	forked, err := l.relay.Fork(t.Context(), eventstore.Loss{
		Epoch: before, Published: eventstore.Published{Position: head + 100, Event: uuid.New()}, Common: common,
	})
	require.NoError(t, err)
	require.True(t, forked)
	return before
}

func TestAPlaceThatWasLostIsToldAndGoesBack(t *testing.T) {
	t.Parallel()
	l, broker := newLog(t), hubtest.NATS(t)
	l.appendSome(t, 10)
	old := l.fork(t, 6)
	l.appendSome(t, 5)
	_, epoch, err := l.relay.Head(t.Context())
	require.NoError(t, err)
	l.stream(t, broker.JetStream, 1)
	org := l.options
	org.Store, org.Filter.Org = l.query, "acme"
	live := l.options
	live.Feed = NewFeed(broker.JetStream)
	for name, options := range map[string]Options{"from the store": l.options, "from JetStream": live, "one organisation": org} {
		for _, c := range []struct {
			at   Place
			back int64
		}{
			{Place{7, old}, 6},          // of the truth or of what was lost: nobody can tell
			{Place{10, old}, 6},         // the log goes on here in another epoch
			{Place{14, old}, 6},         // the log has grown past it
			{Place{100, old}, 6},        // the log does not reach it
			{Place{3, uuid.New()}, 3},   // an epoch of which the log knows nothing
			{Place{100, uuid.New()}, 6}, // likewise
		} {
			s := New(options)
			batch, err := s.Next(t.Context(), c.at)
			if err == nil { // the rest of its epoch, at most
				require.Equal(t, Place{10, old}, batch.At)
				_, err = s.Next(t.Context(), batch.At)
			}
			var forked *ForkedError
			require.ErrorAs(t, err, &forked, "%s %v", name, c.at)
			back := forked.From
			require.Equal(t, Place{c.back, epoch}, back)
			batch, err = s.Next(t.Context(), back)
			require.NoError(t, err)
			require.Greater(t, batch.At.Position, back.Position)
			s.Close()
		}
		for _, at := range []Place{{6, old}, {2, old}, {6, epoch}, {12, epoch}, {}} {
			s := New(options)
			_, err := s.Next(t.Context(), at)
			require.NoError(t, err, "%s %v", name, at)
			s.Close()
		}
	}
	require.Equal(t, upTo(6, 16), l.subscribe(t, live, Place{6, old}).through(16))
}

// Before the relay has settled it, a log that is shorter than it was is waited for.
func TestALogThatIsShorterThanItWasIsTold(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.appendSome(t, 3)
	_, epoch, err := l.relay.Head(t.Context())
	require.NoError(t, err)
	s := New(l.options)
	defer s.Close()
	_, err = s.Next(t.Context(), Place{5, epoch})
	require.ErrorIs(t, err, ErrLogBehind)
	l.appendSome(t, 3)
	batch, err := s.Next(t.Context(), Place{5, epoch})
	require.NoError(t, err)
	require.Equal(t, Place{6, epoch}, batch.At)
}
