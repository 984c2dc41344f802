package commands_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	first, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 5}, "k", "h"))
	require.NoError(t, err)
	for _, loop := range []*commands.Loop{l, s.loop(t)} {
		again, err := loop.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 5}, "k", "h"))
		require.NoError(t, err)
		assert.True(t, again.Replayed)
		again.Replayed = false
		assert.Equal(t, first, again)
	}
	_, err = l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 6}, "k", "other"))
	assert.Equal(t, "idempotency_key_reused", problem.Of(err).Code)

	_, refused := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: limit}, "r", "h"))
	require.Equal(t, "full", problem.Of(refused).Code)
	_, err = l.Submit(t.Context(), submission(add{counter: "counter:1", amount: -5}))
	require.NoError(t, err)
	r, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: limit}, "r", "h"))
	assert.Equal(t, problem.Of(refused), problem.Of(err), "a refusal is repeated although it would succeed now")
	assert.True(t, r.Replayed)

	noop, err := l.Submit(t.Context(), keyed(add{counter: "counter:1"}, "n", "h"))
	require.NoError(t, err)
	again, err := l.Submit(t.Context(), keyed(add{counter: "counter:1"}, "n", "h"))
	require.NoError(t, err)
	assert.Equal(t, noop.Position, again.Position)
	assert.Empty(t, again.Events)

	total, _ := s.total(t, "counter:1")
	assert.Zero(t, total)
}

// The key was used long ago; a stranger's request with it comes first in the turn.
func TestReplaysBehindAReusedKey(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	first := l.Turn(t.Context(), keyed(add{counter: "counter:1", amount: 1}, "k", "ours"))[0]
	require.NoError(t, first.Err)
	answers := l.Turn(t.Context(),
		keyed(add{counter: "counter:1", amount: 2}, "k", "other"), keyed(add{counter: "counter:1", amount: 1}, "k", "ours"),
		keyed(add{counter: "counter:1", amount: 3}, "k", "third"), keyed(add{counter: "counter:1", amount: 1}, "k", "ours"))
	for i, reused := range []bool{true, false, true, false} {
		if reused {
			assert.Equal(t, "idempotency_key_reused", problem.Of(answers[i].Err).Code)
			continue
		}
		require.NoError(t, answers[i].Err)
		assert.True(t, answers[i].Receipt.Replayed)
		assert.Equal(t, first.Receipt.Position, answers[i].Receipt.Position)
	}
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 1, total)
}

func TestOneCommandTwiceInATurnIsDoneOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	sub := submission(add{counter: "counter:1", amount: 1})
	sub.Meta.CommandID = uuid.Must(uuid.NewV7())
	answers := s.stopped().Turn(t.Context(), sub, sub)
	require.NoError(t, answers[0].Err)
	require.NoError(t, answers[1].Err)
	assert.Equal(t, answers[0].Receipt.Position, answers[1].Receipt.Position)
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 1, total)
}

func TestResubmittingACommandAnswersItOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	sub := submission(add{counter: "counter:1", amount: 1})
	sub.Meta.CommandID = uuid.Must(uuid.NewV7())
	first, err := s.loop(t).Submit(t.Context(), sub)
	require.NoError(t, err)
	second, err := s.loop(t).Submit(t.Context(), sub)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	_, events := s.total(t, "counter:1")
	assert.Equal(t, 1, events)
}

// A key is the caller's within the organisation: others may use the same.
func TestAKeyIsOfOneCallerInOneOrganisation(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	mine, of := keyed(add{counter: "counter:1", amount: 1}, "k", "h"), func(org, sub string) commands.Submission {
		s := keyed(add{counter: "counter:1", amount: 1}, "k", "of "+sub)
		s.Meta.Org, s.Meta.Actor.Sub = org, sub
		return s
	}
	for range 2 { // in one turn, and when they are stored
		answers := l.Turn(t.Context(), mine, of("acme", "bob"), of("other", "ana"))
		for i, answer := range answers {
			require.NoError(t, answer.Err, "caller %d", i)
		}
		assert.Equal(t, []int64{1, 2, 1}, []int64{answers[0].Receipt.Version, answers[1].Receipt.Version, answers[2].Receipt.Version})
	}
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 2, total)
}
