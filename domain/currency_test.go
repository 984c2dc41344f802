package domain_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/domain"
)

func TestKnownCurrencies(t *testing.T) {
	for _, code := range []string{"EUR", "USD", "JPY", "KWD", "CHF", "ZWG"} {
		if !domain.KnownCurrency(code) {
			t.Errorf("%s is not known", code)
		}
	}
	for _, code := range []string{"", "eur", "EURO", "XTS", "XAU", "DEM", "EU", " EUR"} {
		if domain.KnownCurrency(code) {
			t.Errorf("%q is known", code)
		}
	}
}
