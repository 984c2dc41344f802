package subscription

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

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
// nothing. Errors: ErrLogAway, ErrLogBehind, ErrLogHole, a ForkedError.
func (r *Reader) Read(ctx context.Context, after Place, through int64) (Batch, error) {
	if r.filter.Org != "" {
		batch, err := r.Page(ctx, after, through, Bounds{Events: MaxEvents, Bytes: MaxBytes})
		if err != nil || batch.At.Position == after.Position {
			return Batch{At: after}, err
		}
		return batch, nil
	}
	// First, so that whatever is up to it has been committed: a short answer reaches to
	// it. And what is read then is true at least under this epoch.
	head, err := r.head(ctx, after, through)
	if err != nil || head.At == after {
		return head, err
	}
	batch, err := r.readAll(ctx, after, head.At.Position)
	batch.At.Epoch = head.At.Epoch
	return batch, err
}

// holds reports whether the log has an event that was delivered. If it has the last of
// some, it has those before. PostgreSQL may have lost what JetStream still delivers, and
// have taken other events since: a view must not show what no longer happened.
func (r *Reader) holds(ctx context.Context, e domain.Event) (bool, error) {
	if r.filter.Org == "" {
		// Without asking for the head first: what is there has been committed.
		found, err := r.store.ReadLog(ctx, e.Position-1, 1)
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrLogAway, err)
		}
		return len(found) == 1 && found[0].ID == e.ID, nil
	}
	one := NewReader(r.store, Filter{Org: r.filter.Org})
	batch, err := one.Read(ctx, Place{Position: e.Position - 1}, e.Position)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(batch.Events, func(found domain.Event) bool { return found.ID == e.ID }), nil
}

// head passes over everything after a place, through a position or to the end of the log.
func (r *Reader) head(ctx context.Context, after Place, through int64) (Batch, error) {
	head, epoch, err := r.store.Head(ctx)
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	if err := r.check(ctx, after, head, epoch); err != nil {
		return Batch{}, err
	}
	if through == 0 || through > head {
		through = head
	}
	if through <= after.Position {
		return Batch{At: after}, nil
	}
	return Batch{At: Place{Position: through, Epoch: epoch}, Unseen: true}, nil
}

// check holds a place against the log. The zero epoch is anybody's.
func (r *Reader) check(ctx context.Context, at Place, head int64, epoch uuid.UUID) error {
	switch {
	case at.Epoch == uuid.Nil:
		return nil
	case at.Epoch == epoch && at.Position > head:
		return ErrLogBehind
	case at.Epoch == epoch:
		return nil
	}
	history, err := r.store.History(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	if history.Has(at.Epoch, at.Position) {
		return nil
	}
	return &ForkedError{At: at, From: Place{Position: history.Common(at.Epoch, at.Position), Epoch: history.Epoch()}}
}

func (r *Reader) readAll(ctx context.Context, after Place, through int64) (Batch, error) {
	entries, err := r.store.ReadLog(ctx, after.Position, int(min(int64(r.limit), through-after.Position)))
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	batch, size := Batch{At: after}, 0
	for _, entry := range entries {
		if entry.Position != batch.At.Position+1 {
			return Batch{}, fmt.Errorf("%w: %d", ErrLogHole, batch.At.Position+1)
		}
		batch.At.Position = entry.Position
		size += len(entry.Data)
		if r.filter.Wants(entry.Event) {
			batch.Events = append(batch.Events, entry.Event)
		}
	}
	r.adapt(len(entries), size)
	return batch, nil
}

// Bounds are how much is read at once. The event that begins within the bytes comes
// whole.
type Bounds struct{ Events, Bytes int }

// Page reads what one organisation has after a place, through a position or, when that is
// 0, to the end of the log, and lets the database pass over all that is not wanted. The
// place reached has the epoch in force, also when there is nothing. One round trip, unless
// the place is of another epoch. Errors: those of Read.
func (r *Reader) Page(ctx context.Context, after Place, through int64, within Bounds) (Batch, error) {
	query := eventstore.Query{Types: r.filter.Types, Tag: r.filter.Tag, After: after.Position, Limit: within.Events}
	if through > 0 {
		query.Before = through + 1
	}
	page, err := r.store.Page(ctx, r.filter.Org, query, within.Bytes)
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	if err := r.check(ctx, after, page.Head, page.Epoch); err != nil {
		return Batch{}, err
	}
	batch := Batch{Events: page.Events, At: Place{Position: page.Head, Epoch: page.Epoch}, More: page.More}
	if through > 0 {
		batch.At.Position = min(through, page.Head)
	}
	if page.More {
		batch.At.Position = page.Events[len(page.Events)-1].Position
	}
	batch.At.Position = max(batch.At.Position, after.Position)
	return batch, nil
}

// adapt sets the limit to what makes about MaxBytes of events like these.
func (r *Reader) adapt(count, size int) {
	if size > 0 {
		r.limit = max(minReadEvents, min(MaxEvents, count*MaxBytes/size))
	}
}
