package readmodels

import (
	"context"
	"time"

	"github.com/reactdjango-hub/backend/domain/organization"
)

// organizationsView is the view that holds the settings of organisations.
const organizationsView = "organizations"

// Organization is an organisation with its settings as they are now.
type Organization struct {
	ID              string     `json:"id" doc:"The organisation's name in tokens: org_id." example:"acme"`
	Timezone        string     `json:"timezone" doc:"A time zone of the IANA database." example:"Europe/Paris"`
	FiscalYearStart string     `json:"fiscal_year_start" doc:"The day on which every fiscal year begins: month and day." example:"04-01"`
	BaseCurrency    *string    `json:"base_currency" nullable:"true" doc:"Currency that is reported in (ISO 4217); null until one is chosen." example:"EUR"`
	Version         int64      `json:"version" doc:"Counts the changes; also its ETag." example:"1"`
	UpdatedAt       *time.Time `json:"updated_at" nullable:"true" doc:"When it was last changed; null if never."`
	UpdatedBy       *string    `json:"updated_by" nullable:"true" doc:"Who changed it last; null if nobody did." example:"ana"`
}

// NewOrganization shows settings as they are after so many changes.
func NewOrganization(org string, s organization.Settings, version int64) Organization {
	shown := Organization{ID: org, Timezone: s.Timezone, FiscalYearStart: s.FiscalYearStart, Version: version}
	if s.BaseCurrency != "" {
		shown.BaseCurrency = &s.BaseCurrency
	}
	return shown
}

// Organization gives the settings of an organisation, which every one has.
func (s *Store) Organization(ctx context.Context, org string) (Organization, Snapshot, error) {
	var shown Organization
	at, err := s.read(ctx, org, organizationsView, func(schema string) statement {
		return statement{
			sql: `SELECT ` + heads + `, o.timezone, o.fiscal_year_start, o.base_currency, o.version, o.updated_at, o.updated_by
				FROM ` + pointed + ` LEFT JOIN ` + schema + `.organizations o ON o.org = $2`,
			args: []any{organizationsView, org},
			row: func(scan func(...any) error) error {
				var (
					timezone, fiscalYearStart, baseCurrency, updatedBy *string
					version                                            *int64
					updatedAt                                          *time.Time
				)
				if err := scan(&timezone, &fiscalYearStart, &baseCurrency, &version, &updatedAt, &updatedBy); err != nil {
					return err
				}
				if version == nil {
					shown = NewOrganization(org, organization.Defaults(), 0)
					return nil
				}
				settings := organization.Settings{Timezone: *timezone, FiscalYearStart: *fiscalYearStart, BaseCurrency: *baseCurrency}
				shown = NewOrganization(org, settings, *version)
				at := updatedAt.UTC()
				shown.UpdatedAt, shown.UpdatedBy = &at, updatedBy
				return nil
			},
		}
	})
	return shown, at, err
}
