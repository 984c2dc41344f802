package logevent_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/logevent"
)

func TestGoldenEvents(t *testing.T) {
	domaintest.Events{Kinds: logevent.Kinds(), Samples: map[string][]domain.Payload{
		"log.forked": {logevent.Forked{
			ForkPosition: 80,
			OldEpoch:     uuid.MustParse("480634a2-10ff-4f0b-b6b8-1e09f748ea6e"),
			NewEpoch:     uuid.MustParse("9e1e87cf-44a2-4f0e-9a2f-6d4f8a3d4b11"),
			LostFrom:     81, LostThrough: 100,
		}},
	}}.Golden(t)
}
