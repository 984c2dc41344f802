package projections

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// What has no rows of several views moves them in one transaction; a view that is held, or
// is elsewhere, keeps none of the others back, and is not moved.
func TestViewsWithoutRowsToWriteMoveTogether(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	last := h.append(t, newEntities(4)...)
	events, views := h.events(t), []Projection{EntityHistory(), Ledger(), Members(), Organizations(), Entities()}
	m := newMoves(h.options.Pool)
	var all []*move
	for _, p := range views {
		v, err := ensureView(t.Context(), h.with(p), p)
		require.NoError(t, err)
		to := v.checkpoint
		to.position = last
		all = append(all, &move{v.checkpoint, to, events[last-1].RecordedAt, make(chan bool, 1)})
	}
	held, elsewhere, revised := all[2], all[3], all[4]
	elsewhere.from.position = 2
	revised.from.revision = 7
	tx, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	_, err = lockCheckpoint(t.Context(), tx, held.from.schema)
	require.NoError(t, err)

	m.write(t.Context(), all)
	for i, one := range all {
		require.Equal(t, i < 2, <-one.moved, one.from.schema)
	}
	var transactions, moved int
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT count(DISTINCT xmin::text), count(*) FROM view_checkpoints
		WHERE position = $1 AND recorded_at = $2`, last, events[last-1].RecordedAt).Scan(&transactions, &moved))
	require.Equal(t, 2, moved)
	require.Equal(t, 1, transactions)

	// Who was not moved writes its checkpoint itself: it waits for who holds it.
	ctx := t.Context()
	go m.run(ctx)
	w, err := openWriter(ctx, h.options, Members(), held.from.schema)
	require.NoError(t, err)
	w.moves = m
	written := make(chan error, 1)
	go func() { written <- w.write(ctx, events) }()
	require.NoError(t, tx.Rollback(ctx))
	require.NoError(t, hubtest.Wait(t, patience, "the checkpoint to be written", written))
	require.Equal(t, last, w.at.position)
	require.ErrorIs(t, w.write(ctx, events[:2]), errMoved, "not back")
}

// Those who ask at about the same time are moved together, up to a bound.
func TestMovesAreGathered(t *testing.T) {
	t.Parallel()
	m := newMoves(nil)
	asked := make(chan bool)
	for i := range int64(maxMoves + 3) {
		go func() {
			asked <- m.ask(t.Context(), checkpoint{position: i}, checkpoint{position: i + 1, epoch: uuid.New()}, time.Now())
		}()
	}
	together := m.gather(<-m.asked, time.Hour)
	require.Len(t, together, maxMoves)
	rest := m.gather(<-m.asked, time.Millisecond)
	for len(together)+len(rest) < maxMoves+3 { // it may take that long until all ask
		rest = append(rest, m.gather(<-m.asked, time.Millisecond)...)
	}
	var positions []int64
	for _, one := range slices.Concat(together, rest) {
		positions = append(positions, one.from.position)
		one.moved <- one.from.position%2 == 0
	}
	yes := 0
	for range positions {
		if hubtest.Wait(t, patience, "an answer", asked) {
			yes++
		}
	}
	require.Equal(t, (maxMoves+4)/2, yes)
	slices.Sort(positions)
	require.Len(t, slices.Compact(positions), maxMoves+3)
}
