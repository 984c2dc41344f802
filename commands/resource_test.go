package commands_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
)

// by is a submission of somebody who wants to see the counter.
func by(sub string, d add) commands.Submission {
	s := submission(d)
	s.Meta.Actor.Sub, s.Represent = sub, "counter"
	return s
}

func dry(s commands.Submission) commands.Submission {
	s.DryRun = true
	return s
}

// times are when the events of a counter were recorded.
func (s system) times(t *testing.T, counter domain.Tag) (times []time.Time) {
	t.Helper()
	events, err := s.store.Read(t.Context(), "acme", eventstore.Query{Stream: counter})
	require.NoError(t, err)
	for _, e := range events {
		times = append(times, e.RecordedAt)
	}
	return times
}

// The resource is as the command leaves it, whether the loop knew it, read it, or had
// to decide a second time, and whatever the rest of the turn does to it.
func TestTheResourceIsAsTheCommandLeavesIt(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	answers := l.Turn(t.Context(), by("ana", add{counter: "counter:1", amount: 1}), by("bob", add{counter: "counter:1", amount: 2}))
	_, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: 4}))
	require.NoError(t, err)
	// What is cached is behind now.
	answers = append(answers, l.Turn(t.Context(), by("eve", add{counter: "counter:1", amount: 8}), by("eve", add{counter: "counter:1"}))...)
	times := s.times(t, "counter:1")
	require.Len(t, times, 4)
	created := commands.Stamp{At: times[0], By: "ana"}
	for i, want := range []commands.Resource{
		{ID: "1", State: counter{1}, Version: 1, Created: created, Updated: created},
		{ID: "1", State: counter{3}, Version: 2, Created: created, Updated: commands.Stamp{At: times[1], By: "bob"}},
		{ID: "1", State: counter{15}, Version: 4, Created: created, Updated: commands.Stamp{At: times[3], By: "eve"}},
		{ID: "1", State: counter{15}, Version: 4, Created: created, Updated: commands.Stamp{At: times[3], By: "eve"}},
	} {
		require.NoError(t, answers[i].Err)
		assert.Equal(t, &want, answers[i].Receipt.Resource, "answer %d", i)
	}
}

// A replay shows what the first answer showed, not what has become of it.
func TestTheResourceOfAReplay(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	again := by("ana", add{counter: "counter:1", amount: 1})
	again.IdempotencyKey, again.RequestHash = "k", []byte("h")
	first, err := l.Submit(t.Context(), again)
	require.NoError(t, err)
	_, err = l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 5}))
	require.NoError(t, err)
	for _, loop := range []*commands.Loop{l, s.loop(t)} {
		replayed, err := loop.Submit(t.Context(), again)
		require.NoError(t, err)
		assert.True(t, replayed.Replayed)
		assert.Equal(t, first.Resource, replayed.Resource)
	}
	plain := again
	plain.Represent = ""
	replayed, err := l.Submit(t.Context(), plain)
	require.NoError(t, err)
	assert.Nil(t, replayed.Resource)
	// The answer stands although the resource cannot be read.
	unknown := again
	unknown.Represent = "nothing"
	replayed, err = l.Submit(t.Context(), unknown)
	require.NoError(t, err)
	assert.Equal(t, first.Position, replayed.Position)
	assert.Nil(t, replayed.Resource)
}

// A dry run is decided on the newest state, shows what would be recorded, and leaves
// no trace: in the log, in the receipts, in its turn or in the cache.
func TestADryRun(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	require.NoError(t, l.Turn(t.Context(), submission(add{counter: "counter:1", amount: 1}))[0].Err)
	_, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: limit - 2}))
	require.NoError(t, err)

	answers := l.Turn(t.Context(),
		dry(submission(add{counter: "counter:1", amount: 2})), // would fit what is cached
		dry(by("ana", add{counter: "counter:1", amount: 1})),
		submission(add{counter: "counter:1", amount: -1}), // sees nothing of it
		dry(submission(add{counter: "counter:1", amount: 2, also: []domain.Tag{"counter:other"}})),
		dry(submission(add{counter: "counter:1"})),
		dry(submission(add{counter: "counter:new", amount: 1, fresh: true})),
	)
	assert.Equal(t, "full", problem.Of(answers[0].Err).Code)
	for _, answer := range answers[1:] {
		require.NoError(t, answer.Err)
	}
	would := answers[1].Receipt
	assert.Equal(t, int64(2), would.Position, "it is validated where the log ends")
	assert.Equal(t, int64(3), would.Version)
	assert.Equal(t, []commands.ReceiptEvent{{Type: "counter.added", Data: []byte(`{"amount":1}`)}}, would.Events)
	assert.Equal(t, counter{limit}, would.Resource.State)
	assert.Equal(t, "ana", would.Resource.Updated.By)
	assert.False(t, would.Resource.Updated.At.IsZero())
	assert.Equal(t, int64(3), answers[2].Receipt.Version)
	assert.Equal(t, int64(3), answers[2].Receipt.Position)
	assert.Equal(t, int64(4), answers[3].Receipt.Version, "it sees what the turn did before it")
	assert.Empty(t, answers[4].Receipt.Events)
	assert.True(t, answers[5].Receipt.Created)

	total, events := s.total(t, "counter:1")
	assert.Equal(t, []int{limit - 2, 3}, []int{total, events})
	position, _, err := s.store.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(3), position)
	assert.Equal(t, counter{1}, l.Turn(t.Context(), by("ana", add{counter: "counter:new", amount: 1}))[0].Receipt.Resource.State)
	assert.Equal(t, counter{1}, l.Turn(t.Context(), by("ana", add{counter: "counter:other", amount: 1}))[0].Receipt.Resource.State)
}

// A dry run neither finds nor keeps an idempotency key.
func TestADryRunHasNoKey(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	_, err := l.Submit(t.Context(), dry(keyed(add{counter: "counter:1", amount: limit + 1}, "k", "h")))
	require.Equal(t, "full", problem.Of(err).Code)
	first, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 1}, "k", "h"))
	require.NoError(t, err)
	assert.False(t, first.Replayed)
	would, err := l.Submit(t.Context(), dry(keyed(add{counter: "counter:1", amount: 2}, "k", "other")))
	require.NoError(t, err)
	assert.False(t, would.Replayed)
	assert.Equal(t, int64(2), would.Version)
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 1, total)
}
