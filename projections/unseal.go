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

// SealedValue is a sensitive value as a view may keep it.
type SealedValue struct {
	domain.Sealed
	// Hash is that of KeyedHash, as hex; empty for what is no single value.
	Hash string `json:"hash,omitempty"`
}

var mask = json.RawMessage(`"` + domain.Mask + `"`)

// errNoKeys is a fault of the program: it was put together without a keyring.
var errNoKeys = errors.New("this projector has no keyring, and cannot open sealed values")

// unseal opens the sealed values of the events.
func (w *writer) unseal(ctx context.Context, events []Event) error {
	var refs []keyring.Ref
	seen := map[keyring.Ref]bool{}
	found := map[int]map[string]domain.Sealed{}
	for i, e := range events {
		payload, ok := e.Payload.(domain.Opened)
		if !ok {
			continue
		}
		values := payload.SealedValues(e.ID)
		if len(values) == 0 {
			continue
		}
		found[i] = values
		for _, value := range values {
			for _, ref := range keyring.Refs(e.Org, value.Subjects()) {
				if !seen[ref] {
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
	for i, values := range found {
		hasher, err := w.options.Keys.Hasher(ctx, events[i].Org)
		if err != nil {
			return err
		}
		if err := events[i].open(values, keys, hasher); err != nil {
			return &poisonError{reasonUnreadable, fmt.Errorf("position %d: %w", events[i].Position, err)}
		}
	}
	return nil
}

// open puts opened values into the event.
func (e *Event) open(values map[string]domain.Sealed, keys keyring.Keys, hasher *keyring.Hasher) error {
	shown := make(map[string]json.RawMessage, len(values))
	for name, value := range values {
		shown[name] = nil
		plain, err := keys.Open(e.Org, value)
		switch {
		case errors.Is(err, domain.ErrErased):
			continue
		case err != nil:
			return err
		}
		if shown[name] = plain; !value.Sensitive {
			continue
		}
		if shown[name] = mask; e.Sealed == nil {
			e.Sealed = make(map[string]SealedValue)
		}
		sealed := SealedValue{Sealed: value}
		if hash := domain.EqualityText(plain); hash != "" {
			sealed.Hash = hex.EncodeToString(hasher.Hash("attribute", name, hash))
		}
		e.Sealed[name] = sealed
	}
	e.Payload = e.Payload.(domain.Opened).Shown(shown)
	return nil
}
