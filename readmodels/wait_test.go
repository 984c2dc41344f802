package readmodels_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// run runs the position watcher until the test ends.
func (h *hub) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.reads.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, hubtest.Wait(t, patience, "the watcher to stop", ended))
	})
}

// moveTo sets the view's position, as a projector would.
func (h *hub) moveTo(t *testing.T, position int64) {
	t.Helper()
	_, err := h.projector.Exec(t.Context(), `UPDATE view_checkpoints SET position = $1`, position)
	require.NoError(t, err)
}

func TestWaitReturnsWhenThePositionIsReached(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	h.moveTo(t, 5)
	h.run(t)
	require.NoError(t, h.reads.WaitFor(t.Context(), 0, 0))
	require.NoError(t, h.reads.WaitFor(t.Context(), 5, patience), "seen without a notice")

	waiting := make(chan error, 1)
	go func() { waiting <- h.reads.WaitFor(t.Context(), 7, patience) }()
	h.moveTo(t, 6)
	h.reads.Notify()
	h.moveTo(t, 7) // the notice of this one is lost
	require.NoError(t, hubtest.Wait(t, patience, "the position", waiting))
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.run(t)
	// No view at all, a view that lags, and a caller who leaves.
	requireProblem(t, problem.Unavailable, "projection_lagging", h.reads.WaitFor(t.Context(), 1, 0))
	h.project(t)
	requireProblem(t, problem.Unavailable, "projection_lagging", h.reads.WaitFor(t.Context(), 1, time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, h.reads.WaitFor(ctx, 1, patience), context.Canceled)
}

// Eight hundred callers who wait cost as many queries as one.
func TestWaitersShareTheirQueries(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	h.moveTo(t, 1)
	h.run(t)
	require.NoError(t, h.reads.WaitFor(t.Context(), 1, patience))
	h.trips.reset()
	began := time.Now()
	const waiters = 800
	var wait sync.WaitGroup
	failures := make(chan error, waiters)
	for i := range waiters {
		wait.Go(func() { failures <- h.reads.WaitFor(t.Context(), int64(2+i%10), patience) })
	}
	const moves = 10
	for i := range int64(moves) {
		h.moveTo(t, 2+i)
		h.reads.Notify()
	}
	wait.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	require.NoError(t, errors.Join(all...))
	h.trips.mu.Lock()
	queries := h.trips.queries
	h.trips.mu.Unlock()
	// One when the first came, one for each notice, and the polls of that time.
	polls := int(time.Since(began)/(250*time.Millisecond)) + 1
	require.LessOrEqual(t, queries, 1+moves+2*polls)

	// And without anybody waiting, none.
	h.trips.reset()
	h.reads.Notify()
	h.reads.Notify()
	require.NoError(t, h.reads.WaitFor(t.Context(), 11, patience))
	require.Equal(t, "0 batches, 0 queries, 0 prepares", h.trips.reset())
}

func TestEndWaitsAnswersThoseWhoWaitAndThoseToCome(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	h.run(t)
	waiting := make(chan error, 1)
	go func() { waiting <- h.reads.WaitFor(t.Context(), 1000, patience) }()
	h.reads.EndWaits()
	h.reads.EndWaits()
	requireProblem(t, problem.Unavailable, "projection_lagging", hubtest.Wait(t, patience/2, "the end of the wait", waiting))
	requireProblem(t, problem.Unavailable, "projection_lagging", h.reads.WaitFor(t.Context(), 1000, patience))
}

func TestOldestIsTheStateOfTheViewFurthestBehind(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	at, err := h.reads.Oldest(t.Context())
	require.NoError(t, err)
	assert.Zero(t, at, "no view")
	h.project(t)
	h.moveTo(t, 5)
	at, err = h.reads.Oldest(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 5, at.Position)
	assert.NotZero(t, at.Epoch)
}
