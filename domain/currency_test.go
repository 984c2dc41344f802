package domain_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/domain"
)

func TestKnownCurrencies(t *testing.T) {
	for _, code := range []string{"EUR", "USD", "JPY", "KWD", "CHF", "ZWG"} {
		if !domain.KnownCurrency(code) || domain.CurrencyFault(code) != "" {
			t.Errorf("%s is not known", code)
		}
	}
	for _, code := range []string{"", "eur", "EURO", "XTS", "XAU", "DEM", "EU", " EUR"} {
		if domain.KnownCurrency(code) || domain.CurrencyFault(code) == "" {
			t.Errorf("%q is known", code)
		}
	}
}

func TestCurrencyDigits(t *testing.T) {
	for code, digits := range map[string]int{"JPY": 0, "ISK": 0, "UGX": 0, "EUR": 2, "MGA": 2, "MRU": 2, "BHD": 3, "KWD": 3, "CLF": 4, "UYW": 4} {
		if got := domain.CurrencyDigits(code); got != digits {
			t.Errorf("%s has %d digits, want %d", code, got, digits)
		}
	}
}

// Whoever writes a code that is none is told what to write.
func TestCurrencyFaults(t *testing.T) {
	for code, want := range map[string]string{
		"DEM":      "was withdrawn; use EUR",
		"BGN":      "was withdrawn; use EUR",
		"ANG":      "was withdrawn; use XCG",
		"XAU":      "is the code of gold, not of a currency",
		"SUR":      "was withdrawn; use RUB",
		"CSK":      "was withdrawn; use CZK",
		"XTS":      "is the code of tests, not of a currency",
		"XX" + "X": "is the code of transactions without a currency, not of a currency",
		"xxx":      "must be written in capitals",
		"eur":      "must be written in capitals",
		"dem":      "must be written in capitals",
		"xau":      "must be written in capitals",
		"EURO":     "must be a code of ISO 4217, as EUR",
		"euro":     "must be a code of ISO 4217, as EUR",
		"":         "must be a code of ISO 4217, as EUR",
	} {
		if got := domain.CurrencyFault(code); got != want {
			t.Errorf("%q %s, want: %s", code, got, want)
		}
	}
}
