package domain_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/reactdjango-hub/backend/domain"
)

func TestTimezonesAreKnownToGo(t *testing.T) {
	for _, name := range domain.Timezones() {
		if _, err := time.LoadLocation(name); err != nil || !domain.KnownTimezone(name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if found := len(domain.Timezones()); found < 500 {
		t.Errorf("only %d zones", found)
	}
	for _, name := range []string{"", "utc", "Local", "Factory", "Europe/paris", "CEST", "+01:00", "Europe/", "../etc/passwd"} {
		if domain.KnownTimezone(name) {
			t.Errorf("%q is known", name)
		}
	}
}
