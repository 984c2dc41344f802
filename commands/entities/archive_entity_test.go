package entities_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestArchiveEntity(t *testing.T) {
	archive := entities.ArchiveEntity{ID: ana}

	given(t, anaCreated()).IfMatch(1).When(archive).
		Named(entity.Stream(ana), entity.OutgoingTag(ana), entity.IncomingTag(ana)).
		Resource(ana.String(), entity.Stream(ana), false).
		Then(anaArchived())

	given(t, anaCreated(), anaArchived()).When(archive).
		Resource(ana.String(), entity.Stream(ana), false).
		ThenNothing()
}

func TestArchiveEntityRefuses(t *testing.T) {
	archive := entities.ArchiveEntity{ID: ana}
	given(t).When(archive).ThenProblem("not_found")
	given(t, anaCreated(), anaArchived()).IfMatch(1).When(archive).ThenProblem("version_conflict")
}
