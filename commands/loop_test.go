package commands_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
)

func TestSubmitAnswersWithPositionAndVersion(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	for n := int64(1); n <= 3; n++ {
		r, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 2}))
		require.NoError(t, err)
		assert.Equal(t, commands.Receipt{
			ID: "1", Version: n, Position: n, Created: n == 1,
			Events: []commands.ReceiptEvent{{Type: "counter.added", Position: n}},
		}, r)
	}
	noop, err := l.Submit(t.Context(), submission(add{counter: "counter:1"}))
	require.NoError(t, err)
	assert.Equal(t, commands.Receipt{ID: "1", Version: 3, Position: 3, Events: []commands.ReceiptEvent{}}, noop)
	// Another loop has nothing cached and must come to the same.
	r, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	assert.Equal(t, int64(4), r.Version)
	// Now the first one's cache is out of date.
	r, err = l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1, linked: []domain.Tag{"counter:2"}}))
	require.NoError(t, err)
	assert.Equal(t, int64(5), r.Version)
}

func TestARefusalIsDecidedOnTheNewestState(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	first, second := s.loop(t), s.loop(t)
	_, err := first.Submit(t.Context(), submission(add{counter: "counter:1", amount: limit}))
	require.NoError(t, err)
	_, err = second.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.Equal(t, "full", problem.Of(err).Code)
	_, err = second.Submit(t.Context(), submission(add{counter: "counter:1", amount: -limit}))
	require.NoError(t, err)
	// The first loop still has the full counter cached.
	_, err = first.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
}

func TestCommandsOfOneTurnSeeEachOther(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	for range 2 { // with an empty cache and with a filled one
		answers := l.Turn(t.Context(),
			submission(add{counter: "counter:1", amount: limit - 1}),
			submission(add{counter: "counter:1", amount: 2}),
			submission(add{counter: "counter:1", amount: 1}),
			submission(add{counter: "counter:1", amount: -limit}),
		)
		require.NoError(t, answers[0].Err)
		require.Equal(t, "full", problem.Of(answers[1].Err).Code)
		require.NoError(t, answers[2].Err)
		require.NoError(t, answers[3].Err)
		assert.Equal(t, answers[0].Receipt.Position+1, answers[2].Receipt.Position)
		assert.Equal(t, answers[0].Receipt.Version+1, answers[2].Receipt.Version)
	}
}

// A boundary that an event of the turn carries, and that is read only afterwards,
// shows that event.
func TestATurnSeesWhatItWroteToABoundaryItHadNotRead(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	_, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:other", amount: 1}))
	require.NoError(t, err)
	answers := l.Turn(t.Context(),
		submission(add{counter: "counter:1", amount: limit, also: []domain.Tag{"counter:late"}}),
		// This names counter:late only because of the effect of the first.
		submission(late{after: "counter:1", counter: "counter:late"}),
	)
	require.NoError(t, answers[0].Err)
	assert.Equal(t, "full", problem.Of(answers[1].Err).Code)
	// And what is cached of it afterwards is right.
	assert.Equal(t, "full", problem.Of(l.Turn(t.Context(), submission(add{counter: "counter:late", amount: 1}))[0].Err).Code)
}

// late adds one to a counter that it names when another is not empty.
type late struct{ after, counter domain.Tag }

func (c late) Boundaries(r domain.Reader) []domain.Tag {
	if domain.Read[counter](r, c.after).total == 0 {
		return []domain.Tag{c.after}
	}
	return []domain.Tag{c.after, c.counter}
}

func (c late) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	return add{counter: c.counter, amount: 1}.Decide(r, m)
}

// Under the lock a command may come to name a boundary that the cache has from long ago.
func TestASecondAttemptDoesNotTrustTheCache(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, other := s.stopped(), s.loop(t)
	require.NoError(t, l.Turn(t.Context(), submission(add{counter: "counter:late", amount: 1}))[0].Err)
	require.NoError(t, l.Turn(t.Context(), submission(add{counter: "counter:1"}))[0].Err)
	for _, tag := range []domain.Tag{"counter:late", "counter:1"} {
		_, err := other.Submit(t.Context(), submission(add{counter: tag, amount: 1}))
		require.NoError(t, err)
	}
	answer := l.Turn(t.Context(), submission(late{after: "counter:1", counter: "counter:late"}))[0]
	require.NoError(t, answer.Err)
	assert.Equal(t, int64(3), answer.Receipt.Version)
}

func TestAFreshBoundaryThatIsTakenIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	r, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: 1, fresh: true}))
	require.NoError(t, err)
	assert.Equal(t, int64(2), r.Version)
}

func TestAStoppedLoopSaysSo(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := commands.New(commands.Options{Store: s.store, Codec: eventstore.NewCodec(), Folds: domain.Folds{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(ctx)
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1"}))
	assert.Equal(t, "shutting_down", problem.Of(err).Code)
}

func TestAQueueThatIsFullRefusesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 4096 {
		_, err := l.Submit(gone, submission(add{counter: "counter:1"}))
		require.Equal(t, "cancelled", problem.Of(err).Code)
	}
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1"}))
	assert.Equal(t, "overloaded", problem.Of(err).Code)
	assert.Positive(t, problem.Of(err).RetryAfter)
}

// What waited for longer than a caller should is refused instead of decided.
func TestACommandThatWaitedForTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := system{}.stopped() // never reaches its store
		answered := make(chan error, 2)
		for range cap(answered) {
			go func() {
				_, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
				answered <- err
			}()
		}
		<-time.After(time.Minute)
		ctx, stop := context.WithCancel(t.Context())
		go l.Run(ctx)
		for range cap(answered) {
			p := problem.Of(<-answered)
			assert.Equal(t, "overloaded", p.Code)
			assert.Positive(t, p.RetryAfter)
		}
		stop()
	})
}
