// Package entities holds the commands on entity types and entities, a file each.
// The rules are in domain/entity; here stands what each command reads and who may
// give it.
package entities

import (
	"encoding/json"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// DefineEntityType makes a type or changes its title and schema.
//
// Permission: entity_types.write. Reads: the type.
type DefineEntityType struct {
	Name   string
	Title  string
	Schema json.RawMessage
	// Force lets the schema be narrower than the one before it.
	Force bool
}

// Boundaries names what the decision depends on.
func (c DefineEntityType) Boundaries(domain.Reader) []domain.Tag {
	if !entity.ValidTypeName(c.Name) {
		return nil
	}
	return []domain.Tag{entity.TypeStream(c.Name)}
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
	facts, err := entity.Definition{Name: c.Name, Title: c.Title, Schema: c.Schema, Force: c.Force}.Decide(current)
	return domain.Decision{
		ResourceID: c.Name,
		Stream:     entity.TypeStream(c.Name),
		Created:    !current.Exists(),
		Facts:      facts,
	}, err
}
