package projections

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// Views get events with their sealed values opened: those that are not sensitive in clear,
// a mask for those that are, nothing for those that were erased. The ciphertext of the
// sensitive ones comes beside, with a keyed hash, for the view that answers who may see
// them. What cannot be opened where it is makes the event unreadable and parks its stream;
// that a key cannot be loaded or unwrapped stops the view until it can.

var mask = json.RawMessage(`"` + domain.Mask + `"`)

// errNoKeys is a fault of the program: it was put together without a keyring.
var errNoKeys = errors.New("this projector has no keyring, and cannot open sealed values")

// holding is an event of a batch that has sealed values.
type holding struct {
	event  *Event
	values map[string]domain.Sealed
}

// unseal opens the sealed values of the events.
func (w *writer) unseal(ctx context.Context, events []Event) error {
	var found []holding
	var refs []keyring.Ref
	seen := map[keyring.Ref]bool{}
	for i := range events {
		e := &events[i]
		payload, ok := e.Payload.(domain.Opened)
		if !ok {
			continue
		}
		values := payload.SealedValues(e.ID)
		if len(values) == 0 {
			continue
		}
		found = append(found, holding{e, values})
		for _, value := range values {
			for _, subject := range value.Subjects() {
				if ref := (keyring.Ref{Org: e.Org, Subject: subject}); !seen[ref] {
					seen[ref] = true
					refs = append(refs, ref)
				}
			}
		}
	}
	if len(refs) == 0 {
		return nil
	}
	if w.options.Keys == nil {
		return errNoKeys
	}
	keys, err := w.options.Keys.Load(ctx, refs)
	if err != nil {
		return err
	}
	for _, held := range found {
		var hasher *keyring.Hasher
		if !w.projection.Masked {
			if hasher, err = w.options.Keys.Hasher(ctx, held.event.Org); err != nil {
				return err
			}
		}
		if err := held.event.open(held.values, keys, hasher); err != nil {
			return &poisonError{reasonUnreadable, fmt.Errorf("position %d: %w", held.event.Position, err)}
		}
	}
	return nil
}

// open puts opened values into the event; hasher is nil for a view of masks. The values are
// the event's from then on.
func (e *Event) open(values map[string]domain.Sealed, keys keyring.Keys, hasher *keyring.Hasher) error {
	shown := make(map[string]json.RawMessage, len(values))
	for name, value := range values {
		plain, err := keys.Open(e.Org, value)
		erased := errors.Is(err, domain.ErrErased)
		switch {
		case erased:
			shown[name] = nil
		case err != nil:
			return err
		case value.Sensitive:
			shown[name] = mask
		default:
			shown[name] = plain
		}
		if erased || !value.Sensitive {
			delete(values, name)
		} else if text := domain.EqualityText(plain); hasher != nil && text != "" {
			e.Hashes = with(e.Hashes, name, hex.EncodeToString(hasher.Hash("attribute", name, text)))
		}
	}
	if hasher != nil {
		e.Sealed = values
	}
	e.Payload = e.Payload.(domain.Opened).Shown(shown)
	return nil
}
