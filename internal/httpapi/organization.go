package httpapi

import (
	"context"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/organizations"
	"github.com/reactdjango-hub/backend/domain/organization"
	"github.com/reactdjango-hub/backend/readmodels"
)

const organizationPath = basePath + "/organization"

// OrganizationSettings is the body that sets an organisation's settings, all of them.
type OrganizationSettings struct {
	Timezone        string  `json:"timezone,omitempty" minLength:"1" doc:"A time zone of the IANA database; UTC without one." example:"Europe/Paris"`
	FiscalYearStart string  `json:"fiscal_year_start,omitempty" minLength:"1" doc:"The day on which every fiscal year begins: month and day; 01-01 without one." example:"04-01"`
	BaseCurrency    *string `json:"base_currency,omitempty" minLength:"1" nullable:"true" doc:"Currency that is reported in (ISO 4217); null or absent for none." example:"EUR"`
}

func (s OrganizationSettings) settings() organization.Settings {
	settings := organization.Defaults()
	if s.Timezone != "" {
		settings.Timezone = s.Timezone
	}
	if s.FiscalYearStart != "" {
		settings.FiscalYearStart = s.FiscalYearStart
	}
	if s.BaseCurrency != nil {
		settings.BaseCurrency = *s.BaseCurrency
	}
	return settings
}

// organizationResource is what the command is about. It is never created, so it has
// no collection.
var organizationResource = resource[readmodels.Organization]{kind: organization.StreamKind, view: viewOfOrganization}

// viewOfOrganization shows an organisation as its view does.
func viewOfOrganization(r commands.Resource) (readmodels.Organization, error) {
	view := readmodels.NewOrganization(r.ID, r.State.(organization.Organization).Settings(), r.Version)
	if r.Version > 0 {
		view.UpdatedAt, view.UpdatedBy = &r.Updated.At, &r.Updated.By
	}
	return view, nil
}

type updateOrganizationInput struct{ Body OrganizationSettings }

func (a *API) updateOrganization(ctx context.Context, in *updateOrganizationInput) (*receiptOutput[readmodels.Organization], error) {
	update := organizations.UpdateOrganization{Org: exchangeOf(ctx).caller.Org, Settings: in.Body.settings()}
	return submit(ctx, a, update, organizationResource)
}

type getOrganizationInput struct {
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"timezone"`
}

func (a *API) getOrganization(ctx context.Context, in *getOrganizationInput) (*view[readmodels.Organization], error) {
	shape, err := shapeOf[readmodels.Organization](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.Organization, readmodels.Snapshot, error) {
		return a.reads.Organization(ctx, org)
	})
	if err != nil {
		return nil, err
	}
	return answerOne(ctx, found, at, found.Version, shape, nil)
}
