package entities_test

import (
	"encoding/json"
	"testing"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestPatchEntity(t *testing.T) {
	patch := entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"name":"Eva","age":7},"tags":[]}`)}

	given(t, customerDefined(customerSchema), anaCreated()).When(patch).
		Named(entity.Stream(ana), "entity_type:customer").
		Resource(ana.String(), entity.Stream(ana), false).
		Then(domain.Fact{
			Stream:  entity.Stream(ana),
			Payload: entity.Updated{Attributes: attrs(`{"age":7,"name":"Eva"}`), Tags: []string{}},
		}).
		When(patch).
		Resource(ana.String(), entity.Stream(ana), false).
		ThenNothing()
}

func TestPatchEntityRefuses(t *testing.T) {
	rename := entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"name":"Eva"}}`)}
	defined := customerDefined(customerSchema)

	given(t, defined).IfMatch(1).When(rename).Named(entity.Stream(ana)).ThenProblem("not_found")
	given(t, defined, anaCreated()).IfMatch(2).When(rename).ThenProblem("version_conflict")
	// Before anything else: the patch is not looked at.
	given(t, defined, anaCreated(), anaArchived()).IfMatch(1).
		When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`[]`)}).ThenProblem("version_conflict")
	given(t, defined, anaCreated(), anaArchived()).When(rename).ThenProblem("conflict")
	given(t, defined, anaCreated()).
		When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"name":null}}`)}).ThenProblem("invalid_attributes")
}

// The result has to follow the type as it is now, not as it was at creation.
func TestPatchEntityUnderANewSchema(t *testing.T) {
	stricter := `{"required":["name","city"]}`
	s := given(t, customerDefined(customerSchema), anaCreated(), customerDefined(stricter))
	s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"name":"Eva"}}`)}).ThenProblem("invalid_attributes")
	s.When(entities.PatchEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"city":"Paris"}}`)}).
		Then(domain.Fact{Stream: entity.Stream(ana), Payload: entity.Updated{Attributes: attrs(`{"city":"Paris"}`), TypeVersion: 2}})
}
