package transactions

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// PatchTransaction changes what a draft, or what was submitted, says.
//
// Permission: transactions.write. Reads: the transaction, then its accounts and those it
// shall have, the entities that it shall be about, closed periods, policies, and balances
// that are guarded.
type PatchTransaction struct{ ledger.Patch }

// Boundaries names what the decision depends on.
func (c PatchTransaction) Boundaries(r domain.Reader) []domain.Tag {
	current := domain.Read[ledger.Transaction](r, ledger.TransactionStream(c.ID))
	draft, err := c.Draft(current.Content)
	if err != nil {
		return boundaries(r, c.ID)
	}
	return append(boundaries(r, c.ID, draft.Accounts()...), about(draft)...)
}

// Decide changes the transaction.
func (c PatchTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := ledger.OpenTransaction(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	c.Known = known(r, m)
	facts, err := c.Patch.Decide(r, current, m)
	return decision(c.ID, facts), err
}
