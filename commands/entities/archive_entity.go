package entities

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// ArchiveEntity takes an entity out of use; its key stays taken.
//
// Permission: write on the entity. Reads: the entity, its relationships and those that lead to
// it; then the types of their sources; then the sources that will not refer to it any more.
type ArchiveEntity struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c ArchiveEntity) Boundaries(r domain.Reader) []domain.Tag {
	tags := []domain.Tag{entity.Stream(c.ID), entity.OutgoingTag(c.ID), entity.IncomingTag(c.ID)}
	archiving := c.archiving(r)
	for _, name := range archiving.SourceTypes() {
		tags = append(tags, entity.TypeStream(name))
	}
	detached := archiving.Detached(typesOf(r))
	for _, source := range detached {
		tags = append(tags, entity.Stream(source))
	}
	return withKeys(r, tags, append(detached, c.ID)...)
}

func (c ArchiveEntity) archiving(r domain.Reader) entity.Archiving {
	return entity.Archiving{
		ID: c.ID, Outgoing: domain.Read[entity.Outgoing](r, entity.OutgoingTag(c.ID)), Incoming: domain.Read[entity.Incoming](r, entity.IncomingTag(c.ID)),
	}
}

func typesOf(r domain.Reader) func(string) entity.Type {
	return func(name string) entity.Type { return domain.Read[entity.Type](r, entity.TypeStream(name)) }
}

// Decide archives the entity.
func (c ArchiveEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m, entity.MayWrite, open(m))
	if err != nil {
		return domain.Decision{}, err
	}
	facts, err := c.archiving(r).Decide(current, typesOf(r))
	return decision(r, c.ID, facts), err
}
