package transactions

import (
	"time"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
)

// PostTransaction moves the money of a transaction, or a part of it.
//
// Permission: transactions.post; above the limit of the policy transactions.approve. Reads: the transaction, then its accounts, closed
// periods, policies, balances that are guarded, and what the directory says of those who
// approved.
type PostTransaction struct{ ledger.Posting }

// Boundaries names what the decision depends on.
func (c PostTransaction) Boundaries(r domain.Reader) []domain.Tag {
	tags := boundaries(r, c.ID)
	for _, approval := range domain.Read[ledger.Transaction](r, ledger.TransactionStream(c.ID)).Approvals {
		tags = append(tags, member.Stream(approval.By.Sub))
	}
	return tags
}

// Decide posts the transaction.
func (c PostTransaction) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := ledger.OpenTransaction(r, c.ID, m)
	if err != nil {
		return domain.Decision{}, err
	}
	c.Counts = func(approval ledger.Approval) bool { return stillMay(r, approval) }
	c.AboveLimit = commands.Allowed(commands.TransactionsApprove, m.Roles)
	facts, err := c.Posting.Decide(r, current, m)
	return decision(c.ID, facts), err
}

// stillMay reports whether the giver of an approval has kept the right to approve. Who
// gave it had it then, by a token; the directory tells of a loss by a token that was
// issued since, whose time has whole seconds.
func stillMay(r domain.Reader, approval ledger.Approval) bool {
	giver := domain.Read[member.Member](r, member.Stream(approval.By.Sub))
	lost := giver.Known() && !commands.Allowed(commands.TransactionsApprove, giver.Roles)
	return !lost || giver.IssuedAt.Before(approval.At.Truncate(time.Second))
}
