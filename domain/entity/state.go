package entity

import (
	"cmp"
	"encoding/json"
	"maps"
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
}

// Exists reports whether the entity was ever created.
func (e Entity) Exists() bool { return e.Type != "" }

// Evolve folds one fact.
func (e Entity) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case Created:
		return Entity{Type: p.Type, Key: p.Key, Attributes: p.Attributes, Tags: p.Tags, TypeVersion: p.TypeVersion}
	case Updated:
		e.TypeVersion = cmp.Or(p.TypeVersion, e.TypeVersion)
		if len(p.Attributes) > 0 {
			e.Attributes = replaced(e.Attributes, p.Attributes)
		}
		if p.Tags != nil {
			e.Tags = p.Tags
		}
	case Archived:
		e.Archived = true
	case Restored:
		e.Archived = false
		e.TypeVersion = cmp.Or(p.TypeVersion, e.TypeVersion)
	}
	return e
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

// Memory of Go values beside their bytes, roughly: a struct with its headers, and
// an entry of a map or slice.
const (
	stateBytes = 160
	entryBytes = 64
)

// Size is the approximate memory held, in bytes.
func (e Entity) Size() int {
	size := stateBytes + len(e.Type) + len(e.Key)
	for name, value := range e.Attributes {
		size += entryBytes + len(name) + len(value)
	}
	for _, tag := range e.Tags {
		size += entryBytes + len(tag)
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
		return Type{Name: p.Name, Title: p.Title, Schema: p.Schema, Search: p.Search, Relationships: p.Relationships, Version: t.Version + 1, Used: t.Used}.compiling()
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
	for _, name := range t.Search {
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
	if p, ok := f.Payload.(Created); ok && p.Key != "" {
		return Key{EntityID: f.Stream.Name()}
	}
	return k
}

// Size is the approximate memory held, in bytes.
func (k Key) Size() int { return entryBytes + len(k.EntityID) }
