package entities

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// RestoreEntity brings an archived entity back.
//
// Permission: entities.write. Reads: the entity.
type RestoreEntity struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c RestoreEntity) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{entity.Stream(c.ID)}
}

// Decide restores the entity.
func (c RestoreEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	return decision(c.ID, entity.Restore(c.ID, current)), nil
}
