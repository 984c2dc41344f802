package domain

import (
	"regexp"
	"strings"
	"testing"
)

// Each code is in one table, once, and what took the place of another is in use.
func TestTheTablesOfCurrencies(t *testing.T) {
	form, seen := regexp.MustCompile(`^[A-Z]{3}$`), map[string]bool{}
	code := func(code string) {
		if !form.MatchString(code) || seen[code] {
			t.Errorf("%q is no code, or is there twice", code)
		}
		seen[code] = true
	}
	for _, codes := range currencies {
		for c := range strings.FieldsSeq(codes) {
			code(c)
		}
	}
	for next, codes := range withdrawn {
		if !KnownCurrency(next) {
			t.Errorf("%s, which is to be used instead of %s, is not in use", next, codes)
		}
		for c := range strings.FieldsSeq(codes) {
			code(c)
		}
	}
	for c := range reservedCodes {
		code(c)
	}
}
