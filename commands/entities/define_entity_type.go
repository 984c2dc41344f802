// Package entities holds the commands on entity types and entities, a file each.
// The rules are in domain/entity; here stands what each command reads and who may
// give it.
package entities

import (
	"encoding/json"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// DefineEntityType makes a type or changes its definition.
//
// Permission: entity_types.write. Reads: the type, and those that its relationships lead to.
type DefineEntityType struct {
	Name   string
	Title  string
	Schema json.RawMessage
	// Search are the attributes that are searched.
	Search []string
	// Relationships are the kinds that its entities can have.
	Relationships []entity.RelationshipKind
	// Sensitive, DataSubject and AuditReads say what is sealed, and which reads are recorded.
	Sensitive   []string
	DataSubject bool
	AuditReads  string
	// Force lets the definition be narrower than the one before it.
	Force bool
}

// Boundaries names what the decision depends on.
func (c DefineEntityType) Boundaries(domain.Reader) []domain.Tag {
	if !entity.ValidTypeName(c.Name) {
		return nil
	}
	tags := []domain.Tag{entity.TypeStream(c.Name)}
	for _, kind := range c.Relationships[:min(len(c.Relationships), entity.MaxKinds)] {
		if entity.ValidTypeName(kind.Target) {
			tags = append(tags, entity.TypeStream(kind.Target))
		}
	}
	return distinct(tags)
}

// Decide defines the type.
func (c DefineEntityType) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if err := entity.CheckTypeName(c.Name); err != nil {
		return domain.Decision{}, err
	}
	current, err := entity.OpenType(r, c.Name, m)
	if err != nil {
		return domain.Decision{}, err
	}
	known := func(name string) bool { return name == c.Name || typesOf(r)(name).Exists() }
	facts, err := entity.Definition{
		Name: c.Name, Title: c.Title, Schema: c.Schema, Search: c.Search, Relationships: c.Relationships, Force: c.Force,
		Sensitive: c.Sensitive, DataSubject: c.DataSubject, AuditReads: c.AuditReads,
	}.Decide(current, known)
	return domain.Decision{
		ResourceID: c.Name,
		Stream:     entity.TypeStream(c.Name),
		Created:    !current.Exists(),
		Facts:      facts,
	}, err
}
