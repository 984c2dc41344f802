package entities_test

import (
	"encoding/json"
	"testing"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestRestoreEntity(t *testing.T) {
	restore := entities.RestoreEntity{ID: ana}
	defined := customerDefined(customerSchema)

	given(t, defined, anaCreated(), anaArchived()).IfMatch(2).When(restore).
		Named(entity.Stream(ana), entity.OutgoingTag(ana), "entity_type:customer").
		Resource(ana.String(), entity.Stream(ana), false).
		Then(anaRestored())

	given(t, defined, anaCreated()).When(restore).
		Resource(ana.String(), entity.Stream(ana), false).
		ThenNothing()
}

// What does not follow the type any more comes back with what makes it follow.
func TestRestoreEntityUnderANewSchema(t *testing.T) {
	s := given(t, customerDefined(customerSchema), anaCreated(), anaArchived(), customerDefined(`{"required":["city"]}`))
	s.When(entities.RestoreEntity{ID: ana}).ThenProblem("invalid_attributes")
	s.When(entities.RestoreEntity{ID: ana, Patch: json.RawMessage(`{"attributes":{"city":"Paris"}}`)}).Then(
		domain.Fact{Stream: entity.Stream(ana), Payload: entity.Restored{TypeVersion: 2}},
		domain.Fact{Stream: entity.Stream(ana), Payload: entity.Updated{Attributes: attrs(`{"city":"Paris"}`)}},
	)
}

func TestRestoreEntityRefuses(t *testing.T) {
	restore := entities.RestoreEntity{ID: ana}
	given(t).When(restore).ThenProblem("not_found")
	given(t, customerDefined(customerSchema), anaCreated()).IfMatch(4).When(restore).ThenProblem("version_conflict")
}
