package entities

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// PatchEntity changes attributes and tags by a merge patch (RFC 7396).
//
// Permission: write on the entity. Reads: the entity, then its type.
type PatchEntity struct {
	ID uuid.UUID
	// Patch is the document, {"attributes":…,"tags":…}.
	Patch json.RawMessage
}

// Boundaries names the entity and, once it is loaded, its type.
func (c PatchEntity) Boundaries(r domain.Reader) []domain.Tag { return unlocked(r, c.ID) }

// unlocked are the entity and its type, and, where there is something to open or to seal,
// the key for it.
func unlocked(r domain.Reader, id uuid.UUID) []domain.Tag {
	tags := entityAndType(r, id)
	current := domain.Read[entity.Entity](r, entity.Stream(id))
	if current.Exists() && entity.Sealing(current, domain.Read[entity.Type](r, entity.TypeStream(current.Type))) {
		tags = append(tags, domain.SubjectTag(id.String()))
	}
	return tags
}

func entityAndType(r domain.Reader, id uuid.UUID) []domain.Tag {
	tags := []domain.Tag{entity.Stream(id)}
	if current := domain.Read[entity.Entity](r, entity.Stream(id)); current.Exists() {
		tags = append(tags, entity.TypeStream(current.Type))
	}
	return tags
}

// Decide patches the entity.
func (c PatchEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := entity.Open(r, c.ID, m, entity.MayWrite, open(m))
	if err == nil {
		current, err = entity.Unlocked(r, current)
	}
	if err != nil {
		return domain.Decision{}, err
	}
	typ := domain.Read[entity.Type](r, entity.TypeStream(current.Type))
	facts, err := entity.Patch{ID: c.ID, Document: c.Patch}.Decide(current, typ)
	return decision(r, c.ID, facts), err
}

// decision is about an entity that exists.
func decision(r domain.Reader, id uuid.UUID, facts []domain.Fact) domain.Decision {
	return domain.Decision{ResourceID: id.String(), Stream: entity.Stream(id), Facts: entity.About(facts, persons(r))}
}

// persons tells which of the entities that were loaded are data subjects.
func persons(r domain.Reader) func(uuid.UUID) bool {
	return func(id uuid.UUID) bool { return domain.Read[entity.Entity](r, entity.Stream(id)).DataSubject }
}

// withKeys adds to boundaries the keys of those of the entities that are data subjects: why
// a change that is about them was made is sealed by those.
func withKeys(r domain.Reader, tags []domain.Tag, ids ...uuid.UUID) []domain.Tag {
	for _, id := range ids {
		if persons(r)(id) {
			tags = append(tags, domain.SubjectTag(id.String()))
		}
	}
	return distinct(tags)
}
