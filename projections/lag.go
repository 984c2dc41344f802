package projections

import (
	"context"
	"errors"
	"time"

	"github.com/reactdjango-hub/backend/eventstore"
)

// A view lives when its position moves; that its process runs says nothing. The leader
// looks at the end of the log, and tells of a view that has work and does not do it.

const (
	// stalledAfter is for how long: longer than the longest batch, a failed connection
	// and the pauses after failures, which tell of themselves, together.
	stalledAfter = 45 * time.Second
	// watchInterval is how often the end of the log is looked at.
	watchInterval = time.Second
)

var errStalled = errors.New("the view does not move, although the log goes on")

// Lag is how far something is behind the log.
type Lag struct {
	Positions int64 `json:"lag_positions"`
	// Seconds is the age of the first event that is lacking.
	Seconds float64 `json:"lag_seconds"`
}

// LagOf is the lag at a position. The store acts as RoleProjector or RoleQuery.
func LagOf(ctx context.Context, store *eventstore.Store, position, head int64) (Lag, error) {
	if position >= head {
		return Lag{}, nil
	}
	recorded, err := store.RecordedAt(ctx, position+1)
	if err != nil {
		return Lag{}, err
	}
	return Lag{Positions: head - position, Seconds: max(0, time.Since(recorded).Seconds())}, nil
}

// sighting is when the view was seen last to move, or to have nothing to do.
type sighting struct {
	position     int64
	moved, asked time.Time
}

// watch notes the lag of the view that answers, and whether it is stalled.
func (w *worker) watch(ctx context.Context) {
	now := time.Now()
	if now.Sub(w.last.asked) < watchInterval {
		return
	}
	w.last.asked = now
	status := w.currentStatus()
	head, _, err := w.options.Store.Head(ctx)
	if err != nil {
		return // who follows the log tells of that
	}
	lag, err := LagOf(ctx, w.options.Store, status.Position, head)
	if err != nil {
		return
	}
	w.mu.Lock()
	w.status.Lag = lag
	w.mu.Unlock()
	if lag.Positions == 0 || status.Position != w.last.position || w.last.moved.IsZero() {
		w.last.position, w.last.moved = status.Position, now
		return
	}
	if status.Err == "" && now.Sub(w.last.moved) > w.options.stalledAfter {
		w.failed(ctx, errStalled)
	}
}
