package commands

import (
	"context"
	"time"
)

// Answer is what Submit returns.
type Answer struct {
	Receipt Receipt
	Err     error
}

// Turn decides submissions as one turn, in their order, without Run.
func (l *Loop) Turn(ctx context.Context, submissions ...Submission) []Answer {
	calls := make([]*call, len(submissions))
	for i, s := range submissions {
		calls[i] = newCall(s)
	}
	l.turn(ctx, calls)
	answers := make([]Answer, len(calls))
	for i, c := range calls {
		<-c.done
		answers[i] = Answer{c.receipt, c.err}
	}
	return answers
}

// SettleWithin changes how long a turn may try to get a definite outcome.
func (l *Loop) SettleWithin(d time.Duration) { l.settle = d }

// SaveSnapshots saves what waits for it, as Run does.
func (l *Loop) SaveSnapshots(ctx context.Context) error {
	var batch []pendingSnapshot
	for len(l.snapshots.pending) > 0 {
		batch = append(batch, <-l.snapshots.pending)
	}
	return l.snapshots.save(ctx, batch)
}
