package entity

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Definition is what a type shall be.
type Definition struct {
	Name  string
	Title string
	// Schema is a JSON Schema of draft 2020-12; nil allows any attributes.
	Schema json.RawMessage
	// Search are the names of the attributes that are searched, each once.
	Search []string
	// Relationships are all kinds of relationships that its entities can have.
	Relationships []RelationshipKind
	// Sensitive, DataSubject and AuditReads are as of Type.
	Sensitive   []string
	DataSubject bool
	AuditReads  string
	// Force lets the definition refuse what the one before it allows.
	Force bool
}

// CheckTypeName refuses, as invalid_type_name, what can never name a type.
func CheckTypeName(name string) error {
	if ValidTypeName(name) {
		return nil
	}
	return problem.New(problem.Invalid, "invalid_type_name",
		"A type name is a lower-case letter followed by up to %d lower-case letters, digits or underscores.", maxTypeName-1).
		With(problem.Field{Location: "path.name", Message: "must match ^[a-z][a-z0-9_]{0,62}$"})
}

// Decide defines the type or changes its definition; the same definition again
// changes nothing. Entities that exist are not held against a new schema before
// they are next patched or restored. known says which names are types, its own included.
// Problems: invalid_title, invalid_schema, invalid_search_attributes,
// invalid_relationships, unknown_type, narrowing_change, unsealing_change.
func (d Definition) Decide(current Type, known func(typeName string) bool) ([]domain.Fact, error) {
	if fault := textFault(d.Title, maxTitle); fault != "" {
		return nil, problem.New(problem.Invalid, "invalid_title", "The title cannot be used.").
			With(problem.Field{Location: "body.title", Message: fault})
	}
	schema := d.Schema
	if schema == nil {
		schema = json.RawMessage("{}")
	}
	kinds, err := checkKinds(d.Relationships, known)
	if err != nil {
		return nil, err
	}
	if current.Exists() && current.Title == d.Title && same(current.Schema, schema) &&
		slices.Equal(current.Search, d.Search) && slices.Equal(current.Relationships, kinds) && d.sealsAs(current) {
		return nil, nil
	}
	if err := d.checkSealing(current); err != nil {
		return nil, err
	}
	if err := checkSchema(schema); err != nil {
		return nil, err
	}
	if err := checkSearched(d.Search, schema); err != nil {
		return nil, err
	}
	if current.Exists() && !d.Force {
		if err := d.checkUnsealing(current); err != nil {
			return nil, err
		}
		if err := checkNarrowing(current, schema, kinds); err != nil {
			return nil, err
		}
	}
	return []domain.Fact{{
		Stream: TypeStream(d.Name),
		// Unlike attributes, a schema keeps its order of names: people read it.
		Payload: TypeDefined{Name: d.Name, Title: d.Title, Schema: encode(schema), Search: d.Search, Relationships: kinds,
			Sensitive: d.Sensitive, DataSubject: d.DataSubject, AuditReads: d.audits()},
	}}, nil
}

// checkNarrowing refuses a definition under which something could be invalid that is not.
func checkNarrowing(current Type, schema json.RawMessage, kinds []RelationshipKind) error {
	before, err := decode(current.Schema)
	after, errAfter := decode(schema)
	if err := errors.Join(err, errAfter); err != nil {
		return err // both were read when they were defined
	}
	fields := ordered(slices.Concat(narrowing(before, after), narrowedKinds(current.Relationships, kinds)))
	if len(fields) > 0 {
		return problem.New(problem.Conflict, "narrowing_change",
			"What is valid now could be invalid under the new definition. Widen what errors names, or send \"force\": true; entities stay as they are and must follow the new definition when they are next changed.").
			With(fields...)
	}
	return nil
}
