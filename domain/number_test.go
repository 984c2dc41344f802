package domain_test

import (
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
)

func TestNumberFits(t *testing.T) {
	for text, want := range map[string]bool{
		"0":                                   true,
		"-12.50":                              true,
		strings.Repeat("9", 300):              true,
		strings.Repeat("9", 309):              false, // beyond the largest double
		"0." + strings.Repeat("0", 330):       true,  // zero, however long
		"0." + strings.Repeat("0", 330) + "1": false, // would become zero
		"1" + strings.Repeat("0", 308):        true,
		strings.Repeat("1", 401):              false,
		"1.7976931348623157e308":              true,
		"1e309":                               false,
		"-1E+309":                             false,
		"5e-324":                              true,
		"1e-400":                              false,
		"0e400":                               true,
		"0e401":                               false,
		"0e-99999999":                         false,
		"1e99999999999999999999":              false,
	} {
		if got := domain.NumberFits(text); got != want {
			t.Errorf("NumberFits(%.20s…, %d bytes) = %v, want %v", text, len(text), got, want)
		}
	}
}
