package entities

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// RestoreEntity brings an archived entity back, and may change it on the way.
//
// Permission: entities.write. Reads: the entity, then its type.
type RestoreEntity struct {
	ID uuid.UUID
	// Patch is a merge patch as of PatchEntity; nil for none.
	Patch json.RawMessage
}

// Boundaries names the entity and, once it is loaded, its type.
func (c RestoreEntity) Boundaries(r domain.Reader) []domain.Tag { return entityAndType(r, c.ID) }

// Decide restores the entity.
func (c RestoreEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	typ := domain.Read[entity.Type](r, entity.TypeStream(current.Type))
	facts, err := entity.Restoration{ID: c.ID, Document: c.Patch}.Decide(current, typ)
	return decision(c.ID, facts), err
}
