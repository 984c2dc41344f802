package domain_test

import (
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
)

func TestUnsafeCharacters(t *testing.T) {
	for _, r := range "\x00\x07\x1b\x7f\u0085\u009f\u202a\u202e\u2066\u2069" {
		if !domain.UnsafeRune(r) || !domain.UnsafeInName(r) {
			t.Errorf("%U is let through", r)
		}
	}
	for _, r := range "\t\r\n" {
		if domain.UnsafeRune(r) || !domain.UnsafeInName(r) {
			t.Errorf("%U belongs into texts of several lines and nowhere else", r)
		}
	}
	// Marks that scripts from right to left and emoji are made of are no tricks.
	if safe := "az \u00a0é\u200d\u200e\u200f\u061c\u2028\u2070🙂ب"; strings.ContainsFunc(safe, domain.UnsafeInName) {
		t.Errorf("%q is refused", safe)
	}
}
