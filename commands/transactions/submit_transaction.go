package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// SubmitTransaction asks for the approval of a draft, and holds its money.
//
// Permission: transactions.write. Reads: the transaction, then its accounts, closed periods,
// policies, and balances that are guarded.
type SubmitTransaction struct {
	ID uuid.UUID
	// Move lets the date move out of a closed period.
	Move bool
}

// Boundaries names what the decision depends on.
func (c SubmitTransaction) Boundaries(r domain.Reader) []domain.Tag { return boundaries(r, c.ID) }

// Decide does it.
func (c SubmitTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := ledger.OpenTransaction(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	facts, err := ledger.Submit(r, c.ID, current, c.Move, m)
	return decision(c.ID, facts), err
}
