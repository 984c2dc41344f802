package entity

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Archive takes an entity out of use; one that is archived stays as it is.
func Archive(id uuid.UUID, current Entity) []domain.Fact {
	if current.Archived {
		return nil
	}
	return []domain.Fact{{Stream: Stream(id), Payload: Archived{}}}
}

// Restore brings an entity back; one that is in use stays as it is.
func Restore(id uuid.UUID, current Entity) []domain.Fact {
	if !current.Archived {
		return nil
	}
	return []domain.Fact{{Stream: Stream(id), Payload: Restored{}}}
}
