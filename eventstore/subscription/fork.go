package subscription

import (
	"context"
	"fmt"
	"time"

	"github.com/reactdjango-hub/backend/eventstore"
)

// historyInterval is how often the log's history is read while there is nothing new.
const historyInterval = time.Second

// ForkedError says that the log has lost what was before the place asked for, or a part
// of it, and went on differently. From is the place up to which all is as it was.
type ForkedError struct{ At, From Place }

func (e *ForkedError) Error() string {
	return fmt.Sprintf("the log has lost its end, position %d included; it goes on differently after %d", e.At.Position, e.From.Position)
}

// checkHistory returns a ForkedError when a place is not on the log's history any more.
// The zero epoch is on every history.
func (s *Subscription) checkHistory(ctx context.Context, at Place) error {
	if at.Epoch == (Place{}).Epoch {
		return nil
	}
	s.checked = time.Now()
	history, err := s.options.Store.History(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLogAway, err)
	}
	if history.Has(at.Epoch, at.Position) {
		return nil
	}
	return &ForkedError{At: at, From: common(history, at)}
}

// common is the last place that is on the history still.
func common(history eventstore.History, at Place) Place {
	from := Place{Position: at.Position, Epoch: history.Epoch()}
	known := false
	for _, e := range history.Epochs {
		if known {
			from.Position = min(from.Position, e.Fork)
		}
		known = known || e.ID == at.Epoch
	}
	if !known { // an epoch that began after the state to which the log was restored
		from.Position = min(from.Position, history.Epochs[len(history.Epochs)-1].Fork)
	}
	return from
}
