package entities

import (
	"errors"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// AdvanceBulkUpdate changes the next entities of a job, each as PatchEntity does for whom
// the job works, and records how far the job is, all in one.
//
// Permission: none; a reactor gives it. Reads: the job, its next entities, their types.
type AdvanceBulkUpdate struct {
	ID uuid.UUID
	// Pace bounds how many entities that are. What it leaves behind has failed, and is not
	// looked at.
	Pace commands.Pace
	// Preview is what a dry run goes through; there is no job in the log then.
	Preview *entity.BulkUpdate
}

// jobDataLost is the code of jobs that fail because their patch cannot be read any more.
const jobDataLost = "job_data_lost"

func (c AdvanceBulkUpdate) job(r domain.Reader) entity.BulkUpdate {
	if c.Preview != nil {
		return *c.Preview
	}
	return domain.Read[entity.BulkUpdate](r, entity.BulkUpdateStream(c.ID))
}

// Boundaries names the job and, once it is loaded, the entities of the step with what
// patching them needs.
func (c AdvanceBulkUpdate) Boundaries(r domain.Reader) []domain.Tag {
	tags := []domain.Tag{entity.BulkUpdateStream(c.ID)}
	job := c.job(r)
	if job.Seals() {
		tags = append(tags, domain.SubjectTag(c.ID.String()))
	}
	if c.Pace.Unfit != "" {
		return tags
	}
	named := map[domain.Tag]bool{}
	for _, one := range job.Next(c.Pace.Most) {
		for _, tag := range unlocked(r, one.ID) {
			if !named[tag] {
				named[tag] = true
				tags = append(tags, tag)
			}
		}
	}
	return tags
}

// Decide does the step, or nothing for a job that has ended.
func (c AdvanceBulkUpdate) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	job := c.job(r)
	next := job.Next(c.Pace.Most)
	if len(next) == 0 {
		return aboutJob(c.ID, nil), nil
	}
	if c.Pace.Unfit != "" {
		unfit := entity.BulkOutcome{Refused: problem.New(problem.Internal, c.Pace.Unfit, "")}
		return aboutJob(c.ID, job.Step(c.ID, []entity.BulkOutcome{unfit})), nil
	}
	patch, err := job.Patch(r)
	reason, errOfReason := job.Reason(r)
	if err = errors.Join(err, errOfReason); errors.Is(err, domain.ErrErased) {
		return aboutJob(c.ID, job.Fail(c.ID, jobDataLost)), nil
	}
	if err != nil {
		return domain.Decision{}, err
	}
	outcomes := make([]entity.BulkOutcome, len(next))
	for i, one := range next {
		if outcomes[i], err = c.patch(r, job, one, PatchEntity{ID: one.ID, Patch: patch}, m); err != nil {
			return domain.Decision{}, err
		}
		outcomes[i].Reason = reason
	}
	return aboutJob(c.ID, job.Step(c.ID, outcomes)), nil
}

// patch changes one entity. What is not there to be seen any more is refused as that first.
func (c AdvanceBulkUpdate) patch(r domain.Reader, job entity.BulkUpdate, one entity.Selected, patch PatchEntity, m domain.Meta) (entity.BulkOutcome, error) {
	as := job.By.As(m)
	_, err := entity.Open(r, one.ID, as, entity.MayWrite, open(as))
	if err == nil {
		if stale := job.SelectedAs(one, r.Version(entity.Stream(one.ID))); stale != nil {
			return entity.BulkOutcome{Refused: stale}, nil //nolint:nilerr // there is none
		}
		var decided domain.Decision
		if decided, err = patch.Decide(r, as); err == nil {
			return entity.BulkOutcome{Facts: decided.Facts}, nil
		}
	}
	if refused := problem.Of(err); refused != nil && refused.Kind != problem.Internal {
		return entity.BulkOutcome{Refused: refused}, nil
	}
	return entity.BulkOutcome{}, err
}
