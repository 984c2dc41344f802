package entity

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Patch is an RFC 7396 merge patch of the document {"attributes":…,"tags":…} of
// one entity. Its bytes are JSON that internal/strictjson lets through.
type Patch struct {
	ID       uuid.UUID
	Document json.RawMessage
}

// Decide changes what the patch changes, or nothing. The whole result must follow
// the type as it is now. Problems: conflict on an archived entity, invalid_patch,
// unknown_field, invalid_tags, invalid_attributes.
func (p Patch) Decide(current Entity, typ Type) ([]domain.Fact, error) {
	if current.Archived {
		return nil, problem.New(problem.Conflict, "conflict", "The entity is archived. Restore it before you change it.")
	}
	changed, whole, err := p.apply(current)
	if err != nil || changed.nothing() {
		return nil, err
	}
	if err := validAttributes(typ, current, whole); err != nil {
		return nil, err
	}
	changed.TypeVersion = current.newlyFollows(typ)
	return typ.Sealed(p.ID, []domain.Fact{{Stream: Stream(p.ID), Payload: changed}}), nil
}

// apply gives what the patch changes, and all attributes as it leaves them.
func (p Patch) apply(current Entity) (changed Updated, whole map[string]any, err error) {
	attributes, tags, err := p.read()
	if err != nil {
		return changed, nil, err
	}
	if tags != nil && !slices.Equal(*tags, current.Tags) {
		changed.Tags = *tags
	}
	if whole, err = decodeAll(current.Attributes); err != nil {
		return changed, nil, err
	}
	changed.Attributes = attributes.apply(whole, current.Attributes)
	return changed, whole, nil
}

// nothing reports whether an update changes neither attributes nor tags.
func (u Updated) nothing() bool { return u.Tags == nil && len(u.Attributes) == 0 }

// newlyFollows is the version of the type that the attributes were held against, 0 when
// that is known already.
func (e Entity) newlyFollows(t Type) int64 {
	if e.TypeVersion == t.Version {
		return 0
	}
	return t.Version
}

// attributesPatch is the part of a patch about attributes: changes by name, nil
// for a removal.
type attributesPatch struct {
	changes map[string]any
	// clear says that the patch was {"attributes":null}: all of them go.
	clear bool
}

// read checks the patch itself; tags is nil when it says nothing about them.
func (p Patch) read() (attributes attributesPatch, tags *[]string, err error) {
	value, err := decode(p.Document)
	members, isObject := value.(map[string]any)
	if err != nil || !isObject {
		return attributes, nil, problem.New(problem.Invalid, "invalid_patch", "A merge patch of an entity is a JSON object.").
			With(problem.Field{Location: "body", Message: "must be a JSON object"})
	}
	for _, name := range sortedNames(members) {
		switch name {
		case "attributes":
			attributes, err = readAttributesPatch(members[name])
		case "tags":
			tags, err = readTagsPatch(members[name])
		default:
			err = problem.New(problem.Invalid, "unknown_field", "A patch of an entity can hold attributes and tags, nothing else.").
				With(problem.Field{Location: shortened("body." + escapePointer(name)), Message: "cannot be patched"})
		}
		if err != nil {
			return attributes, nil, err
		}
	}
	return attributes, tags, nil
}

func readAttributesPatch(value any) (attributesPatch, error) {
	if value == nil {
		return attributesPatch{clear: true}, nil
	}
	changes, isObject := value.(map[string]any)
	if !isObject {
		return attributesPatch{}, invalidAttributes(problem.Field{Location: attributesLocation, Message: "must be an object"})
	}
	return attributesPatch{changes: changes}, checkAttributes(changes)
}

func readTagsPatch(value any) (*[]string, error) {
	list, isList := value.([]any)
	if !isList && value != nil {
		return nil, invalidTags(problem.Field{Location: "body.tags", Message: "must be an array of strings"})
	}
	texts := make([]string, len(list))
	for i, item := range list {
		text, isString := item.(string)
		if !isString {
			return nil, invalidTags(problem.Field{Location: "body.tags/" + strconv.Itoa(i), Message: "must be a string"})
		}
		texts[i] = text
	}
	tags, err := normalTags(texts)
	return &tags, err
}

// apply patches whole, the decoded form of recorded, in place and returns what
// became different, as an Updated holds it.
func (a attributesPatch) apply(whole map[string]any, recorded map[string]json.RawMessage) map[string]json.RawMessage {
	changes := a.changes
	if a.clear {
		changes = make(map[string]any, len(whole))
		for name := range whole {
			changes[name] = nil
		}
	}
	different := map[string]json.RawMessage{}
	for name, change := range changes {
		before, existed := recorded[name]
		if change == nil {
			if existed {
				delete(whole, name)
				different[name] = json.RawMessage("null")
			}
			continue
		}
		whole[name] = mergePatch(whole[name], change)
		if after := encode(whole[name]); !existed || !same(before, after) {
			different[name] = after
		}
	}
	return different
}

// decodeAll decodes recorded attributes; what was recorded decodes.
func decodeAll(recorded map[string]json.RawMessage) (map[string]any, error) {
	values := make(map[string]any, len(recorded))
	for name, raw := range recorded {
		value, err := decode(raw)
		if err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}
