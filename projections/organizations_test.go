package projections

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/organization"
)

func TestTheLastSettingsOfEachOrganisation(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	set := func(org, timezone, currency string) happening {
		return happening{org, organization.Stream(org), organization.Updated{Settings: organization.Settings{
			Timezone: timezone, FiscalYearStart: "04-01", BaseCurrency: currency,
		}}}
	}
	h.append(t, set("acme", "Europe/Paris", "EUR"), set("other", "UTC", ""), set("acme", "Europe/Rome", "CHF"))
	require.NoError(t, Rebuild(t.Context(), h.with(Organizations()), "organizations", nil))
	h.append(t, set("acme", "Asia/Tokyo", "JPY"))
	h.run(t, New(h.with(Organizations())))
	rows := func() (found [][3]string) {
		var schema string
		require.NoError(t, h.options.Pool.QueryRow(context.Background(), `SELECT schema FROM view_pointers WHERE name = 'organizations'`).Scan(&schema))
		all, err := h.options.Pool.Query(context.Background(), `SELECT org, timezone, base_currency || version FROM `+schema+`.organizations ORDER BY org`)
		require.NoError(t, err)
		for all.Next() {
			var row [3]string
			require.NoError(t, all.Scan(&row[0], &row[1], &row[2]))
			found = append(found, row)
		}
		require.NoError(t, all.Err())
		return found
	}
	h.until(t, "the last settings", func() bool {
		found := rows()
		return len(found) == 2 && found[0] == [3]string{"acme", "Asia/Tokyo", "JPY3"} && found[1] == [3]string{"other", "UTC", "1"}
	})
}
