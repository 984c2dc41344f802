package entities

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// ArchiveEntity takes an entity out of use; its key stays taken.
//
// Permission: entities.write. Reads: the entity.
type ArchiveEntity struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c ArchiveEntity) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{entity.Stream(c.ID)}
}

// Decide archives the entity.
func (c ArchiveEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	return decision(c.ID, entity.Archive(c.ID, current)), nil
}
