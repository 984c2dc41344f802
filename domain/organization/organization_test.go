package organization_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/domain/organization"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestSettingsThatCannotBeUsed(t *testing.T) {
	good := organization.Settings{Timezone: "Europe/Paris", FiscalYearStart: "04-01", BaseCurrency: "EUR"}
	for name, test := range map[string]struct {
		change   func(*organization.Settings)
		location string
	}{
		"no zone":           {func(s *organization.Settings) { s.Timezone = "" }, "body.timezone"},
		"an offset":         {func(s *organization.Settings) { s.Timezone = "+02:00" }, "body.timezone"},
		"the machine's":     {func(s *organization.Settings) { s.Timezone = "Local" }, "body.timezone"},
		"leap day":          {func(s *organization.Settings) { s.FiscalYearStart = "02-29" }, "body.fiscal_year_start"},
		"no such day":       {func(s *organization.Settings) { s.FiscalYearStart = "04-31" }, "body.fiscal_year_start"},
		"a month alone":     {func(s *organization.Settings) { s.FiscalYearStart = "04" }, "body.fiscal_year_start"},
		"one digit":         {func(s *organization.Settings) { s.FiscalYearStart = "4-1" }, "body.fiscal_year_start"},
		"a whole date":      {func(s *organization.Settings) { s.FiscalYearStart = "2026-04-01" }, "body.fiscal_year_start"},
		"small letters":     {func(s *organization.Settings) { s.BaseCurrency = "eur" }, "body.base_currency"},
		"no such currency":  {func(s *organization.Settings) { s.BaseCurrency = "XTS" }, "body.base_currency"},
		"currency by name":  {func(s *organization.Settings) { s.BaseCurrency = "Euro" }, "body.base_currency"},
		"nothing but space": {func(s *organization.Settings) { s.BaseCurrency = " " }, "body.base_currency"},
	} {
		s := good
		test.change(&s)
		_, err := s.Decide("acme", organization.Organization{})
		p := problem.Of(err)
		if p == nil || p.Code != "invalid_settings" || len(p.Fields) != 1 || p.Fields[0].Location != test.location {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (organization.Settings{}).Decide("acme", organization.Organization{}); len(problem.Of(err).Fields) != 2 {
		t.Errorf("all faults are named at once: %v", err)
	}
}
