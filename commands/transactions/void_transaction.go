package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// VoidTransaction ends what was not posted, and releases its money.
//
// Permission: transactions.approve. Reads: the transaction, then its accounts, closed periods,
// policies, and balances that are guarded.
type VoidTransaction struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c VoidTransaction) Boundaries(r domain.Reader) []domain.Tag { return boundaries(r, c.ID) }

// Decide does it.
func (c VoidTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := ledger.OpenTransaction(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	facts, err := ledger.Void(r, c.ID, current, m)
	return decision(c.ID, facts), err
}
