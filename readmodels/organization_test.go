package readmodels_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/organization"
	"github.com/reactdjango-hub/backend/readmodels"
)

func TestOrganization(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	at := h.append(t, "acme", organization.Stream("acme"), organization.Updated{Settings: organization.Settings{
		Timezone: "Europe/Paris", FiscalYearStart: "04-01", BaseCurrency: "EUR",
	}})
	h.project(t)
	found, snapshot, err := h.reads.Organization(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, at, snapshot.Position)
	require.WithinDuration(t, time.Now(), *found.UpdatedAt, time.Hour)
	found.UpdatedAt = nil
	euro, ana := "EUR", "ana"
	require.Equal(t, readmodels.Organization{
		ID: "acme", Timezone: "Europe/Paris", FiscalYearStart: "04-01", BaseCurrency: &euro, Version: 1, UpdatedBy: &ana,
	}, found)

	h.trips.reset()
	untouched, snapshot, err := h.reads.Organization(t.Context(), "other")
	require.NoError(t, err)
	require.Equal(t, at, snapshot.Position)
	require.Equal(t, readmodels.NewOrganization("other", organization.Defaults(), 0), untouched)
	require.Nil(t, untouched.BaseCurrency)
	require.Contains(t, h.trips.reset(), "1 batches, 0 queries")
}
