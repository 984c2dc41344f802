package entities

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// StartBulkUpdate starts a job that changes the entities that were selected.
//
// Permission: entities.change; of each entity, write when its turn comes. Reads: the jobs
// that are under way.
type StartBulkUpdate struct {
	// Update has a new random id, and the day (domain.JobDays) that is written with it. Who
	// it works for, and why, is the caller's.
	Update entity.NewBulkUpdate
	// Days are those whose jobs count.
	Days [2]string
}

// Boundaries names the job's own stream, still empty, and the jobs under way, and
// that patch and reason are sealed by a key of the job.
func (c StartBulkUpdate) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{
		entity.BulkUpdateStream(c.Update.ID), domain.OpenJobsTag(c.Days[0]), domain.OpenJobsTag(c.Days[1]), domain.SubjectTag(c.Update.ID.String()),
	}
}

// Fresh says that the id is new.
func (c StartBulkUpdate) Fresh() []domain.Tag {
	return []domain.Tag{entity.BulkUpdateStream(c.Update.ID)}
}

// Decide starts the job.
func (c StartBulkUpdate) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if version := r.Version(entity.BulkUpdateStream(c.Update.ID)); m.IfMatch != nil && *m.IfMatch != version {
		return domain.Decision{}, problem.StaleVersion(version)
	}
	err := domain.RoomForJob(m.Actor.Sub,
		domain.Read[domain.OpenJobs](r, domain.OpenJobsTag(c.Days[0])), domain.Read[domain.OpenJobs](r, domain.OpenJobsTag(c.Days[1])))
	if err != nil {
		return domain.Decision{}, err
	}
	update := c.Update
	update.By, update.Day, update.Reason = domain.OwnerOf(m), c.Days[0], m.Reason
	facts, err := update.Decide()
	decided := aboutJob(update.ID, facts)
	decided.Created = true
	return decided, err
}

// aboutJob is a decision about a bulk update.
func aboutJob(id uuid.UUID, facts []domain.Fact) domain.Decision {
	return domain.Decision{ResourceID: id.String(), Stream: entity.BulkUpdateStream(id), Facts: facts}
}

var _ domain.Fresher = StartBulkUpdate{}
