package reactions

import (
	"context"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// All are the reactions of the product. A new one is a line here.
func All() []Reaction {
	return []Reaction{}
}

// Timers are the timers of the product: those of projections.TimerKinds, each with its
// command. A new one is a line here and one there.
func Timers() []Timer {
	return []Timer{{ledger.Expiry(), expireTransaction}}
}

func expireTransaction(d DueTimer) domain.Decider {
	id, _ := uuid.Parse(d.Key) // it was made of one; of no id there is no transaction
	return transactions.ExpireTransaction{ID: id}
}

// JobKinds are the kinds of jobs of the product: those of projections.JobEvents, each with
// its commands. A new one is a line here and one there. erase destroys the key of a subject.
func JobKinds(erase func(ctx context.Context, org, subject string) error) []JobKind {
	return []JobKind{{
		Name: entity.BulkUpdateKind,
		Step: func(job OpenJob, pace commands.Pace) domain.Decider {
			return entities.AdvanceBulkUpdate{ID: job.ID, Pace: pace}
		},
		Clear:   func(ctx context.Context, job OpenJob) error { return erase(ctx, job.Org, job.ID.String()) },
		Cleared: func(job OpenJob) domain.Decider { return entities.ClearBulkUpdate{ID: job.ID} },
	}}
}
