package access_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/access"
	"github.com/reactdjango-hub/backend/domain/domaintest"
)

func TestGoldenEvents(t *testing.T) {
	domaintest.Events{
		Kinds: access.Kinds(), Stream: "access:x",
		Samples: map[string][]domain.Payload{"access.recorded": {
			access.Recorded{Route: "GET /api/v1/entities/{id}", Attributes: []string{"diagnosis", "iban"}},
			access.Recorded{Route: "GET /api/v1/entities/{id}/history", Attributes: []string{}, Reasons: true},
		}},
	}.Golden(t)
}
