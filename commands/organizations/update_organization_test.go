package organizations_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/commands/organizations"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/organization"
)

var french = organization.Settings{Timezone: "Europe/Paris", FiscalYearStart: "04-01", BaseCurrency: "EUR"}

func updated(s organization.Settings) domain.Fact {
	return domain.Fact{Stream: "organization:acme", Payload: organization.Updated{Settings: s}}
}

func given(t *testing.T, facts ...domain.Fact) *domaintest.Scenario {
	t.Helper()
	return domaintest.Given(t, organization.Folds(), facts...)
}

func TestUpdateOrganization(t *testing.T) {
	t.Parallel()
	update := organizations.UpdateOrganization{Org: "acme", Settings: french}
	given(t).IfMatch(0).When(update).Then(updated(french))
	given(t).When(update).
		Named("organization:acme").
		Resource("acme", "organization:acme", false).
		Then(updated(french)).
		When(update).ThenNothing()

	// What holds from the start is no change either.
	given(t).When(organizations.UpdateOrganization{Org: "acme", Settings: organization.Defaults()}).ThenNothing()
	given(t, updated(french)).When(organizations.UpdateOrganization{Org: "acme", Settings: organization.Defaults()}).
		Then(updated(organization.Defaults()))
}

func TestUpdateOrganizationRefuses(t *testing.T) {
	t.Parallel()
	given(t).When(organizations.UpdateOrganization{Org: "acme"}).ThenProblem("invalid_settings")
	p := given(t, updated(french)).IfMatch(0).When(organizations.UpdateOrganization{Org: "acme", Settings: french}).ThenProblem("version_conflict")
	if p.Extra["version"] != int64(1) {
		t.Errorf("got %v, want version 1", p.Extra)
	}
}
