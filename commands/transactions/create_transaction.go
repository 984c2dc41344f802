package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// CreateTransaction makes a transaction under a new id, or finds the one that the same
// request has made under its external_ref.
//
// Permission: transactions.write. Reads: the id, the external_ref and what has it, the
// accounts, closed periods, policies, and balances that are guarded.
type CreateTransaction struct{ ledger.NewTransaction }

// Fresh names the boundary that is empty unless the new id is not new.
func (c CreateTransaction) Fresh() []domain.Tag {
	return []domain.Tag{ledger.TransactionStream(c.ID)}
}

// Boundaries names what the decision depends on.
func (c CreateTransaction) Boundaries(r domain.Reader) []domain.Tag {
	tags := append(ledger.Boundaries(r, c.Draft.Accounts()), ledger.TransactionStream(c.ID))
	if ref := c.Draft.ExternalRef; ledger.ValidRef(ref) {
		tags = append(tags, ledger.RefTag(ref))
		if id, err := uuid.Parse(domain.Read[ledger.Ref](r, ledger.RefTag(ref)).TransactionID); err == nil {
			tags = append(tags, ledger.TransactionStream(id))
		}
	}
	return tags
}

// Decide makes the transaction.
func (c CreateTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if err := ledger.ExpectNew(r, ledger.TransactionStream(c.ID), m); err != nil {
		return domain.Decision{}, err
	}
	made, err := c.NewTransaction.Decide(r, m)
	d := about(made.ID, made.Facts)
	d.Created = made.ID == c.ID
	return d, err
}

// about is a decision about a transaction.
func about(id uuid.UUID, facts []domain.Fact) domain.Decision {
	return domain.Decision{ResourceID: id.String(), Stream: ledger.TransactionStream(id), Facts: facts}
}

// boundaries are those of a change to a transaction that exists: itself, and then all
// that its lines and others depend on.
func boundaries(r domain.Reader, id uuid.UUID, others ...uuid.UUID) []domain.Tag {
	current := domain.Read[ledger.Transaction](r, ledger.TransactionStream(id))
	if !current.Exists() {
		return []domain.Tag{ledger.TransactionStream(id)}
	}
	return append(ledger.Boundaries(r, append(ledger.AccountsOf(current.Content.Lines), others...)), ledger.TransactionStream(id))
}
