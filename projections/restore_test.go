package projections

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// The view is further than the log, which was restored and went on differently: it is
// built anew by itself, also while the log is shorter than what it has lost.
func TestAViewOfALostHistoryIsBuiltAnew(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	stop := h.run(t, New(h.options))
	h.append(t, newEntities(20)...)
	last := h.append(t, happening{"acme", entity.Stream(uuid.New()), entity.Created{Type: "thing"}})
	h.reaches(t, last)
	stop()
	lost := h.view(t)
	// What it shows beyond the log stands for what was lost.
	_, err := h.options.Pool.Exec(t.Context(), `UPDATE view_checkpoints SET position = position + 1000 WHERE schema = $1`, lost.Schema)
	require.NoError(t, err)
	relay := eventstore.New(hubtest.Pool(t, h.url, string(eventstore.RoleRelay)))
	forked, err := relay.Fork(t.Context(), eventstore.Loss{
		Epoch: lost.Epoch, Published: eventstore.Published{Position: last + 1000, Event: uuid.New()}, Common: last - 3,
	})
	require.NoError(t, err)
	require.True(t, forked)
	history, err := relay.History(t.Context())
	require.NoError(t, err)

	h.run(t, New(h.options))
	h.until(t, "the view is built anew", func() bool { v := h.view(t); return v.Schema != lost.Schema && v.Position == last+1 })
	h.until(t, "what was lost is gone", func() bool { return len(h.schemas(t)) == 1 })
	h.until(t, "the job has ended: a rebuild would take part in it", func() bool { return h.job(t).State == StateCompleted })
	require.Equal(t, history.Epoch(), h.view(t).Epoch)
	require.Empty(t, h.view(t).Previous, "there is nothing to go back to")
	h.checkAgainstRebuild(t)
	var forks []int64
	require.NoError(t, h.options.Pool.QueryRow(t.Context(), `SELECT array_agg(fork_position ORDER BY number) FROM view_epochs`).Scan(&forks))
	require.Equal(t, []int64{0, last - 3}, forks)
	h.reaches(t, h.append(t, newEntities(3)...))
}
