package entities_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

var (
	job  = uuid.MustParse("0190aaaa-0000-7000-8000-0000000000aa")
	days = [2]string{"2026-03-01", "2026-02-28"}
)

const toGold = `{"attributes":{"segment":"gold"}}`

// start is the command that starts a job of ana, who is an editor.
func start(document string, selected ...entity.Selected) entities.StartBulkUpdate {
	return entities.StartBulkUpdate{Days: days, Update: entity.NewBulkUpdate{
		ID: job, Document: json.RawMessage(document), Filter: entity.BulkFilter{Type: "customer"}, SelectedAt: 7, Selected: selected,
	}}
}

func owner(sub string, roles ...string) domain.JobOwner {
	return domain.JobOwner{Actor: domain.Actor{Sub: sub, Person: sub}, Roles: roles, Groups: []string{}}
}

// started is what it records, of as many as are selected.
func started(total int) domain.Fact {
	patch := domain.NewSecret(json.RawMessage(`{"segment":"gold"}`), true, job.String())
	return domain.Fact{
		Stream: entity.BulkUpdateStream(job), Tags: []domain.Tag{"jobs:2026-03-01"},
		Payload: entity.BulkUpdateStarted{
			By: owner("ana", "editor"), Day: "2026-03-01", Total: total, Filter: entity.BulkFilter{Type: "customer"}, SelectedAt: 7,
			Names: []string{"segment"}, Patch: &patch,
		},
	}
}

func selected(some ...entity.Selected) domain.Fact {
	var named entity.BulkUpdateSelected
	for _, one := range some {
		named.IDs, named.Versions = append(named.IDs, one.ID), append(named.Versions, one.Version)
	}
	return domain.Fact{Stream: entity.BulkUpdateStream(job), Payload: named}
}

func progressed(through, updated, unchanged int, failed ...domain.JobFailure) domain.Fact {
	return domain.Fact{Stream: entity.BulkUpdateStream(job), Payload: entity.BulkUpdateProgressed{
		Through: through, Updated: updated, Unchanged: unchanged, Failed: failed,
	}}
}

func ended(payload domain.Payload) domain.Fact {
	return domain.Fact{Stream: entity.BulkUpdateStream(job), Tags: []domain.Tag{"jobs:2026-03-01"}, Payload: payload}
}

// person is an entity of a number.
func person(n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("0190bbbb-0000-7000-8000-%012d", n))
}

func filed(id uuid.UUID, attributes string) domain.Fact {
	return domain.Fact{Stream: entity.Stream(id), Payload: entity.Created{Type: "customer", Attributes: attrs(attributes), Tags: []string{}, TypeVersion: 1}}
}

func gold(id uuid.UUID) domain.Fact {
	return domain.Fact{Stream: entity.Stream(id), Payload: entity.Updated{Attributes: attrs(`{"segment":"gold"}`)}}
}

func TestStartBulkUpdate(t *testing.T) {
	boundaries := []domain.Tag{entity.BulkUpdateStream(job), "jobs:2026-03-01", "jobs:2026-02-28"}
	given(t).When(start(toGold, entity.Selected{ID: ana, Version: 3})).
		Named(append(boundaries, domain.SubjectTag(job.String()))...).
		Resource(job.String(), entity.BulkUpdateStream(job), true).
		Then(started(1), selected(entity.Selected{ID: ana, Version: 3}))

	given(t).When(start(toGold)).Then(started(0), ended(entity.BulkUpdateCompleted{}))

	// Why is sealed with it, as it may speak of whom the job will change, and in no event in clear.
	because, none := domain.NewSecret(json.RawMessage(`"They \"asked\""`), true, job.String()), ""
	first, rest := started(1), selected(entity.Selected{ID: ana, Version: 3})
	payload := first.Payload.(entity.BulkUpdateStarted)
	payload.Because = &because
	first.Payload, first.Reason, rest.Reason = payload, &none, &none
	asked := func(m *domain.Meta) { m.Reason = `They "asked"` }
	given(t).With(asked).When(start(toGold, entity.Selected{ID: ana, Version: 3})).Then(first, rest)

	// Tags are labels and not sealed.
	decided := given(t).When(start(`{"tags":["b","a"]}`)).Named(append(boundaries, domain.SubjectTag(job.String()))...)
	if tags := decided.Decision.Facts[0].Payload.(entity.BulkUpdateStarted).Tags; !slices.Equal(tags, []string{"a", "b"}) {
		t.Errorf("%v", tags)
	}

	// Events that name entities stay below what an event may have.
	var many []entity.Selected
	for n := range entity.MaxBulk {
		many = append(many, entity.Selected{ID: person(n), Version: 1_000_000})
	}
	facts := given(t).When(start(toGold, many...)).Decision.Facts
	var all []uuid.UUID
	for _, fact := range facts[1:] {
		data, err := json.Marshal(fact.Payload)
		if err != nil || len(data) > 250_000 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		all = append(all, fact.Payload.(entity.BulkUpdateSelected).IDs...)
	}
	if len(all) != entity.MaxBulk || all[entity.MaxBulk-1] != person(entity.MaxBulk-1) {
		t.Errorf("%d are named", len(all))
	}
}

func TestStartBulkUpdateRefuses(t *testing.T) {
	for document, code := range map[string]string{
		`[]`: "invalid_patch", `{}`: "invalid_patch", `{"attributes":null}`: "invalid_patch", `{"attributes":{}}`: "invalid_patch",
		`{"key":"a"}`: "unknown_field", `{"tags":[""]}`: "invalid_tags", `{"attributes":{"a":{"$sealed":"x"}}}`: "invalid_attributes",
	} {
		given(t).When(start(document, entity.Selected{ID: ana, Version: 1})).ThenProblem(code)
	}
	// What is new has no version that somebody could have read.
	given(t).IfMatch(1).When(start(toGold, entity.Selected{ID: ana, Version: 1})).ThenProblem("version_conflict")
}

// An organisation, and each caller, may have so many jobs under way; those of yesterday count.
func TestRoomForJobs(t *testing.T) {
	run := func(n int, sub, day string) domain.Fact {
		return domain.Fact{
			Stream: entity.BulkUpdateStream(person(n)), Tags: []domain.Tag{domain.OpenJobsTag(day)},
			Payload: entity.BulkUpdateStarted{By: owner(sub), Day: day},
		}
	}
	var own, all []domain.Fact
	for n := range 20 {
		day := days[n%2]
		if n < 5 {
			own = append(own, run(n, "ana", day))
		}
		all = append(all, run(n, fmt.Sprint("user", n), day))
	}
	one := start(toGold, entity.Selected{ID: ana, Version: 1})
	given(t, own[:4]...).When(one).Then(started(1), selected(entity.Selected{ID: ana, Version: 1}))
	if p := given(t, own...).When(one).ThenProblem("too_many_jobs"); p.Kind != problem.Throttled || p.RetryAfter == 0 {
		t.Errorf("%+v", p)
	}
	given(t, all[:19]...).When(one).Then(started(1), selected(entity.Selected{ID: ana, Version: 1}))
	given(t, all...).When(one).ThenProblem("too_many_jobs")
	for _, end := range []domain.Payload{entity.BulkUpdateCompleted{}, entity.BulkUpdateCancelled{}, entity.BulkUpdateFailed{Code: "x"}} {
		over := domain.Fact{Stream: entity.BulkUpdateStream(person(0)), Tags: []domain.Tag{domain.OpenJobsTag(days[0])}, Payload: end}
		given(t, append(slices.Clone(all), over)...).When(one).Then(started(1), selected(entity.Selected{ID: ana, Version: 1}))
	}
}

func TestAdvanceBulkUpdate(t *testing.T) {
	shared := func(id uuid.UUID, entries ...entity.ACLEntry) domain.Fact {
		return domain.Fact{Stream: entity.Stream(id), Payload: entity.AccessChanged{Entries: entries}}
	}
	facts := []domain.Fact{
		customerDefined(`{"type":"object","required":["name"],"properties":{"segment":{"type":"string"}}}`),
		filed(person(1), `{"name":"A"}`),
		filed(person(2), `{"name":"B","segment":"gold"}`),
		filed(person(3), `{}`),
		filed(person(4), `{"name":"D"}`), {Stream: entity.Stream(person(4)), Payload: entity.Archived{}},
		filed(person(5), `{"name":"E"}`), shared(person(5), entity.ACLEntry{Principal: "user:eve", Rights: []entity.Right{entity.MayRead}}),
		filed(person(6), `{"name":"F"}`), shared(person(6), entity.ACLEntry{Principal: "user:ana", Rights: []entity.Right{entity.MayRead}}),
		filed(person(7), `{"name":"G"}`), {Stream: entity.Stream(person(7)), Payload: entity.Updated{Attributes: attrs(`{"name":"H"}`)}},
	}
	var set []entity.Selected
	for i, version := range []int64{1, 1, 1, 2, 1, 2, 1} {
		set = append(set, entity.Selected{ID: person(i + 1), Version: version})
	}
	failures := []domain.JobFailure{
		{Item: person(3).String(), Code: "invalid_attributes", Fields: []problem.Field{{Location: "body.attributes/name", Message: "is required"}}},
		{Item: person(4).String(), Code: "conflict"},
		{Item: person(5).String(), Code: "not_found"}, // and not that it has changed, which ana may not know
		{Item: person(6).String(), Code: "forbidden"},
		{Item: person(7).String(), Code: "version_conflict"},
	}
	begun := func(change func(*entity.BulkUpdateStarted)) []domain.Fact {
		first := started(len(set))
		payload := first.Payload.(entity.BulkUpdateStarted)
		change(&payload)
		first.Payload = payload
		return append(slices.Clone(facts), first, selected(set...))
	}
	advance := entities.AdvanceBulkUpdate{ID: job}
	byAReactor := func(m *domain.Meta) { m.Roles, m.Actor = nil, domain.Actor{Sub: "system:reactor"} }

	// Whoever gives the command, the rights are those of who has started the job.
	s := given(t, begun(func(*entity.BulkUpdateStarted) {})...).With(byAReactor).When(advance).
		Named(entity.BulkUpdateStream(job), domain.SubjectTag(job.String()), "entity_type:customer", entity.Stream(person(1)), entity.Stream(person(2)),
			entity.Stream(person(3)), entity.Stream(person(4)), entity.Stream(person(5)), entity.Stream(person(6)), entity.Stream(person(7))).
		Then(gold(person(1)), progressed(7, 1, 1, failures...), ended(entity.BulkUpdateCompleted{}))
	s.When(advance).ThenNothing()

	given(t, begun(func(b *entity.BulkUpdateStarted) { b.Merge = true })...).With(byAReactor).When(advance).
		Then(gold(person(1)), gold(person(7)), progressed(7, 2, 1, failures[:4]...), ended(entity.BulkUpdateCompleted{}))

	given(t, begun(func(b *entity.BulkUpdateStarted) { b.By = owner("bob", "viewer") })...).When(entities.AdvanceBulkUpdate{ID: job, Pace: commands.Pace{Most: 1}}).
		Then(progressed(1, 0, 0, domain.JobFailure{Item: person(1).String(), Code: "forbidden"}))

	// Step by step it comes to the same, and what cannot be decided on is left behind.
	s = given(t, begun(func(*entity.BulkUpdateStarted) {})...).When(entities.AdvanceBulkUpdate{ID: job, Pace: commands.Pace{Most: 2}}).
		Then(gold(person(1)), progressed(2, 1, 1)).
		When(entities.AdvanceBulkUpdate{ID: job, Pace: commands.Pace{Unfit: "event_too_large", Most: 1}}).
		Named(entity.BulkUpdateStream(job), domain.SubjectTag(job.String())).
		Then(progressed(3, 0, 0, domain.JobFailure{Item: person(3).String(), Code: "event_too_large"})).
		When(advance).Then(progressed(7, 0, 0, failures[1:]...), ended(entity.BulkUpdateCompleted{}))

	// The key goes when the job has ended, and not before.
	s = s.When(entities.ClearBulkUpdate{ID: job}).
		Then(domain.Fact{Stream: entity.BulkUpdateStream(job), Payload: entity.BulkUpdateCleared{}})
	s.When(entities.ClearBulkUpdate{ID: job}).ThenNothing()
	running := given(t, begun(func(*entity.BulkUpdateStarted) {})...)
	running.When(entities.ClearBulkUpdate{ID: job}).ThenNothing()
	running.Erase(job.String()).When(advance).Then(ended(entity.BulkUpdateFailed{Code: "job_data_lost"})).
		When(advance).ThenNothing()

	// Each entity is changed for the reason that the job was started for.
	why := "They asked"
	because := domain.NewSecret(json.RawMessage(`"They asked"`), true, job.String())
	changed := gold(person(1))
	changed.Reason = &why
	explained := given(t, begun(func(b *entity.BulkUpdateStarted) { b.Patch, b.Because, b.Tags = nil, &because, []string{"a"} })...).With(byAReactor).
		When(entities.AdvanceBulkUpdate{ID: job, Pace: commands.Pace{Most: 1}}).
		Named(entity.BulkUpdateStream(job), domain.SubjectTag(job.String()), "entity_type:customer", entity.Stream(person(1)))
	if facts := explained.Decision.Facts; len(facts) != 2 || facts[0].Reason == nil || *facts[0].Reason != why || facts[1].Reason != nil {
		t.Errorf("%+v", facts)
	}
	given(t, begun(func(b *entity.BulkUpdateStarted) { b.Because = &because })...).With(byAReactor).
		When(entities.AdvanceBulkUpdate{ID: job, Pace: commands.Pace{Most: 1}}).Then(changed, progressed(1, 1, 0))

	// A dry run is the same steps on what is not in the log.
	preview, err := entity.NewBulkUpdate{ID: job, Document: json.RawMessage(toGold), Selected: set, By: owner("ana", "editor"), Day: days[0]}.Preview()
	if err != nil {
		t.Fatal(err)
	}
	given(t, facts...).When(entities.AdvanceBulkUpdate{ID: job, Preview: &preview}).
		Then(gold(person(1)), progressed(7, 1, 1, failures...), ended(entity.BulkUpdateCompleted{}))
}

// The values are sealed for each entity whose type asks for that, by its own key.
func TestBulkUpdatesOfPersonsAreSealed(t *testing.T) {
	given(t, patientDefined("segment"), anaAdmitted(), started(1), selected(entity.Selected{ID: ana, Version: 1})).
		When(entities.AdvanceBulkUpdate{ID: job}).
		Named(entity.BulkUpdateStream(job), domain.SubjectTag(job.String()), entity.Stream(ana), "entity_type:patient", domain.SubjectTag(ana.String())).
		Then(domain.Fact{Stream: entity.Stream(ana), Subjects: []string{ana.String()}, Payload: entity.Updated{
			Attributes: attrs(`{}`), Secrets: map[string]domain.Secret{"segment": secret(`"gold"`, true)},
		}}, progressed(1, 1, 0), ended(entity.BulkUpdateCompleted{}))
}

// A step of a large patch is of fewer entities.
func TestStepsAreBounded(t *testing.T) {
	facts := []domain.Fact{customerDefined(`{}`)}
	var set []entity.Selected
	for n := range 150 {
		facts = append(facts, filed(person(n), `{}`))
		set = append(set, entity.Selected{ID: person(n), Version: 1})
	}
	for size, want := range map[int]int{10: 100, 50_000: 5} {
		document := fmt.Sprintf(`{"attributes":{"text":"%0*d"}}`, size, 1)
		preview, err := entity.NewBulkUpdate{ID: job, Document: json.RawMessage(document), Selected: set, By: owner("ana", "editor"), Day: days[0]}.Preview()
		if err != nil {
			t.Fatal(err)
		}
		decided := given(t, facts...).When(entities.AdvanceBulkUpdate{ID: job, Preview: &preview}).Decision.Facts
		if len(decided) != want+1 {
			t.Errorf("%d bytes: %d facts, want %d and one", size, len(decided), want)
		}
	}
}

func TestCancelBulkUpdate(t *testing.T) {
	cancel := entities.CancelBulkUpdate{ID: job}
	by := func(sub string, roles ...string) func(*domain.Meta) {
		return func(m *domain.Meta) { m.Actor, m.Roles = domain.Actor{Sub: sub, Person: sub}, roles }
	}
	running := []domain.Fact{started(1), selected(entity.Selected{ID: ana, Version: 1})}
	given(t).When(cancel).ThenProblem("not_found")
	given(t, running...).With(by("eve", "editor")).When(cancel).ThenProblem("not_found")
	given(t, running...).IfMatch(1).When(cancel).ThenProblem("version_conflict")
	given(t, running...).IfMatch(1).With(by("eve", "editor")).When(cancel).ThenProblem("not_found")
	given(t, running...).With(by("eve", "admin")).When(cancel).Then(ended(entity.BulkUpdateCancelled{}))
	s := given(t, append(running, customerDefined(`{}`), filed(ana, `{}`))...).When(cancel).
		Resource(job.String(), entity.BulkUpdateStream(job), false).
		Then(ended(entity.BulkUpdateCancelled{}))
	s.When(cancel).ThenNothing()
	s.When(entities.AdvanceBulkUpdate{ID: job}).ThenNothing()
	given(t, append(running, ended(entity.BulkUpdateCompleted{}))...).When(cancel).ThenProblem("conflict")
}
