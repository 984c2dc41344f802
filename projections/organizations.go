package projections

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/organization"
)

// Organizations is the view of the settings of organisations. One that never changed
// them has no row.
func Organizations() Projection {
	return Projection{
		Name: "organizations", Version: 1,
		Types:  []string{organization.Updated{}.EventType()},
		Tables: []string{"organizations"},
		DDL: func(schema string) string {
			return `
				CREATE TABLE ` + schema + `.organizations (
					org               text COLLATE "C" NOT NULL PRIMARY KEY,
					timezone          text             NOT NULL,
					fiscal_year_start text             NOT NULL,
					base_currency     text             NOT NULL, -- '' for none
					version           bigint           NOT NULL,
					updated_at        timestamptz      NOT NULL,
					updated_by        text             NOT NULL
				);`
		},
		Indexes: func(string) string { return "" }, // the primary key is all that is asked by
		Apply:   applyOrganizations,
	}
}

// applyOrganizations queues a statement for each organisation of the batch, with its
// last word: such events are rare.
func applyOrganizations(batch *pgx.Batch, schema string, events []Event) error {
	last := map[string]Event{}
	var order []string
	for _, e := range events {
		if _, found := last[e.Org]; !found {
			order = append(order, e.Org)
		}
		last[e.Org] = e
	}
	for _, org := range order {
		e := last[org]
		p, ok := e.Payload.(organization.Updated)
		if !ok {
			return fmt.Errorf("event type %s at position %d is not part of this view", e.Type, e.Position)
		}
		batch.Queue(`
			INSERT INTO `+schema+`.organizations (org, timezone, fiscal_year_start, base_currency, version, updated_at, updated_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (org) DO UPDATE
			   SET timezone = excluded.timezone, fiscal_year_start = excluded.fiscal_year_start, base_currency = excluded.base_currency,
			       version = excluded.version, updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
			org, p.Timezone, p.FiscalYearStart, p.BaseCurrency, e.Version, e.RecordedAt, e.Actor.Sub)
	}
	return nil
}
