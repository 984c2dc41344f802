package entities

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// CancelBulkUpdate ends a job before its next step.
//
// Permission: entities.change, and to be who has started it or an admin. Reads: the job.
type CancelBulkUpdate struct{ ID uuid.UUID }

// Boundaries names the job.
func (c CancelBulkUpdate) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{entity.BulkUpdateStream(c.ID)}
}

// Decide cancels the job.
func (c CancelBulkUpdate) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	stream := entity.BulkUpdateStream(c.ID)
	facts, err := domain.Read[entity.BulkUpdate](r, stream).Cancel(c.ID, m)
	if version := r.Version(stream); err == nil && m.IfMatch != nil && *m.IfMatch != version {
		return domain.Decision{}, problem.StaleVersion(version)
	}
	return aboutJob(c.ID, facts), err
}

// ClearBulkUpdate records that the key of an ended job was destroyed.
//
// Permission: none; a reactor gives it, after it has done so. Reads: the job.
type ClearBulkUpdate struct{ ID uuid.UUID }

// Boundaries names the job.
func (c ClearBulkUpdate) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{entity.BulkUpdateStream(c.ID)}
}

// Decide records it, once.
func (c ClearBulkUpdate) Decide(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
	return aboutJob(c.ID, domain.Read[entity.BulkUpdate](r, entity.BulkUpdateStream(c.ID)).Clear(c.ID)), nil
}
