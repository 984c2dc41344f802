package entities

import (
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// AddRelationship makes an entity refer to another, by a kind that its type declares.
//
// Permission: write on the entity. Reads: both entities, the relationships that the first has
// and those that lead to the second; then the type of the first; where the kind must not
// go in a circle, also what the second leads to.
type AddRelationship struct {
	ID       uuid.UUID
	Kind     string
	TargetID uuid.UUID
}

// Boundaries names what the decision depends on. The way that the target leads is found
// step by step; it ends where nothing is loaded yet.
func (c AddRelationship) Boundaries(r domain.Reader) []domain.Tag {
	tags := entityAndType(r, c.ID)
	tags = append(tags, entity.OutgoingTag(c.ID), entity.Stream(c.TargetID), entity.IncomingTag(c.TargetID))
	if declared, _ := c.source(r).Relationship(c.Kind); declared.Acyclic {
		seen, _ := entity.Walk(c.TargetID, c.ID, c.next(r))
		for _, id := range seen {
			tags = append(tags, entity.OutgoingTag(id))
		}
	}
	return withKeys(r, tags, c.ID, c.TargetID)
}

// Rounds are enough for the longest way.
func (c AddRelationship) Rounds() int { return entity.MaxWalkDepth + 4 }

// source is the type of the entity, as far as it is known.
func (c AddRelationship) source(r domain.Reader) entity.Type {
	current := domain.Read[entity.Entity](r, entity.Stream(c.ID))
	if !current.Exists() {
		return entity.Type{}
	}
	return domain.Read[entity.Type](r, entity.TypeStream(current.Type))
}

// next gives the targets of an entity along the kind. The last of a walk is not read.
func (c AddRelationship) next(r domain.Reader) func(uuid.UUID) []uuid.UUID {
	return func(id uuid.UUID) []uuid.UUID {
		return domain.Read[entity.Outgoing](r, entity.OutgoingTag(id)).Targets(c.Kind)
	}
}

// Decide adds the relationship.
func (c AddRelationship) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m, entity.MayWrite, open(m))
	if err != nil {
		return domain.Decision{}, err
	}
	ends := entity.Ends{
		Source: current, Outgoing: domain.Read[entity.Outgoing](r, entity.OutgoingTag(c.ID)),
		Target: entity.Seen(r, c.TargetID, m, open(m)), Incoming: domain.Read[entity.Incoming](r, entity.IncomingTag(c.TargetID)),
	}
	facts, err := entity.NewRelationship{ID: c.ID, Kind: c.Kind, TargetID: c.TargetID}.Decide(c.source(r), ends, c.next(r))
	return decision(r, c.ID, facts), err
}

// distinct names each boundary once.
func distinct(tags []domain.Tag) []domain.Tag {
	slices.Sort(tags)
	return slices.Compact(tags)
}

var _ domain.Walker = AddRelationship{}
