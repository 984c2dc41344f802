// Package transactions holds the commands on accounts and the transactions between them, a
// file each. The rules are in domain/ledger; here stands what each command reads and who
// may give it.
package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// OpenAccount opens an account under a new id.
//
// Permission: accounts.write. Reads: the id, the code, the entity that it is linked to.
type OpenAccount struct{ ledger.NewAccount }

// Fresh names the boundary that is empty unless the new id is not new.
func (c OpenAccount) Fresh() []domain.Tag { return []domain.Tag{ledger.AccountStream(c.ID)} }

// Boundaries names what the decision depends on.
func (c OpenAccount) Boundaries(domain.Reader) []domain.Tag {
	tags := []domain.Tag{ledger.AccountStream(c.ID)}
	if ledger.ValidCode(c.Code) {
		tags = append(tags, ledger.CodeTag(c.Code))
	}
	if c.EntityID != nil {
		tags = append(tags, entity.Stream(*c.EntityID))
	}
	return tags
}

// Decide opens the account.
func (c OpenAccount) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if err := ledger.ExpectNew(r, ledger.AccountStream(c.ID), m); err != nil {
		return domain.Decision{}, err
	}
	var code ledger.Code
	if ledger.ValidCode(c.Code) {
		code = domain.Read[ledger.Code](r, ledger.CodeTag(c.Code))
	}
	facts, err := c.NewAccount.Decide(code, c.linked(r))
	return domain.Decision{ResourceID: c.ID.String(), Stream: ledger.AccountStream(c.ID), Created: true, Facts: facts}, err
}

// linked reports whether the entity is there and in use.
func (c OpenAccount) linked(r domain.Reader) bool {
	if c.EntityID == nil {
		return false
	}
	linked := domain.Read[entity.Entity](r, entity.Stream(*c.EntityID))
	return linked.Exists() && !linked.Archived
}

// aboutAccount is a decision about an account that exists.
func aboutAccount(id uuid.UUID, facts []domain.Fact) domain.Decision {
	return domain.Decision{ResourceID: id.String(), Stream: ledger.AccountStream(id), Facts: facts}
}
