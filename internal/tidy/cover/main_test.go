package main

import (
	"strings"
	"testing"
)

const profile = `mode: atomic
github.com/reactdjango-hub/backend/domain/entity/a.go:3.2,5.3 2 0
github.com/reactdjango-hub/backend/domain/entity/a.go:3.2,5.3 2 7
github.com/reactdjango-hub/backend/domain/entity/a.go:9.2,9.9 1 0
github.com/reactdjango-hub/backend/eventstore/b.go:1.1,2.2 17 1
github.com/reactdjango-hub/backend/internal/bench/c.go:1.1,2.2 900 0
`

func TestReportMergesBinariesAndNamesWhatLacks(t *testing.T) {
	blocks, err := parse(strings.NewReader(profile))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = report(&out, blocks)
	if err == nil || !strings.Contains(err.Error(), "domain/entity/ has 66.67 %") || !strings.Contains(err.Error(), "domain/entity/a.go:9  1 statements") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "the whole") || !strings.Contains(out.String(), "  95.0 %  all") {
		t.Errorf("19 of 20 statements are enough for all, got %s and %v", out.String(), err)
	}
}

func TestParseRefusesWhatIsNoProfile(t *testing.T) {
	for _, text := range []string{"nonsense", "a b c", "a.go:1.1,2.2 1"} {
		if _, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
