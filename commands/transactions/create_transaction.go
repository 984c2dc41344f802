package transactions

import (
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// CreateTransaction makes a transaction under a new id, or finds the one that the same
// request has made under its external_ref.
//
// Permission: transactions.write. Reads: the id, the external_ref and what has it, the
// entities that it is about, the accounts, closed periods, policies, and balances that are
// guarded.
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
		holder := domain.Read[ledger.Ref](r, ledger.RefTag(ref))
		if id, err := uuid.Parse(holder.TransactionID); err == nil {
			tags = append(append(tags, ledger.TransactionStream(id)), keysOf(holder.First.Subjects)...)
		}
	}
	return append(tags, about(c.Draft)...)
}

// Decide makes the transaction.
func (c CreateTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if err := ledger.ExpectNew(r, ledger.TransactionStream(c.ID), m); err != nil {
		return domain.Decision{}, err
	}
	c.Known = known(r, m)
	made, err := c.NewTransaction.Decide(r, m)
	d := decision(made.ID, made.Facts)
	d.Created = made.ID == c.ID
	return d, err
}

// decision is one about a transaction.
func decision(id uuid.UUID, facts []domain.Fact) domain.Decision {
	return domain.Decision{ResourceID: id.String(), Stream: ledger.TransactionStream(id), Facts: facts}
}

// boundaries are those of a change to a transaction that exists: itself, and then all
// that its lines and others depend on, and the keys of those whom it is about.
func boundaries(r domain.Reader, id uuid.UUID, others ...uuid.UUID) []domain.Tag {
	current := domain.Read[ledger.Transaction](r, ledger.TransactionStream(id))
	if !current.Exists() {
		return []domain.Tag{ledger.TransactionStream(id)}
	}
	tags := append(ledger.Boundaries(r, append(ledger.AccountsOf(current.Content.Lines), others...)), ledger.TransactionStream(id))
	return append(tags, keysOf(current.Content.Subjects)...)
}

// keysOf are the keys of those whom a transaction is about.
func keysOf(subjects []string) (tags []domain.Tag) {
	for _, subject := range subjects {
		tags = append(tags, domain.SubjectTag(subject))
	}
	return tags
}

// about are the entities that a transaction shall be about, and their keys.
func about(draft ledger.Draft) (tags []domain.Tag) {
	for _, id := range draft.Entities() {
		tags = append(tags, entity.Stream(id), domain.SubjectTag(id.String()))
	}
	return tags
}

// known says of an entity that there is one, and that the caller may see it.
func known(r domain.Reader, m domain.Meta) func(uuid.UUID) bool {
	open := entity.Access{Read: commands.Allowed(commands.EntitiesRead, m.Roles)}
	return func(id uuid.UUID) bool { return entity.Seen(r, id, m, open).Exists() }
}
