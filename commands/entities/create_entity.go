package entities

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// CreateEntity makes an entity of a type, with a key or without.
//
// Permission: entities.write. Reads: the entity's own, still empty stream; the
// type; the key, and the entity that has it.
type CreateEntity struct {
	// ID is a new random id.
	ID         uuid.UUID
	Type       string
	Key        string // "" for none
	Attributes map[string]json.RawMessage
	Tags       []string
}

// Boundaries names what the decision depends on. Names that are not valid have no
// boundary; they are refused whatever the state.
func (c CreateEntity) Boundaries(r domain.Reader) []domain.Tag {
	tags := []domain.Tag{entity.Stream(c.ID)}
	if entity.ValidTypeName(c.Type) {
		tags = append(tags, entity.TypeStream(c.Type))
		typ := domain.Read[entity.Type](r, entity.TypeStream(c.Type))
		if name := c.keyName(r, typ); name != "" {
			tags = append(tags, entity.KeyTag(c.Type, name))
			if holder := c.key(r, name).EntityID; holder != "" {
				tags = append(tags, domain.NewTag(entity.StreamKind, holder))
			}
		}
		if typ.Seals() {
			tags = append(tags, domain.SubjectTag(c.ID.String()))
		}
	}
	return tags
}

// keyName is what stands for the key in its tag. That depends on the type, so it is ""
// while that is not known.
func (c CreateEntity) keyName(r domain.Reader, typ entity.Type) string {
	if !typ.Exists() || !entity.ValidKey(c.Key) {
		return ""
	}
	return typ.KeyName(r, c.Key)
}

func (c CreateEntity) key(r domain.Reader, name string) entity.Key {
	return domain.Read[entity.Key](r, entity.KeyTag(c.Type, name))
}

// sees reports whether the caller may know which entity has the key.
func (c CreateEntity) sees(r domain.Reader, m domain.Meta, key entity.Key) bool {
	holder, err := uuid.Parse(key.EntityID)
	return err == nil && entity.Seen(r, holder, m, open(m)).Exists()
}

// Fresh says that the id is new.
func (c CreateEntity) Fresh() []domain.Tag { return []domain.Tag{entity.Stream(c.ID)} }

// Decide creates the entity.
func (c CreateEntity) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if err := entity.ExpectNew(r, c.ID, m); err != nil {
		return domain.Decision{}, err
	}
	var typ entity.Type
	var key entity.Key
	var keyName string
	if entity.ValidTypeName(c.Type) {
		typ = domain.Read[entity.Type](r, entity.TypeStream(c.Type))
		if keyName = c.keyName(r, typ); keyName != "" {
			key = c.key(r, keyName)
		}
	}
	facts, err := entity.NewEntity{
		ID: c.ID, Type: c.Type, Key: c.Key, KeyName: keyName, Attributes: c.Attributes, Tags: c.Tags,
		HolderSeen: c.sees(r, m, key),
	}.Decide(typ, key)
	return domain.Decision{
		ResourceID: c.ID.String(),
		Stream:     entity.Stream(c.ID),
		Created:    true,
		Facts:      entity.About(facts, func(uuid.UUID) bool { return typ.DataSubject }),
	}, err
}

var _ domain.Fresher = CreateEntity{}
