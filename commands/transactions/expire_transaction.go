package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// ExpireTransaction ends what was not posted in time.
//
// Permission: none; a timer gives it. Reads: the transaction, then its accounts, closed
// periods, policies, and balances that are guarded.
type ExpireTransaction struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c ExpireTransaction) Boundaries(r domain.Reader) []domain.Tag { return boundaries(r, c.ID) }

// Decide expires the transaction, unless that is not wanted any more.
func (c ExpireTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := ledger.OpenTransaction(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	return decision(c.ID, ledger.Expire(r, c.ID, current, m)), nil
}
