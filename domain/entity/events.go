// Package entity is the business area of typed things with attributes of the
// organisation's own making: entity types, each with a JSON Schema, and entities
// that follow them, with an optional key that is unique within the type.
//
// The commands are in commands/entities; they name the boundaries and hand the
// folded states to the decisions here (define.go, create.go, patch.go,
// archive.go). What is decided becomes one of the events of events.go, and
// state.go folds those back.
package entity

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// TypeDefined says that a type has this title and schema from now on, and which of its
// attributes are searched; the first one makes the type. Stream entity_type:<name>.
type TypeDefined struct {
	Name          string             `json:"name"`
	Title         string             `json:"title"`
	Schema        json.RawMessage    `json:"schema"`
	Search        []string           `json:"search,omitempty"`
	Relationships []RelationshipKind `json:"relationships,omitempty"`
	Sensitive     []string           `json:"sensitive,omitempty"`
	DataSubject   bool               `json:"data_subject,omitempty"`
	AuditReads    string             `json:"audit_reads,omitempty"`
}

// Created is the first event of an entity. Stream entity:<id>; it carries the tag
// of its key when it has one, and that of its type when it is the type's first
// entity, so that rules about types in use cost nothing afterwards. TypeVersion is the
// version of the type that the attributes follow.
type Created struct {
	Type        string                     `json:"type"`
	Key         string                     `json:"key,omitempty"`
	Attributes  map[string]json.RawMessage `json:"attributes"`
	Tags        []string                   `json:"tags"`
	TypeVersion int64                      `json:"type_version,omitzero"`
	// SealedKey is the key where that is personal; the event's tag has a token for it.
	SealedKey json.RawMessage `json:"sealed_key,omitempty"`

	// Secrets, by attribute, and SecretKey are sealed before the event is recorded.
	Secrets   map[string]domain.Secret `json:"-"`
	SecretKey *domain.Secret           `json:"-"`
}

// Updated holds what a patch changed. Attributes maps a name to its whole new
// value, or to null when it was removed. Tags, when not nil, replace all tags.
// TypeVersion, when not 0, is the version of the type that all attributes follow now.
type Updated struct {
	Attributes  map[string]json.RawMessage `json:"attributes,omitempty"`
	Tags        []string                   `json:"tags,omitzero"`
	TypeVersion int64                      `json:"type_version,omitzero"`

	// Secrets, by attribute, are sealed before the event is recorded.
	Secrets map[string]domain.Secret `json:"-"`
}

// Archived takes an entity out of use. Its key stays taken, or restoring it could
// fail. It carries the tags incoming:<target> of all that the entity refers to, as does
// Restored.
type Archived struct{}

// Restored brings an archived entity back. TypeVersion as with Updated.
type Restored struct {
	TypeVersion int64 `json:"type_version,omitzero"`
}

// RelationshipAdded says that an entity refers to another. Stream entity:<source>, whose
// version it moves; tags outgoing:<source> and incoming:<target>.
type RelationshipAdded struct {
	Kind       string    `json:"kind"`
	TargetID   uuid.UUID `json:"target_id"`
	SourceType string    `json:"source_type"`
	TargetType string    `json:"target_type"`
}

// RelationshipRemoved says that it does not any more. Detached means that this came with
// the target being archived. Stream and tags as of RelationshipAdded.
type RelationshipRemoved struct {
	Kind     string    `json:"kind"`
	TargetID uuid.UUID `json:"target_id"`
	Detached bool      `json:"detached,omitzero"`
}

// EventType names the event.
func (RelationshipAdded) EventType() string { return "relationship.added" }

// EventType names the event.
func (RelationshipRemoved) EventType() string { return "relationship.removed" }

// AccessChanged says who may do what with an entity from now on: all entries, sorted by
// principal, those that allow before those that deny; none leave it to roles.
type AccessChanged struct {
	Entries []ACLEntry `json:"entries"`
}

// EventType names the event.
func (TypeDefined) EventType() string { return "entity_type.defined" }

// EventType names the event.
func (Created) EventType() string { return "entity.created" }

// EventType names the event.
func (Updated) EventType() string { return "entity.updated" }

// EventType names the event.
func (Archived) EventType() string { return "entity.archived" }

// EventType names the event.
func (Restored) EventType() string { return "entity.restored" }

// EventType names the event.
func (AccessChanged) EventType() string { return "entity.access_changed" }

// Kinds are the events of this area.
func Kinds() []domain.EventKind {
	return []domain.EventKind{
		domain.Kind[TypeDefined](),
		domain.Kind[Created](),
		domain.Kind[Updated](),
		domain.Kind[Archived](),
		domain.Kind[Restored](),
		domain.Kind[RelationshipAdded](),
		domain.Kind[RelationshipRemoved](),
		domain.Kind[AccessChanged](),
		domain.Kind[BulkUpdateStarted](),
		domain.Kind[BulkUpdateSelected](),
		domain.Kind[BulkUpdateProgressed](),
		domain.Kind[BulkUpdateCompleted](),
		domain.Kind[BulkUpdateCancelled](),
		domain.Kind[BulkUpdateFailed](),
		domain.Kind[BulkUpdateCleared](),
	}
}

// Folds says what the boundaries of this area fold to.
func Folds() domain.Folds {
	return domain.Folds{
		StreamKind:     Entity{},
		TypeStreamKind: Type{},
		keyKind:        Key{},
		outgoingKind:   Outgoing{},
		incomingKind:   Incoming{},
		BulkUpdateKind: BulkUpdate{},

		domain.OpenJobsKind: domain.OpenJobs{},
	}
}

// The kinds of tags. The streams of entities and types are found by their ids.
const (
	StreamKind     = "entity"
	TypeStreamKind = "entity_type"
	keyKind        = "key"
	outgoingKind   = "outgoing"
	incomingKind   = "incoming"
)

// Stream is the stream of an entity.
func Stream(id uuid.UUID) domain.Tag { return domain.NewTag(StreamKind, id.String()) }

// TypeStream is the stream of a type. The name must be one that ValidTypeName
// accepts.
func TypeStream(name string) domain.Tag { return domain.NewTag(TypeStreamKind, name) }

// KeyTag is the boundary that makes a key unique within its type. Type names have
// no slash, so two pairs never share one.
func KeyTag(typeName, key string) domain.Tag { return domain.NewTag(keyKind, typeName+"/"+key) }

// OutgoingTag is the boundary of the relationships that an entity is the source of.
func OutgoingTag(id uuid.UUID) domain.Tag { return domain.NewTag(outgoingKind, id.String()) }

// IncomingTag is the boundary of the relationships that an entity is the target of, and of
// whether their sources are in use.
func IncomingTag(id uuid.UUID) domain.Tag { return domain.NewTag(incomingKind, id.String()) }
