package eventstore

import (
	"runtime"
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

// AwaitQueued returns when so many reads wait for being recorded.
func (r *AccessRecorder) AwaitQueued(t *testing.T, reads int) {
	t.Helper()
	for len(r.queue) < reads {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}
