package entity

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// NewEntity is what an entity shall begin as. Its attributes are JSON that
// internal/strictjson lets through.
type NewEntity struct {
	ID   uuid.UUID
	Type string
	Key  string // "" for none
	// KeyName is what stands for the key in its tag: see Type.KeyName.
	KeyName    string
	Attributes map[string]json.RawMessage
	Tags       []string
	// HolderSeen says that the caller may see the entity that has the key already.
	HolderSeen bool
}

// Decide creates the entity. Where the names are not valid, typ and key are empty
// states. Problems: unknown_type, invalid_key, invalid_tags, invalid_attributes,
// key_taken.
func (n NewEntity) Decide(typ Type, key Key) ([]domain.Fact, error) {
	if !typ.Exists() {
		return nil, problem.New(problem.Invalid, "unknown_type", "There is no entity type of this name. Define it first.").
			With(problem.Field{Location: "body.type", Message: "is not the name of an entity type"})
	}
	if n.Key != "" && !ValidKey(n.Key) {
		return nil, problem.New(problem.Invalid, "invalid_key", "The key cannot be used.").
			With(problem.Field{Location: "body.key", Message: textFault(n.Key, maxKey)})
	}
	tags, err := normalTags(n.Tags)
	if err != nil {
		return nil, err
	}
	attributes, err := readAttributes(n.Attributes)
	if err != nil {
		return nil, err
	}
	if err := validAttributes(typ, Entity{}, attributes); err != nil {
		return nil, err
	}
	if key.EntityID != "" {
		return nil, keyTaken(key, n.HolderSeen)
	}
	return typ.Sealed(n.ID, []domain.Fact{{
		Stream:  Stream(n.ID),
		Tags:    n.tags(typ),
		Payload: Created{Type: n.Type, Key: n.Key, Attributes: recorded(attributes), Tags: tags, TypeVersion: typ.Version},
	}}), nil
}

// tags are the boundaries that the creation moves beside the entity's own.
func (n NewEntity) tags(typ Type) []domain.Tag {
	var tags []domain.Tag
	if n.Key != "" {
		tags = append(tags, KeyTag(n.Type, n.KeyName))
	}
	if !typ.Used {
		tags = append(tags, TypeStream(n.Type))
	}
	return tags
}

// keyTaken names the holder only to who may see it.
func keyTaken(key Key, holderSeen bool) *problem.Problem {
	p := problem.New(problem.Conflict, "key_taken", "An entity of this type has this key already, possibly an archived one.")
	if holderSeen {
		p.Extra = map[string]any{"id": key.EntityID}
	}
	return p
}
