package entities_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestRestoreEntity(t *testing.T) {
	restore := entities.RestoreEntity{ID: ana}

	given(t, anaCreated(), anaArchived()).IfMatch(2).When(restore).
		Named(entity.Stream(ana)).
		Resource(ana.String(), entity.Stream(ana), false).
		Then(anaRestored())

	given(t, anaCreated()).When(restore).
		Resource(ana.String(), entity.Stream(ana), false).
		ThenNothing()
}

func TestRestoreEntityRefuses(t *testing.T) {
	restore := entities.RestoreEntity{ID: ana}
	given(t).When(restore).ThenProblem("not_found")
	given(t, anaCreated()).IfMatch(4).When(restore).ThenProblem("version_conflict")
}
