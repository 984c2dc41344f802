package entities

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// RemoveRelationship makes an entity refer to another no more, also by a kind that its
// type does not declare any more.
//
// Permission: write on the entity. Reads: both entities and the relationships of the first.
type RemoveRelationship struct {
	ID       uuid.UUID
	Kind     string
	TargetID uuid.UUID
}

// Boundaries names what the decision depends on.
func (c RemoveRelationship) Boundaries(r domain.Reader) []domain.Tag {
	return withKeys(r, []domain.Tag{entity.Stream(c.ID), entity.OutgoingTag(c.ID), entity.Stream(c.TargetID)}, c.ID, c.TargetID)
}

// Decide removes the relationship.
func (c RemoveRelationship) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m, entity.MayWrite, open(m))
	if err != nil {
		return domain.Decision{}, err
	}
	outgoing := domain.Read[entity.Outgoing](r, entity.OutgoingTag(c.ID))
	facts, err := entity.Unrelate(c.ID, current, outgoing, c.Kind, c.TargetID)
	return decision(r, c.ID, facts), err
}
