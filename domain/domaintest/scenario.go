// Package domaintest tests deciders without a log: given facts, when a command
// comes, then these facts or this problem.
//
//	domaintest.Given(t, entity.Folds(), created).
//		When(entities.ArchiveEntity{ID: id}).
//		Then(archived)
//
// It is strict where the command loop is: a decider may read only boundaries that
// it named, must settle in a few rounds and must decide the same twice.
package domaintest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// maxRounds is how often a decider may name further boundaries.
const maxRounds = 8

// Now is the time of every command unless With says otherwise.
var Now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// Scenario is what has happened so far.
type Scenario struct {
	t        testing.TB
	folds    domain.Folds
	states   map[domain.Tag]domain.State
	versions map[domain.Tag]int64
	meta     domain.Meta
	// facts counts what was recorded; ids are made of it. tokens are those asked for.
	facts  byte
	tokens map[string]string
	// erased are the subjects whose values nobody can open any more.
	erased map[string]bool
}

// Given starts a scenario in which these facts have been recorded.
func Given(t testing.TB, folds domain.Folds, facts ...domain.Fact) *Scenario {
	s := &Scenario{
		t: t, folds: folds,
		states:   map[domain.Tag]domain.State{},
		versions: map[domain.Tag]int64{},
		tokens:   map[string]string{}, erased: map[string]bool{},
		meta: domain.Meta{
			Org:       "acme",
			Actor:     domain.Actor{Sub: "ana", Person: "ana"},
			Roles:     []string{"editor"},
			Now:       Now,
			CommandID: uuid.MustParse("01900000-0000-7000-8000-00000000c0de"),
		},
	}
	for _, f := range facts {
		s.record(f)
	}
	return s
}

// record folds a fact into every boundary that it moves, as the loop does.
func (s *Scenario) record(f domain.Fact) {
	s.t.Helper()
	s.versions[f.Stream]++
	s.facts++
	f.ID = uuid.UUID{15: s.facts}
	f.Payload = sealed(f.ID, f.Payload)
	for _, tag := range boundaries(f) {
		if err := tag.Validate(); err != nil {
			s.t.Fatalf("%s: %v", f.Payload.EventType(), err)
		}
		s.states[tag] = s.state(tag).Evolve(f)
	}
}

// boundaries are the tags that a fact moves, each once.
func boundaries(f domain.Fact) []domain.Tag {
	tags := append([]domain.Tag{f.Stream}, f.Tags...)
	slices.Sort(tags)
	return slices.DeleteFunc(slices.Compact(tags), func(t domain.Tag) bool { return !t.Boundary() })
}

func (s *Scenario) state(tag domain.Tag) domain.State {
	s.t.Helper()
	if state, found := s.states[tag]; found {
		return state
	}
	return s.empty(tag)
}

func (s *Scenario) empty(tag domain.Tag) domain.State {
	s.t.Helper()
	empty, found := s.folds[tag.Kind()]
	if !found {
		s.t.Fatalf("no fold reads the boundary %q", tag)
	}
	return empty
}

// With changes the metadata of the commands to come.
func (s *Scenario) With(change func(*domain.Meta)) *Scenario {
	change(&s.meta)
	return s
}

// IfMatch makes the commands to come expect this version.
func (s *Scenario) IfMatch(version int64) *Scenario {
	return s.With(func(m *domain.Meta) { m.IfMatch = &version })
}

// When lets the decider decide. Its facts are recorded in the scenario, so that
// another When can follow.
func (s *Scenario) When(d domain.Decider) *Outcome {
	s.t.Helper()
	r := &reader{scenario: s, named: map[domain.Tag]bool{}}
	r.settle(d)
	r.deciding = true
	d.Boundaries(r)
	decision, err := d.Decide(r, s.meta)
	again, errAgain := d.Decide(r, s.meta)
	if a, b := describe(decision, err), describe(again, errAgain); a != b {
		s.t.Fatalf("the decider decided differently the second time:\n%s\nthen:\n%s", a, b)
	}
	if err != nil && len(decision.Facts) > 0 {
		s.t.Fatalf("the decider refused and decided something nevertheless:\n%s", describeFacts(decision.Facts))
	}
	for _, f := range decision.Facts {
		if !r.named[f.Stream] {
			s.t.Fatalf("the fact %s goes to the stream %q, which is not among the boundaries", f.Payload.EventType(), f.Stream)
		}
		for _, subject := range f.Subjects {
			if !r.named[domain.SubjectTag(subject)] {
				s.t.Fatalf("the fact %s is about the subject %q, which is not named: why it was done could not be sealed", f.Payload.EventType(), subject)
			}
		}
		s.record(f)
	}
	return &Outcome{t: s.t, scenario: s, Decision: decision, Err: err, Boundaries: r.order}
}

// reader gives a decider what it named. While it still names boundaries, one that
// is not loaded yet reads as empty; once it decides, reading that panics.
type reader struct {
	scenario *Scenario
	named    map[domain.Tag]bool
	order    []domain.Tag
	deciding bool
	// asked says that a token was asked for that was not there yet.
	asked bool
}

// settle asks for boundaries until nothing new is named.
func (r *reader) settle(d domain.Decider) {
	r.scenario.t.Helper()
	rounds := maxRounds
	if walker, ok := d.(domain.Walker); ok {
		rounds = max(rounds, walker.Rounds())
	}
	for range rounds {
		r.asked = false
		fresh := slices.DeleteFunc(slices.Clone(d.Boundaries(r)), func(t domain.Tag) bool { return r.named[t] })
		if len(fresh) == 0 && !r.asked {
			return
		}
		for _, tag := range fresh {
			if err := tag.Validate(); err != nil {
				r.scenario.t.Fatalf("%q cannot be a boundary: %v", tag, err)
			}
			if !r.named[tag] {
				r.named[tag] = true
				r.order = append(r.order, tag)
			}
		}
	}
	r.scenario.t.Fatalf("the decider still names new boundaries after %d rounds", rounds)
}

// State implements domain.Reader.
func (r *reader) State(tag domain.Tag) domain.State {
	if !r.loaded(tag) {
		return r.scenario.empty(tag)
	}
	return r.scenario.state(tag)
}

// Version implements domain.Reader.
func (r *reader) Version(tag domain.Tag) int64 {
	if !r.loaded(tag) {
		return 0
	}
	return r.scenario.versions[tag]
}

func (r *reader) loaded(tag domain.Tag) bool {
	if r.deciding && !r.named[tag] {
		panic(fmt.Sprintf("the decider read the boundary %q without having named it", tag))
	}
	return r.named[tag]
}

// describe writes a decision so that two can be compared and read.
func describe(d domain.Decision, err error) string {
	if err != nil {
		p := problem.Of(err)
		if p == nil {
			return "error: " + err.Error()
		}
		return "problem: " + indented(p)
	}
	return fmt.Sprintf("resource %s, stream %s, created %v\n%s", d.ResourceID, d.Stream, d.Created, describeFacts(d.Facts))
}

// describeFacts writes facts as JSON: that is what would be stored.
func describeFacts(facts []domain.Fact) string {
	type row struct {
		Type     string
		Stream   domain.Tag
		Tags     []domain.Tag `json:",omitempty"`
		Subjects []string     `json:",omitempty"`
		Reason   *string      `json:",omitempty"`
		Data     domain.Payload
	}
	rows := make([]row, len(facts))
	for i, f := range facts {
		tags := slices.Clone(f.Tags)
		slices.Sort(tags)
		rows[i] = row{f.Payload.EventType(), f.Stream, tags, f.Subjects, f.Reason, shown(f.Payload)}
	}
	return indented(rows)
}

func indented(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Sprintf("%#v (%v)", v, err)
	}
	return string(text)
}
