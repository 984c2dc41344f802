package subscription

import (
	"context"
	"fmt"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

// minReadEvents keeps reading in useful steps however large the events; 16 of the
// largest are MaxBytes.
const minReadEvents = 16

// Reader reads the store in batches of about MaxBytes. It is used by one goroutine.
type Reader struct {
	store  *eventstore.Store
	filter Filter
	// limit adapts to the size of the events seen last: the store counts rows only.
	limit int
}

// NewReader makes a reader of what passes the filter.
func NewReader(store *eventstore.Store, filter Filter) *Reader {
	return &Reader{store: store, filter: filter, limit: MaxEvents}
}

// Read returns what comes after a place, through a position or, when that is 0, to
// the end of the log; at most MaxEvents. The batch stays at the place when there is
// nothing. Errors: ErrLogAway, ErrLogHole.
func (r *Reader) Read(ctx context.Context, after Place, through int64) (Batch, error) {
	if r.filter.Org != "" {
		return r.readOrg(ctx, after, through)
	}
	limit := int64(r.limit)
	if through > 0 {
		limit = min(limit, through-after.Position)
	}
	entries, err := r.store.ReadLog(ctx, after.Position, int(limit))
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	batch, size := Batch{At: after}, 0
	for _, entry := range entries {
		if entry.Position != batch.At.Position+1 {
			return Batch{}, fmt.Errorf("%w: %d", ErrLogHole, batch.At.Position+1)
		}
		batch.At = Place{Position: entry.Position, Epoch: entry.Epoch}
		size += len(entry.Data)
		if r.filter.Wants(entry.Event) {
			batch.Events = append(batch.Events, entry.Event)
		}
	}
	r.adapt(len(entries), size)
	return batch, nil
}

// readOrg lets the database pass over all that is not wanted. The head is read first:
// whatever is up to it has been committed, so that a short answer reaches to it.
func (r *Reader) readOrg(ctx context.Context, after Place, through int64) (Batch, error) {
	head, epoch, err := r.store.Head(ctx)
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	if through > 0 {
		head = min(head, through)
	}
	if head <= after.Position {
		return Batch{At: after}, nil
	}
	events, err := r.store.Read(ctx, r.filter.Org, eventstore.Query{
		Types: r.filter.Types, Tag: r.filter.Tag, After: after.Position, Before: head + 1, Limit: r.limit,
	})
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	batch := Batch{Events: events, At: Place{Position: head, Epoch: epoch}}
	if len(events) == r.limit {
		last := events[len(events)-1]
		batch.At = Place{Position: last.Position, Epoch: last.Epoch}
	}
	r.adapt(len(events), sizeOf(events))
	return batch, nil
}

// adapt sets the limit to what makes about MaxBytes of events like these.
func (r *Reader) adapt(count, size int) {
	if size > 0 {
		r.limit = max(minReadEvents, min(MaxEvents, count*MaxBytes/size))
	}
}

func sizeOf(events []domain.Event) int {
	size := 0
	for _, e := range events {
		size += len(e.Data)
	}
	return size
}
