package transactions

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// ReverseTransaction takes back what was posted, by a transaction under a new id.
//
// Permission: transactions.approve. Reads: the new id, the transaction, then its accounts,
// closed periods, policies, and balances that are guarded.
type ReverseTransaction struct{ ledger.Reversal }

// Fresh names the boundary that is empty unless the new id is not new.
func (c ReverseTransaction) Fresh() []domain.Tag {
	return []domain.Tag{ledger.TransactionStream(c.By)}
}

// Origin is the transaction that is reversed.
func (c ReverseTransaction) Origin() domain.Tag { return ledger.TransactionStream(c.ID) }

// Boundaries names what the decision depends on.
func (c ReverseTransaction) Boundaries(r domain.Reader) []domain.Tag {
	return append(boundaries(r, c.ID), ledger.TransactionStream(c.By))
}

// Decide reverses the transaction. The receipt is about the reversal; If-Match is about
// what is reversed.
func (c ReverseTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := ledger.OpenTransaction(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	m.IfMatch = nil
	if err := ledger.ExpectNew(r, ledger.TransactionStream(c.By), m); err != nil {
		return domain.Decision{}, err
	}
	facts, err := c.Reversal.Decide(r, current, m)
	d := decision(c.By, facts)
	d.Created = true
	return d, err
}
