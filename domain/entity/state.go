package entity

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/reactdjango-hub/backend/domain"
)

// Entity is the state of one entity. Attribute values are opaque here: they are
// whatever JSON was recorded.
type Entity struct {
	Type       string
	Key        string
	Archived   bool
	Attributes map[string]json.RawMessage
	Tags       []string
	// TypeVersion is the version of the type that the attributes were last held against,
	// 0 when no event says.
	TypeVersion int64
	// DataSubject says that the entity is a person.
	DataSubject bool `json:",omitempty"`
	// Sealed are the attributes that are ciphertext, each in its event, and SealedKey is
	// the key where that is.
	Sealed    map[string]domain.Sealed `json:",omitempty"`
	SealedKey *domain.Sealed           `json:",omitempty"`
	// ACL are the entries that say who may do what; none leave it to roles.
	ACL []ACLEntry
}

// Exists reports whether the entity was ever created.
func (e Entity) Exists() bool { return e.Type != "" }

// Evolve folds one fact.
func (e Entity) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case Created:
		return created(p, f)
	case Updated:
		e.TypeVersion = cmp.Or(p.TypeVersion, e.TypeVersion)
		if len(p.Attributes) > 0 {
			e.Attributes, e.Sealed = e.changed(p.Attributes, sealedAmong(p.Attributes, f.ID))
		}
		if p.Tags != nil {
			e.Tags = p.Tags
		}
	case Archived:
		e.Archived = true
	case Restored:
		e.Archived = false
		e.TypeVersion = cmp.Or(p.TypeVersion, e.TypeVersion)
	case AccessChanged:
		e.ACL = p.Entries
	}
	return e
}

// created is an entity after its first event.
func created(p Created, f domain.Fact) Entity {
	e := Entity{
		Type: p.Type, Key: p.Key, Attributes: p.Attributes, Tags: p.Tags, TypeVersion: p.TypeVersion,
		DataSubject: len(f.Subjects) > 0,
	}
	if key, ok := domain.ParseSealed(p.SealedKey, f.ID, keyPointer); ok {
		e.SealedKey = &key
	}
	if sealed := sealedAmong(p.Attributes, f.ID); sealed != nil {
		e.Attributes, e.Sealed = Entity{}.changed(p.Attributes, sealed)
	}
	return e
}

// changed are the attributes of the entity after changes: those in clear, and those that
// are sealed. fresh are the changes that are sealed.
func (e Entity) changed(changes map[string]json.RawMessage, fresh map[string]domain.Sealed) (map[string]json.RawMessage, map[string]domain.Sealed) {
	next, sealed := replaced(e.Attributes, changes), fresh
	for name := range fresh {
		delete(next, name)
	}
	for name, value := range e.Sealed {
		if _, touched := changes[name]; touched {
			continue
		}
		if sealed == nil {
			sealed = make(map[string]domain.Sealed, len(e.Sealed))
		}
		sealed[name] = value
	}
	return next, sealed
}

// replaced is old with the changes made, in a map of its own.
func replaced(old, changes map[string]json.RawMessage) map[string]json.RawMessage {
	next := make(map[string]json.RawMessage, len(old)+len(changes))
	maps.Copy(next, old)
	for name, value := range changes {
		if isNull(value) {
			delete(next, name)
		} else {
			next[name] = value
		}
	}
	return next
}

// Memory of Go values beside their bytes, roughly: a struct with its headers, an entry
// of a map or slice, and a sealed value with its subject and pointer.
const (
	stateBytes  = 160
	entryBytes  = 64
	sealedBytes = 256
)

// Size is the approximate memory held, in bytes.
func (e Entity) Size() int {
	size := stateBytes + len(e.Type) + len(e.Key)
	for name, value := range e.Attributes {
		size += entryBytes + len(name) + len(value)
	}
	for name, value := range e.Sealed {
		size += sealedBytes + len(name) + len(value.Text)
	}
	if e.SealedKey != nil {
		size += sealedBytes + len(e.SealedKey.Text)
	}
	for _, tag := range e.Tags {
		size += entryBytes + len(tag)
	}
	for _, entry := range e.ACL {
		size += 2*entryBytes + len(entry.Principal)
	}
	return size
}

// Type is the state of one entity type.
type Type struct {
	Name   string
	Title  string
	Schema json.RawMessage
	// Search are the names of the attributes that are searched.
	Search []string
	// Relationships are the kinds that its entities can have.
	Relationships []RelationshipKind
	// Sensitive are the attributes that stay sealed in read tables, too. DataSubject says
	// that each entity is a person, of whom all is sealed in the log. AuditReads is "all"
	// where every read is recorded.
	Sensitive   []string
	DataSubject bool
	AuditReads  string
	// Version counts the definitions.
	Version int64
	// Used is true once the type has had an entity.
	Used bool

	// compiled compiles Schema when it is first asked for and keeps the result, so
	// that folding is cheap and cannot fail.
	compiled func() (*attributeSchema, error)
}

// Exists reports whether the type was ever defined.
func (t Type) Exists() bool { return t.Name != "" }

// Evolve folds one fact.
func (t Type) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case TypeDefined:
		return Type{
			Name: p.Name, Title: p.Title, Schema: p.Schema, Search: p.Search, Relationships: p.Relationships,
			Sensitive: p.Sensitive, DataSubject: p.DataSubject, AuditReads: p.AuditReads, Version: t.Version + 1, Used: t.Used,
		}.compiling()
	case Created:
		t.Used = true
	}
	return t
}

// compiling is t with what compiles its schema.
func (t Type) compiling() Type {
	t.compiled = sync.OnceValues(func() (*attributeSchema, error) { return compile(t.Schema) })
	return t
}

// compiledFactor is how much larger a compiled schema is than its text, roughly.
const compiledFactor = 24

// Size is the approximate memory held, in bytes, the compiled schema included.
func (t Type) Size() int {
	size := stateBytes + len(t.Name) + len(t.Title) + len(t.Schema)*(1+compiledFactor) + len(t.Relationships)*linkBytes
	for _, name := range slices.Concat(t.Search, t.Sensitive) {
		size += entryBytes + len(name)
	}
	return size
}

// Key is the state of one key within a type.
type Key struct {
	// EntityID is the entity that has the key, "" when it is free.
	EntityID string
}

// Evolve folds one fact.
func (k Key) Evolve(f domain.Fact) domain.State {
	if p, ok := f.Payload.(Created); ok && (p.Key != "" || p.SealedKey != nil) {
		return Key{EntityID: f.Stream.Name()}
	}
	return k
}

// Size is the approximate memory held, in bytes.
func (k Key) Size() int { return entryBytes + len(k.EntityID) }
