// Package logevent has the events that are about the log itself. They belong to the
// organisation _hub, whose tokens are refused, and no command decides on them: the
// relay writes them when it settles what has happened to the log (eventstore).
package logevent

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Org is the organisation of events that concern the whole log.
const Org = "_hub"

// Epochs is the stream of the log's epochs.
const Epochs domain.Tag = "log:epochs"

// Forked says that PostgreSQL lost the end of the log after it had been published, and
// that the log went on differently; it is the first event of the new epoch. Stream
// log:epochs.
type Forked struct {
	// ForkPosition is the last position of which what was known under the old epoch
	// is true still.
	ForkPosition int64     `json:"fork_position"`
	OldEpoch     uuid.UUID `json:"old_epoch"`
	NewEpoch     uuid.UUID `json:"new_epoch"`
	// LostFrom and LostThrough are the positions known to have been published of the
	// history that was lost.
	LostFrom    int64 `json:"lost_from"`
	LostThrough int64 `json:"lost_through"`
}

// EventType names the event.
func (Forked) EventType() string { return "log.forked" }

// Kinds declares the events to the codec.
func Kinds() []domain.EventKind { return []domain.EventKind{domain.Kind[Forked]()} }
