package commands

import "github.com/reactdjango-hub/backend/domain/problem"

// maxItemAttempts are made of a single item before it is left behind.
const maxItemAttempts = 3

// Pace finds the items that the steps of a job fail of, so that they do not hold up the
// others: the next one alone is tried, and then left behind. After that steps grow again.
// The zero Pace is that of a job whose steps have not failed.
type Pace struct {
	// Most is how many items the next step may have, 0 for as many as it can. Unfit is the
	// code of why the next item is to be left behind, or "".
	Most  int
	Unfit string
	// attempts counts those of a single item that have failed.
	attempts int
}

// Done notes that a step was done.
func (p *Pace) Done() { p.Most, p.Unfit, p.attempts = 2*p.Most, "", 0 }

// Failed notes that a step has failed, by no fault of what it needs. It reports false when
// nothing else can be tried.
func (p *Pace) Failed(err error) bool {
	refusal := problem.Of(err)
	switch {
	case p.Unfit != "":
		return false
	case p.Most != 1:
		p.Most = 1
	case refusal == nil && p.attempts+1 < maxItemAttempts:
		p.attempts++
	case refusal == nil:
		p.Unfit = "internal"
	default:
		p.Unfit = refusal.Code
	}
	return true
}
