package commands

import (
	"encoding/json"
	"fmt"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
)

// Receipt is the answer to a command that was accepted: its events are on disk,
// unless it was a dry run.
type Receipt struct {
	ID      string
	Version int64
	// Position is the last event's, or the one a no-op or a dry run was validated at.
	Position int64
	Events   []ReceiptEvent
	// Created says that the command made a new resource.
	Created bool
	// Replayed says that this is the stored answer to an earlier request with the
	// same idempotency key. It is set beside a refusal, too.
	Replayed bool
	// Resource is what the submission asked to have represented, as the command left
	// it; nil also when it could not be read for a replay.
	Resource *Resource
}

// ReceiptEvent is one event that a command led to.
type ReceiptEvent struct {
	Type     string
	Position int64
	// Data is what a dry run would record, as JSON.
	Data []byte
}

// storedProblem is how a refusal is kept: kinds by name, so that their numbers may change.
type storedProblem struct {
	Kind   string          `json:"kind"`
	Code   string          `json:"code"`
	Detail string          `json:"detail"`
	Fields []problem.Field `json:"fields,omitempty"`
	Extra  map[string]any  `json:"extra,omitempty"`
}

// keptKinds are the refusals that an idempotency key brings back: those that the
// domain decided. All others say nothing about the command, so a retry is a new try.
var keptKinds = map[problem.Kind]string{
	problem.Forbidden: "forbidden",
	problem.NotFound:  "not_found",
	problem.Conflict:  "conflict",
	problem.Stale:     "stale",
	problem.TooLarge:  "too_large",
	problem.Invalid:   "invalid",
}

// Kept reports whether a refusal is brought back by an idempotency key.
func Kept(p *problem.Problem) bool { return p != nil && keptKinds[p.Kind] != "" }

// EncodeRefusal writes a refusal that is kept, as JSON.
func EncodeRefusal(p *problem.Problem) ([]byte, error) {
	return json.Marshal(storedProblem{Kind: keptKinds[p.Kind], Code: p.Code, Detail: p.Detail, Fields: p.Fields, Extra: p.Extra})
}

// DecodeRefusal reads what EncodeRefusal wrote.
func DecodeRefusal(data []byte) (*problem.Problem, error) {
	var stored storedProblem
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, fmt.Errorf("reading a stored refusal: %w", err)
	}
	for kind, name := range keptKinds {
		if name == stored.Kind {
			return &problem.Problem{Kind: kind, Code: stored.Code, Detail: stored.Detail, Fields: stored.Fields, Extra: stored.Extra}, nil
		}
	}
	return nil, fmt.Errorf("a stored refusal has the unknown kind %q", stored.Kind)
}

// replay turns what is stored back into the answer that was given first.
func replay(o eventstore.StoredOutcome) (Receipt, error) {
	r := Receipt{ID: o.ResourceID, Version: o.Version, Position: o.Position, Events: []ReceiptEvent{}, Created: o.Created, Replayed: true}
	for i, eventType := range o.EventTypes {
		r.Events = append(r.Events, ReceiptEvent{Type: eventType, Position: o.FirstPosition + int64(i)})
	}
	if o.Refusal == nil {
		return r, nil
	}
	p, err := DecodeRefusal(o.Refusal)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Replayed: true}, p
}
