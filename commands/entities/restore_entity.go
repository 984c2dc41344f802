package entities

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// RestoreEntity brings an archived entity back, and may change it on the way.
//
// Permission: write on the entity. Reads: the entity and its relationships; then its type and
// what it refers to.
type RestoreEntity struct {
	ID uuid.UUID
	// Patch is a merge patch as of PatchEntity; nil for none.
	Patch json.RawMessage
}

// Boundaries names what the decision depends on.
func (c RestoreEntity) Boundaries(r domain.Reader) []domain.Tag {
	tags := append(unlocked(r, c.ID), entity.OutgoingTag(c.ID))
	var archived []uuid.UUID
	for _, target := range c.outgoing(r).Targets("") {
		tags = append(tags, entity.Stream(target))
		if domain.Read[entity.Entity](r, entity.Stream(target)).Archived {
			archived = append(archived, target)
		}
	}
	return withKeys(r, tags, append(archived, c.ID)...)
}

func (c RestoreEntity) outgoing(r domain.Reader) entity.Outgoing {
	return domain.Read[entity.Outgoing](r, entity.OutgoingTag(c.ID))
}

// Decide restores the entity.
func (c RestoreEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m, entity.MayWrite, open(m))
	if err == nil {
		current, err = entity.Unlocked(r, current)
	}
	if err != nil {
		return domain.Decision{}, err
	}
	typ := domain.Read[entity.Type](r, entity.TypeStream(current.Type))
	target := func(id uuid.UUID) entity.Entity { return domain.Read[entity.Entity](r, entity.Stream(id)) }
	facts, err := entity.Restoration{ID: c.ID, Document: c.Patch, Outgoing: c.outgoing(r)}.Decide(current, typ, target)
	return decision(r, c.ID, facts), err
}
