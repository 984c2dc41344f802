package domaintest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// counted is an event; counter counts them.
type counted struct{}

func (counted) EventType() string { return "counter.counted" }

type counter int

func (c counter) Evolve(domain.Fact) domain.State { return c + 1 }
func (c counter) Size() int                       { return 8 }

var folds = domain.Folds{"counter": counter(0)}

// decider is made of functions.
type decider struct {
	boundaries func(domain.Reader) []domain.Tag
	decide     func(domain.Reader, domain.Meta) (domain.Decision, error)
}

func (d decider) Boundaries(r domain.Reader) []domain.Tag { return d.boundaries(r) }

func (d decider) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	return d.decide(r, m)
}

func names(tags ...domain.Tag) func(domain.Reader) []domain.Tag {
	return func(domain.Reader) []domain.Tag { return tags }
}

func decides(d domain.Decision, err error) func(domain.Reader, domain.Meta) (domain.Decision, error) {
	return func(domain.Reader, domain.Meta) (domain.Decision, error) { return d, err }
}

func count(tag domain.Tag, tags ...domain.Tag) domain.Fact {
	return domain.Fact{Stream: tag, Tags: tags, Payload: counted{}}
}

// A decision sees the facts before it, by stream and by tag; versions are those of
// streams.
func TestScenario(t *testing.T) {
	s := domaintest.Given(t, folds, count("counter:a", "counter:b", "counter:a"), count("counter:a"))
	s.When(decider{
		// What is not loaded yet reads as empty; b is named once a is there.
		func(r domain.Reader) []domain.Tag {
			if domain.Read[counter](r, "counter:a") == 0 || r.Version("counter:a") == 0 {
				return []domain.Tag{"counter:a"}
			}
			return []domain.Tag{"counter:a", "counter:b"}
		},
		func(r domain.Reader, m domain.Meta) (domain.Decision, error) {
			got := fmt.Sprint(r.State("counter:a"), r.Version("counter:a"), r.State("counter:b"), r.Version("counter:b"), m.Now.Equal(domaintest.Now))
			if got != "2 2 1 0 true" {
				t.Errorf("read %s", got)
			}
			return domain.Decision{ResourceID: "b", Stream: "counter:b", Created: true, Facts: []domain.Fact{count("counter:b")}}, nil
		},
	}).
		Named("counter:b", "counter:a").
		Resource("b", "counter:b", true).
		Then(count("counter:b")).
		IfMatch(1).
		When(decider{names("counter:b"), func(r domain.Reader, m domain.Meta) (domain.Decision, error) {
			if *m.IfMatch != r.Version("counter:b") {
				t.Errorf("the fact before was not recorded")
			}
			return domain.Decision{}, problem.New(problem.Conflict, "conflict", "No.")
		}}).
		ThenProblem("conflict")
}

// recorder takes the place of a test that is to fail.
type recorder struct {
	testing.TB
	message string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	panic(r)
}

// fails runs a scenario that has to fail, by Fatalf or by a panic.
func fails(t *testing.T, want string, run func(testing.TB)) {
	t.Helper()
	r := &recorder{}
	defer func() {
		t.Helper()
		cause := recover()
		if cause != nil && cause != r {
			r.message = fmt.Sprint(cause)
		}
		if cause == nil || !strings.Contains(r.message, want) {
			t.Errorf("failed with %q, want %q", r.message, want)
		}
	}()
	run(r)
}

func TestScenarioIsStrict(t *testing.T) {
	nothing := decides(domain.Decision{}, nil)
	one := decides(domain.Decision{Stream: "counter:a", Facts: []domain.Fact{count("counter:a")}}, nil)
	when := func(d decider) func(testing.TB) {
		return func(tb testing.TB) { domaintest.Given(tb, folds).When(d) }
	}

	fails(t, "without having named it", when(decider{names(), func(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
		return domain.Decision{}, fmt.Errorf("%v", r.State("counter:a"))
	}}))
	fails(t, "refused and decided something", when(decider{names("counter:a"), decides(domain.Decision{Facts: []domain.Fact{count("counter:a")}}, errors.New("no"))}))
	fails(t, "not among the boundaries", when(decider{names(), one}))
	fails(t, "no fold reads", when(decider{names("subject:ana"), func(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
		return domain.Decision{}, fmt.Errorf("%v", r.State("subject:ana"))
	}}))
	fails(t, "without having named the subject", when(decider{names(), func(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
		_, err := r.Open(domain.Sealed{Subject: "ana"})
		return domain.Decision{}, err
	}}))
	fails(t, "did not ask for in Boundaries", when(decider{names(), func(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
		return domain.Decision{}, fmt.Errorf("%s", r.Token("key", "a"))
	}}))
	fails(t, "cannot be a boundary", when(decider{names("junk"), nothing}))
	fails(t, "no fold reads", when(decider{names("other:a"), func(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
		return domain.Decision{}, fmt.Errorf("%v", r.State("other:a"))
	}}))
	fails(t, "not of the form kind:name", func(tb testing.TB) { domaintest.Given(tb, folds, count("counter")) })

	rounds := 0
	fails(t, "new boundaries after", when(decider{func(domain.Reader) []domain.Tag {
		rounds++
		return []domain.Tag{domain.NewTag("counter", fmt.Sprint(rounds))}
	}, nothing}))

	calls := 0
	fails(t, "differently the second time", when(decider{names(), func(domain.Reader, domain.Meta) (domain.Decision, error) {
		calls++
		return domain.Decision{ResourceID: fmt.Sprint(calls)}, nil
	}}))
}

func TestOutcomeIsStrict(t *testing.T) {
	outcome := func(tb testing.TB, err error) *domaintest.Outcome {
		d := domain.Decision{ResourceID: "a", Stream: "counter:a", Facts: []domain.Fact{count("counter:a")}}
		if err != nil {
			d = domain.Decision{}
		}
		return domaintest.Given(tb, folds).When(decider{names("counter:a"), decides(d, err)})
	}
	fails(t, "decided:", func(tb testing.TB) { outcome(tb, nil).ThenNothing() })
	fails(t, "decided:", func(tb testing.TB) { outcome(tb, nil).Then(count("counter:b")) })
	fails(t, "want the problem conflict", func(tb testing.TB) { outcome(tb, nil).ThenProblem("conflict") })
	fails(t, "refused:\nerror: broken", func(tb testing.TB) { outcome(tb, errors.New("broken")).Then() })
	fails(t, "not_found", func(tb testing.TB) {
		outcome(tb, problem.New(problem.NotFound, "not_found", "No.")).ThenProblem("conflict")
	})
	fails(t, "decided about resource", func(tb testing.TB) { outcome(tb, nil).Resource("b", "counter:a", false) })
	fails(t, "named the boundaries", func(tb testing.TB) { outcome(tb, nil).Named() })
}
