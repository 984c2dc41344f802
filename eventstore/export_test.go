package eventstore

import (
	"testing"
	"time"
)

// Round goes through the whole table, some pages at a time, and returns in how many
// steps.
func (p *Purge) Round(t *testing.T, pages int) (steps int) {
	t.Helper()
	for {
		if _, err := p.step(t.Context(), pages); err != nil {
			t.Fatal(err)
		}
		if steps++; p.next == 0 {
			return steps
		}
	}
}

// Every changes how often Run does its share.
func (p *Purge) Every(interval time.Duration) { p.interval = interval }
