package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// ReopenAccount takes the closing of an account back.
//
// Permission: accounts.write. Reads: the account.
type ReopenAccount struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c ReopenAccount) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{ledger.AccountStream(c.ID)}
}

// Decide reopens the account.
func (c ReopenAccount) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	account, err := ledger.OpenAccount(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	return aboutAccount(c.ID, account.Reopen()), nil
}
