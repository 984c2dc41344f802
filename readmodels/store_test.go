package readmodels_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

func TestWithoutAViewReadsAskToComeBack(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	_, _, err := h.reads.Entity(t.Context(), anybody("acme"), uuid.New(), false)
	requireProblem(t, problem.Unavailable, "projection_lagging", err)
	_, _, err = h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{})
	requireProblem(t, problem.Unavailable, "projection_lagging", err)
	h.project(t)
	_, _, err = h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{})
	require.NoError(t, err)
}

// While the view is rebuilt again and again, readers with what they know of the old
// schema see neither an error nor an older position, and always the rows of just the
// position that they are told: each event of this log is an entity.
func TestReadersNoticeNothingOfARebuild(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	const entities = 300
	var id uuid.UUID
	for i := range entities {
		id = h.create(t, "thing", fmt.Sprint("k", i), `{}`)
	}
	h.project(t)
	done := make(chan struct{})
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			var seen int64
			for {
				select {
				case <-done:
					return
				default:
				}
				page, at, err := h.reads.Entities(context.Background(), anybody("acme"), readmodels.EntityQuery{Limit: 500})
				if err != nil || int64(len(page.Items)) != at.Position || at.Position < seen {
					t.Errorf("%d entities at %d after %d: %v", len(page.Items), at.Position, seen, err)
					return
				}
				seen = at.Position
				if _, at, err = h.reads.Entity(context.Background(), anybody("acme"), id, false); err != nil || at.Position < seen {
					t.Errorf("entity at %d after %d: %v", at.Position, seen, err)
					return
				}
			}
		})
	}
	for i := range 6 {
		h.create(t, "thing", fmt.Sprint("further", i), `{}`)
		h.project(t)
	}
	close(done)
	wait.Wait()
	_, at, err := h.reads.Entity(t.Context(), anybody("acme"), id, false)
	require.NoError(t, err)
	require.EqualValues(t, entities+6, at.Position)
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig("postgres://nobody:secret@127.0.0.1:1/none")
	require.NoError(t, err)
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	defer pool.Close()
	_, _, err = readmodels.New(readmodels.Options{Pool: pool, CursorKey: cursorKey}).Entity(t.Context(), anybody("acme"), uuid.New(), false)
	requireProblem(t, problem.Unavailable, "views_unavailable", err)
	require.NotContains(t, problem.Of(err).Error(), "127.0.0.1")
}
