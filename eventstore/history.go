package eventstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/logevent"
)

// Epoch is one history of the log: it begins with the log, or when the log went on
// differently after PostgreSQL had lost its end.
type Epoch struct {
	ID uuid.UUID
	// After is the position after which events have this epoch.
	After int64
	// Fork is the last position of which what was known under earlier epochs is true.
	Fork int64
	// Lost is what was published last of the history before; zero for the first epoch.
	Lost Published
}

// Published is an event that was published at a position, Nil where only that is known.
type Published struct {
	Position int64
	Event    uuid.UUID
}

// History is what the log is known to be at one moment.
type History struct {
	Head int64
	// Epochs are all of them, oldest first, at least one.
	Epochs []Epoch
}

// Epoch is the one in force.
func (h History) Epoch() uuid.UUID { return h.Epochs[len(h.Epochs)-1].ID }

// Log tells this log from all others. A restore to an earlier state does not change it.
func (h History) Log() uuid.UUID { return h.Epochs[0].ID }

// Has reports whether somebody who was at a position under an epoch is on the history
// of the log still. It is false for an epoch that the log does not know: that one began
// after the state to which the log was restored. A position beyond the head, under the
// epoch in force, counts as one to come.
func (h History) Has(epoch uuid.UUID, position int64) bool {
	known := false
	for _, e := range h.Epochs {
		if known && position > e.Fork {
			return false
		}
		known = known || e.ID == epoch
	}
	return known
}

// Common is the last position, at most the one given, of which what was known under an
// epoch is true. Of an epoch that the log does not know, that is where the one in force
// parted from what was before.
func (h History) Common(epoch uuid.UUID, position int64) int64 {
	known := false
	for _, e := range h.Epochs {
		if known {
			position = min(position, e.Fork)
		}
		known = known || e.ID == epoch
	}
	if !known {
		return min(position, h.Epochs[len(h.Epochs)-1].Fork)
	}
	return position
}

// Settled reports whether an epoch was begun because of what was published there.
func (h History) Settled(last Published) bool {
	return slices.ContainsFunc(h.Epochs, func(e Epoch) bool { return e.Lost == last && e.Lost.Position > 0 })
}

// Knows reports whether the log has or had the epoch.
func (h History) Knows(epoch uuid.UUID) bool {
	return slices.ContainsFunc(h.Epochs, func(e Epoch) bool { return e.ID == epoch })
}

// History reads all epochs, and the head, at one moment. For all roles.
func (s *Store) History(ctx context.Context) (History, error) {
	var history History
	rows, err := s.pool.Query(ctx, `
		SELECT h.head, l.epoch, l.after_position, l.fork_position, coalesce(l.lost_position, 0), l.lost_event
		  FROM log_head() h CROSS JOIN log_epochs l ORDER BY l.number`)
	if err == nil {
		history.Epochs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Epoch, error) {
			var (
				e    Epoch
				lost uuid.NullUUID
			)
			err := row.Scan(&history.Head, &e.ID, &e.After, &e.Fork, &e.Lost.Position, &lost)
			e.Lost.Event = lost.UUID
			return e, err
		})
	}
	if err != nil {
		return History{}, fmt.Errorf("reading the log's history: %w", err)
	}
	return history, nil
}

// PositionSince is the first position recorded at the time or later, the one after the
// head when there is none. RoleRelay only.
func (s *Store) PositionSince(ctx context.Context, since time.Time) (position int64, err error) {
	if err = s.pool.QueryRow(ctx, `SELECT position_since($1)`, since).Scan(&position); err != nil {
		return 0, fmt.Errorf("finding the position of a time: %w", err)
	}
	return position, nil
}

// Loss is what shows that the log has lost its end: something was published at a
// position, under an epoch, that the log does not hold.
type Loss struct {
	Epoch uuid.UUID
	// Published is what was published last.
	Published
	// Common is the last position known to be the same in the log and in what was
	// published.
	Common int64
}

// Fork starts a new epoch with the event log.forked. Whether the loss is real is looked
// at again under the log's lock; false says that it is not, or that another has settled
// it. RoleRelay only.
func (s *Store) Fork(ctx context.Context, loss Loss) (forked bool, err error) {
	next := uuid.New()
	_, schema, data, err := NewCodec(logevent.Kinds()...).Encode(logevent.Forked{
		ForkPosition: loss.Common, OldEpoch: loss.Epoch, NewEpoch: next, LostFrom: loss.Common + 1, LostThrough: loss.Position,
	})
	if err != nil {
		return false, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return false, fmt.Errorf("making an event id: %w", err)
	}
	err = s.pool.QueryRow(ctx, `SELECT fork_log($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		loss.Epoch, loss.Position, uuid.NullUUID{UUID: loss.Event, Valid: loss.Event != uuid.Nil}, loss.Common, next, id, uuid.New(), schema, data).Scan(&forked)
	if err != nil {
		return false, fmt.Errorf("starting a new epoch: %w", err)
	}
	return forked, nil
}
