package projections

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// Liveness is that the position moves: a view that is stuck somewhere is told of.
func TestAViewThatDoesNotMoveAlthoughItHasWorkIsReported(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	options := h.options
	options.stalledAfter = time.Millisecond
	engine := New(options)
	h.run(t, engine)
	h.reaches(t, h.append(t, newEntities(3)...))
	holding, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holding.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = holding.Exec(t.Context(), `SELECT FROM view_checkpoints FOR UPDATE`)
	require.NoError(t, err)
	last := h.append(t, newEntities(2)...)
	h.until(t, "it is reported", func() bool { return engine.Status()[0].Err == errStalled.Error() })
	require.EqualValues(t, 2, engine.Status()[0].Positions)
	require.Positive(t, engine.Status()[0].Seconds)
	h.until(t, "everybody can see it", func() bool { return h.view(t).Err == errStalled.Error() })
	require.NoError(t, holding.Rollback(t.Context()))
	h.reaches(t, last)
	h.until(t, "all is well again", func() bool {
		return engine.Status()[0].Err == "" && h.view(t).Err == "" && engine.Status()[0].Lag == Lag{}
	})
}

func TestLagIsTheAgeOfTheFirstEventThatIsLacking(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	head := h.append(t, newEntities(3)...)
	for _, role := range []eventstore.Role{eventstore.RoleProjector, eventstore.RoleQuery} {
		store := eventstore.New(hubtest.Pool(t, h.url, string(role)))
		lag, err := LagOf(t.Context(), store, 1, head)
		require.NoError(t, err)
		require.EqualValues(t, 2, lag.Positions)
		require.Less(t, lag.Seconds, patience.Seconds())
		lag, err = LagOf(t.Context(), store, head, head)
		require.NoError(t, err)
		require.Zero(t, lag)
	}
}
