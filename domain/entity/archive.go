package entity

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Archive takes an entity out of use; one that is archived stays as it is.
func Archive(id uuid.UUID, current Entity) []domain.Fact {
	if current.Archived {
		return nil
	}
	return []domain.Fact{{Stream: Stream(id), Payload: Archived{}}}
}

// Restoration brings an archived entity back, changed by a merge patch where one is
// given: what no longer follows the type has no other way back.
type Restoration struct {
	ID uuid.UUID
	// Document is as of Patch; nil changes nothing.
	Document json.RawMessage
}

// Decide restores the entity; one that is in use stays as it is. All attributes must
// follow the type as it is now. Problems: conflict when an entity that is in use shall be
// changed, and those of a patch.
func (n Restoration) Decide(current Entity, typ Type) ([]domain.Fact, error) {
	document := n.Document
	if document == nil {
		document = json.RawMessage("{}")
	}
	changed, whole, err := Patch{ID: n.ID, Document: document}.apply(current)
	switch {
	case err != nil:
		return nil, err
	case !current.Archived && !changed.nothing():
		return nil, problem.New(problem.Conflict, "conflict", "The entity is not archived. Change it by PATCH.")
	case !current.Archived:
		return nil, nil
	}
	if err := validAttributes(typ, whole); err != nil {
		return nil, err
	}
	facts := []domain.Fact{{Stream: Stream(n.ID), Payload: Restored{TypeVersion: current.newlyFollows(typ)}}}
	if !changed.nothing() {
		facts = append(facts, domain.Fact{Stream: Stream(n.ID), Payload: changed})
	}
	return facts, nil
}
