package entity

import (
	"encoding/json"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// A bulk update changes the entities that a filter has found, by one merge patch. Which
// they are is fixed when it is started; then it goes through them in steps, each of which
// is one command: the events of some entities, and the one that says how far the job is.
// So each entity is changed once, whoever does the work and dies over it, and what ends the
// job ends it at that step.

// BulkUpdateKind is the kind of the streams of bulk updates, and of these jobs.
const BulkUpdateKind = "bulk_update"

// BulkUpdateStream is the stream of a bulk update.
func BulkUpdateStream(id uuid.UUID) domain.Tag { return domain.NewTag(BulkUpdateKind, id.String()) }

const (
	// MaxBulk is how many entities one bulk update may select: some minutes of work, and
	// 20 events that name them.
	MaxBulk = 100_000
	// bulkNamed is how many entities one of those names, in some 210 KiB.
	bulkNamed = 5000
	// bulkStep is how many entities a step changes at most: others wait for it some 20 ms.
	bulkStep = 100
	// bulkStepBytes bounds, for large patches, what the events of a step come to.
	bulkStepBytes = 256 << 10
)

// Selected is an entity of a bulk update, in the version in which it was selected.
type Selected struct {
	ID      uuid.UUID
	Version int64
}

// BulkUpdate is the state of one.
type BulkUpdate struct {
	State domain.JobState
	By    domain.JobOwner
	Day   string
	// Sealed is the patch of attributes; nil when it is of tags alone. Plain is there in a
	// dry run instead, which has no key. Because is why; nil for no reason.
	Sealed   *domain.Sealed
	Because  *domain.Sealed
	Plain    json.RawMessage
	Tags     []string
	Merge    bool
	Selected []Selected
	// Done is how many of them are behind it.
	Done    int
	Cleared bool
}

// Exists reports whether it was ever started.
func (b BulkUpdate) Exists() bool { return b.State != "" }

// Ended reports whether nothing follows any more.
func (b BulkUpdate) Ended() bool { return b.Exists() && b.State != domain.JobRunning }

// Evolve folds one fact.
func (b BulkUpdate) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case BulkUpdateStarted:
		b.By, b.Day, b.Tags, b.Merge = p.By, p.Day, p.Tags, p.Merge
		if value, ok := domain.ParseSealed(p.Attributes, f.ID, patchPointer); ok {
			b.Sealed = &value
		}
		if value, ok := domain.ParseSealed(p.Reason, f.ID, reasonPointer); ok {
			b.Because = &value
		}
	case BulkUpdateSelected:
		b.Selected = slices.Grow(slices.Clip(b.Selected), len(p.IDs))
		for i := range min(len(p.IDs), len(p.Versions)) {
			b.Selected = append(b.Selected, Selected{p.IDs[i], p.Versions[i]})
		}
	case BulkUpdateProgressed:
		b.Done = p.Through
	case BulkUpdateCleared:
		b.Cleared, b.Sealed, b.Because = true, nil, nil
	}
	if job, ok := f.Payload.(domain.JobPayload); ok && job.JobChange().State != "" {
		b.State = job.JobChange().State
	}
	return b
}

// selectedBytes is the memory of one selected entity.
const selectedBytes = 24

// Size is the approximate memory held, in bytes.
func (b BulkUpdate) Size() int {
	size := stateBytes + len(b.Plain) + selectedBytes*cap(b.Selected)
	for _, value := range []*domain.Sealed{b.Sealed, b.Because} {
		if value != nil {
			size += sealedBytes + len(value.Text)
		}
	}
	for _, text := range slices.Concat(b.Tags, b.By.Roles, b.By.Groups) {
		size += entryBytes + len(text)
	}
	return size
}

// NewBulkUpdate starts a bulk update.
type NewBulkUpdate struct {
	ID uuid.UUID
	// Document is the merge patch, {"attributes":{…},"tags":[…]}.
	Document   json.RawMessage
	Merge      bool
	Filter     BulkFilter
	SelectedAt int64
	Selected   []Selected
	By         domain.JobOwner
	Day        string
	// Reason is why, which may speak of persons.
	Reason string
}

// Decide starts it, or ends it at once when nothing is selected. Problems: invalid_patch,
// unknown_field, invalid_tags, invalid_attributes.
func (n NewBulkUpdate) Decide() ([]domain.Fact, error) {
	started, err := n.started()
	if err != nil {
		return nil, err
	}
	stream, day := BulkUpdateStream(n.ID), []domain.Tag{domain.OpenJobsTag(n.Day)}
	facts := []domain.Fact{{Stream: stream, Tags: day, Payload: started}}
	for some := range slices.Chunk(n.Selected, bulkNamed) {
		var named BulkUpdateSelected
		for _, one := range some {
			named.IDs, named.Versions = append(named.IDs, one.ID), append(named.Versions, one.Version)
		}
		facts = append(facts, domain.Fact{Stream: stream, Payload: named})
	}
	if len(n.Selected) == 0 {
		facts = append(facts, domain.Fact{Stream: stream, Tags: day, Payload: BulkUpdateCompleted{}})
	}
	if n.Reason != "" {
		because(facts, "") // that it is sealed in is all of it
	}
	return facts, nil
}

// because gives facts a reason of their own.
func because(facts []domain.Fact, reason string) {
	for i := range facts {
		facts[i].Reason = &reason
	}
}

func (n NewBulkUpdate) started() (BulkUpdateStarted, error) {
	started := BulkUpdateStarted{
		By: n.By, Day: n.Day, Total: len(n.Selected), Filter: n.Filter, SelectedAt: n.SelectedAt, Merge: n.Merge,
	}
	attributes, tags, err := Patch{Document: n.Document}.read()
	switch {
	case err != nil:
		return started, err
	case attributes.clear:
		return started, problem.New(problem.Invalid, "invalid_patch", "A bulk update says which attributes it changes.").
			With(problem.Field{Location: attributesLocation, Message: "must be an object"})
	case len(attributes.changes) == 0 && tags == nil:
		return started, problem.New(problem.Invalid, "invalid_patch", "This changes nothing: give attributes, or tags, or both.").
			With(problem.Field{Location: "body", Message: "must have attributes or tags"})
	}
	if tags != nil {
		started.Tags = *tags
	}
	if len(attributes.changes) > 0 {
		started.Names = sortedNames(attributes.changes)
		secret := domain.NewSecret(encode(attributes.changes), true, n.ID.String())
		started.Patch = &secret
	}
	if n.Reason != "" {
		text, _ := json.Marshal(n.Reason) // a text always can be
		secret := domain.NewSecret(text, true, n.ID.String())
		started.Because = &secret
	}
	return started, nil
}

// Preview is the state that Decide leads to, for a dry run: with the patch in clear, in
// memory only.
func (n NewBulkUpdate) Preview() (BulkUpdate, error) {
	started, err := n.started()
	if err != nil {
		return BulkUpdate{}, err
	}
	b := BulkUpdate{}.Evolve(domain.Fact{Payload: started}).(BulkUpdate)
	if started.Patch != nil {
		b.Plain = started.Patch.Reveal()
	}
	b.Selected = n.Selected
	return b, nil
}

// Next are the entities of the next step, most of them at most where that is not 0.
func (b BulkUpdate) Next(most int) []Selected {
	if b.State != domain.JobRunning {
		return nil
	}
	size := len(b.Plain)
	if b.Sealed != nil {
		size += len(b.Sealed.Text)
	}
	step := max(1, min(bulkStep, bulkStepBytes/(size+1)))
	if most > 0 {
		step = min(step, most)
	}
	left := b.Selected[min(b.Done, len(b.Selected)):]
	return left[:min(step, len(left))]
}

// Seals reports whether the job has values that its key opens.
func (b BulkUpdate) Seals() bool { return b.Sealed != nil || b.Because != nil }

// Reason is why each entity is changed, "" for no reason. Error: domain.ErrErased.
func (b BulkUpdate) Reason(r domain.Reader) (reason string, err error) {
	if b.Because == nil {
		return "", nil
	}
	text, err := r.Open(*b.Because)
	if err != nil {
		return "", err
	}
	return reason, json.Unmarshal(text, &reason)
}

// Patch is the document that each entity is changed by. Error: domain.ErrErased.
func (b BulkUpdate) Patch(r domain.Reader) (json.RawMessage, error) {
	document := map[string]any{}
	if b.Tags != nil {
		document["tags"] = b.Tags
	}
	switch {
	case b.Plain != nil:
		document["attributes"] = b.Plain
	case b.Sealed != nil:
		attributes, err := r.Open(*b.Sealed)
		if err != nil {
			return nil, err
		}
		document["attributes"] = attributes
	}
	return json.Marshal(document)
}

// BulkOutcome is what became of one entity: what is recorded of it and why, nothing where it
// was as it should be, or the problem that it was refused with.
type BulkOutcome struct {
	Reason  string
	Facts   []domain.Fact
	Refused *problem.Problem
}

// Step records the outcomes of the next entities, and the end of the job with the last of
// them.
func (b BulkUpdate) Step(id uuid.UUID, outcomes []BulkOutcome) []domain.Fact {
	progressed := BulkUpdateProgressed{Through: b.Done + len(outcomes)}
	var facts []domain.Fact
	for i, outcome := range outcomes {
		switch {
		case outcome.Refused != nil:
			progressed.Failed = append(progressed.Failed, domain.FailureOf(b.Selected[b.Done+i].ID.String(), outcome.Refused))
		case len(outcome.Facts) == 0:
			progressed.Unchanged++
		default:
			progressed.Updated++
			if outcome.Reason != "" {
				because(outcome.Facts, outcome.Reason)
			}
			facts = append(facts, outcome.Facts...)
		}
	}
	facts = append(facts, domain.Fact{Stream: BulkUpdateStream(id), Payload: progressed})
	if progressed.Through >= len(b.Selected) {
		facts = append(facts, b.end(id, BulkUpdateCompleted{}))
	}
	return facts
}

// Fail ends a job that cannot go on.
func (b BulkUpdate) Fail(id uuid.UUID, code string) []domain.Fact {
	return []domain.Fact{b.end(id, BulkUpdateFailed{code})}
}

func (b BulkUpdate) end(id uuid.UUID, payload domain.Payload) domain.Fact {
	return domain.Fact{Stream: BulkUpdateStream(id), Tags: []domain.Tag{domain.OpenJobsTag(b.Day)}, Payload: payload}
}

// Cancel ends the job before the next step, or does nothing when that was done. Problems:
// not_found to who may not see it; conflict when it has ended otherwise.
func (b BulkUpdate) Cancel(id uuid.UUID, m domain.Meta) ([]domain.Fact, error) {
	switch {
	case !b.Exists(), b.By.Sub != m.Actor.Sub && !SeesAll(CallerOf(m)):
		return nil, problem.New(problem.NotFound, "not_found", "There is no job with this id.")
	case b.State == domain.JobCancelled:
		return nil, nil
	case b.Ended():
		return nil, problem.New(problem.Conflict, "conflict", "The job has ended and cannot be cancelled any more.")
	}
	return []domain.Fact{b.end(id, BulkUpdateCancelled{})}, nil
}

// Clear records that the key of an ended job is no more.
func (b BulkUpdate) Clear(id uuid.UUID) []domain.Fact {
	if !b.Ended() || b.Cleared {
		return nil
	}
	return []domain.Fact{{Stream: BulkUpdateStream(id), Payload: BulkUpdateCleared{}}}
}

// SelectedAs refuses an entity that is not as it was selected: somebody has changed it
// since, and it may be one that the filter would not find any more.
func (b BulkUpdate) SelectedAs(one Selected, version int64) *problem.Problem {
	if b.Merge || one.Version == version {
		return nil
	}
	return problem.StaleVersion(version)
}
