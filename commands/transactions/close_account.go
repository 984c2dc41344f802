package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// CloseAccount ends an account for new entries; what is on it stays there.
//
// Permission: accounts.write. Reads: the account.
type CloseAccount struct{ ID uuid.UUID }

// Boundaries names what the decision depends on.
func (c CloseAccount) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{ledger.AccountStream(c.ID)}
}

// Decide closes the account.
func (c CloseAccount) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	account, err := ledger.OpenAccount(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	return aboutAccount(c.ID, account.Close()), nil
}
