package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// ApproveTransaction approves what was submitted.
//
// Permission: transactions.approve. Reads: the transaction, then its accounts, closed periods,
// policies, and balances that are guarded.
type ApproveTransaction struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c ApproveTransaction) Boundaries(r domain.Reader) []domain.Tag { return boundaries(r, c.ID) }

// Decide does it.
func (c ApproveTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := ledger.OpenTransaction(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	facts, err := ledger.Approve(r, c.ID, current, m)
	return decision(c.ID, facts), err
}
