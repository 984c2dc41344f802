package domaintest

import (
	"slices"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Outcome is what a decider decided.
type Outcome struct {
	t        testing.TB
	scenario *Scenario

	Decision domain.Decision
	Err      error
	// Boundaries are those named, in the order they were named in.
	Boundaries []domain.Tag
}

// Then expects exactly these facts, and returns the scenario with them recorded.
func (o *Outcome) Then(facts ...domain.Fact) *Scenario {
	o.t.Helper()
	if o.Err != nil {
		o.t.Fatalf("refused:\n%s", describe(o.Decision, o.Err))
	}
	if got, want := describeFacts(o.Decision.Facts), describeFacts(facts); got != want {
		o.t.Fatalf("decided:\n%s\nwant:\n%s", got, want)
	}
	return o.scenario
}

// ThenNothing expects that nothing had to change.
func (o *Outcome) ThenNothing() *Scenario {
	o.t.Helper()
	return o.Then()
}

// ThenProblem expects a refusal with this code and returns it.
func (o *Outcome) ThenProblem(code string) *problem.Problem {
	o.t.Helper()
	p := problem.Of(o.Err)
	if p == nil || p.Code != code {
		o.t.Fatalf("decided:\n%s\nwant the problem %s", describe(o.Decision, o.Err), code)
	}
	return p
}

// Resource expects the receipt to be about this resource.
func (o *Outcome) Resource(id string, stream domain.Tag, created bool) *Outcome {
	o.t.Helper()
	if d := o.Decision; d.ResourceID != id || d.Stream != stream || d.Created != created {
		o.t.Fatalf("decided about resource %q, stream %q, created %v; want %q, %q, %v",
			d.ResourceID, d.Stream, d.Created, id, stream, created)
	}
	return o
}

// Named expects these boundaries, in any order.
func (o *Outcome) Named(tags ...domain.Tag) *Outcome {
	o.t.Helper()
	got, want := slices.Sorted(slices.Values(o.Boundaries)), slices.Sorted(slices.Values(tags))
	if !slices.Equal(got, want) {
		o.t.Fatalf("named the boundaries %q, want %q", got, want)
	}
	return o
}
