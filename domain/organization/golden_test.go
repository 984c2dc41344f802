package organization_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/organization"
)

var events = domaintest.Events{
	Kinds: organization.Kinds(), Folds: organization.Folds(), Stream: "organization:x", Samples: samples,
}

var samples = map[string][]domain.Payload{
	"organization.updated": {
		organization.Updated{Settings: organization.Settings{Timezone: "Europe/Paris", FiscalYearStart: "04-01", BaseCurrency: "EUR"}},
		organization.Updated{Settings: organization.Defaults()},
	},
}

func TestGoldenEvents(t *testing.T) { events.Golden(t) }

func FuzzDecode(f *testing.F) { events.FuzzDecode(f) }
