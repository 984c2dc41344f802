package readmodels

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// pollInterval is how soon a position is seen when its notice got lost. Waiters
	// share the poll; without any there is none.
	pollInterval = 250 * time.Millisecond
	// minWait lets even a caller who will not wait have one look at the database.
	minWait = 100 * time.Millisecond
	// maxWaiting bounds the callers who wait at the same time; each holds a
	// connection of the HTTP server.
	maxWaiting = 10_000
	// positionTimeout bounds one look at the position.
	positionTimeout = 5 * time.Second
)

// waiting is the callers who wait for a position, nearest first, and the position
// known to be reached.
type waiting struct {
	mu     sync.Mutex
	known  int64
	stale  bool // the database may be further than known
	lookAt time.Time
	queue  waiterQueue

	// wake makes Run look; its capacity of 1 makes one look of many wakes.
	wake chan struct{}
	// over is closed when nobody may wait any longer.
	over chan struct{}
	end  sync.Once
}

type waiter struct {
	position int64
	reached  chan struct{}
	index    int // in the queue, -1 when taken out
}

func newWaiting() *waiting {
	return &waiting{stale: true, wake: make(chan struct{}, 1), over: make(chan struct{})}
}

// WaitFor returns nil when all views have reached the position, and otherwise after
// wait a problem: Unavailable projection_lagging. However many wait, the database is
// asked once per Notify and once per poll. Run must be running.
func (s *Store) WaitFor(ctx context.Context, position int64, wait time.Duration) error {
	w, err := s.waiting.join(position)
	if w == nil {
		return err
	}
	defer s.waiting.leave(w)
	timer := time.NewTimer(max(wait, minWait))
	defer timer.Stop()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-s.waiting.over:
	}
	return problem.New(problem.Unavailable, "projection_lagging",
		"The view has not reached position %d yet. Send the request again, or without Hub-Min-Position for what is there.", position).Retry(retryLagging)
}

// EndWaits answers those who wait as if their time were up, and those to come: a
// process that stops must not wait for a position that another may bring.
func (s *Store) EndWaits() { s.waiting.end.Do(func() { close(s.waiting.over) }) }

// Notify says that a view may have moved. It never blocks.
func (s *Store) Notify() {
	s.waiting.mu.Lock()
	s.waiting.stale = true
	idle := len(s.waiting.queue) == 0
	s.waiting.mu.Unlock()
	if !idle {
		s.waiting.kick()
	}
}

// Run looks at the position for those who wait, until the context ends; then it
// returns nil.
func (s *Store) Run(ctx context.Context) error {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.waiting.wake:
		case <-poll.C:
		}
		if !s.waiting.begin() {
			continue
		}
		position, err := s.position(ctx)
		if err != nil {
			// Waiters go on waiting, up to their own limits.
			if !failing && ctx.Err() == nil {
				s.log.Warn("readmodels: the position of the views cannot be read", "error", err)
			}
			failing = true
			continue
		}
		failing = false
		s.waiting.reach(position)
	}
}

// position is the least of all views' positions, 0 when there is none.
func (s *Store) position(ctx context.Context) (int64, error) {
	at, err := s.Oldest(ctx)
	return at.Position, err
}

// Oldest is the state that the view furthest behind shows; zero when there is no view.
func (s *Store) Oldest(ctx context.Context) (at Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, positionTimeout)
	defer cancel()
	err = s.pool.QueryRow(ctx, `SELECT c.position, c.epoch FROM view_pointers p JOIN view_checkpoints c ON c.schema = p.schema
		ORDER BY c.position LIMIT 1`).Scan(&at.Position, &at.Epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return Snapshot{}, nil
	}
	if err != nil {
		return Snapshot{}, databaseError("reading the positions of the views", err)
	}
	return at, nil
}

// join returns nil when there is nothing to wait for, or no room.
func (w *waiting) join(position int64) (*waiter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known >= position {
		return nil, nil
	}
	if len(w.queue) >= maxWaiting {
		return nil, problem.New(problem.Unavailable, "projection_lagging", "Too many requests wait for the view.").Retry(retryLagging)
	}
	joined := &waiter{position: position, reached: make(chan struct{})}
	heap.Push(&w.queue, joined)
	// Without news since the last look, a look would find nothing new.
	if w.stale || time.Since(w.lookAt) >= pollInterval {
		w.kick()
	}
	return joined, nil
}

func (w *waiting) leave(left *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left.index >= 0 {
		heap.Remove(&w.queue, left.index)
	}
}

func (w *waiting) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// begin reports whether there is anybody to look for.
func (w *waiting) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return false
	}
	w.stale, w.lookAt = false, time.Now()
	return true
}

// reach takes the result of a look, which may also be less than was known: a view
// that was rebuilt on a restored log starts again.
func (w *waiting) reach(position int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = position
	for len(w.queue) > 0 && w.queue[0].position <= position {
		close(heap.Pop(&w.queue).(*waiter).reached)
	}
}

// waiterQueue is a heap by position.
type waiterQueue []*waiter

func (q waiterQueue) Len() int           { return len(q) }
func (q waiterQueue) Less(i, j int) bool { return q[i].position < q[j].position }
func (q waiterQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *waiterQueue) Push(w any) {
	joined := w.(*waiter)
	joined.index = len(*q)
	*q = append(*q, joined)
}

func (q *waiterQueue) Pop() any {
	last := len(*q) - 1
	left := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	left.index = -1
	return left
}
