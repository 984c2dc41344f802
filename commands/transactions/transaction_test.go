package transactions_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
)

const day = "2026-03-01"

func TestPostAtOnce(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	command := post(tx, day, "debit bank 12.3, credit sales 10, credit sales 2.30")
	stream, date := ledger.TransactionStream(tx), ledger.Date(20513)
	movement := ledger.Movement{Date: date, Lines: []ledger.Line{
		{AccountID: bank, Side: ledger.Debit, Amount: ledger.Money{Minor: 1230, Currency: "EUR"}},
		{AccountID: sales, Side: ledger.Credit, Amount: ledger.Money{Minor: 1000, Currency: "EUR"}},
		{AccountID: sales, Side: ledger.Credit, Amount: ledger.Money{Minor: 230, Currency: "EUR"}},
	}}
	require.Equal(t, day, date.String())
	b.When(command).
		// The balance of sales is nobody's concern: it has no least one.
		Named(stream, ledger.AccountStream(bank), ledger.AccountStream(sales), ledger.BalanceTag(bank), "ledger_policy:EUR", "ledger_periods:all").
		Resource(tx.String(), stream, true).
		Then(domain.Fact{Stream: stream, Tags: []domain.Tag{ledger.BalanceTag(bank)}, Payload: ledger.Posted{
			Content: &ledger.Content{Movement: movement}, Movement: movement, By: ledger.By{Actor: domain.Actor{Sub: "ana", Person: "ana"}},
		}})
	require.Equal(t, []domain.Tag{stream}, command.Fresh())
	b.refused("conflict", command)
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	for _, d := range []domain.Decider{
		patch(`{}`), transactions.SubmitTransaction{ID: tx}, transactions.ApproveTransaction{ID: tx}, transactions.RejectTransaction{ID: tx},
		postIt(tx), transactions.VoidTransaction{ID: tx}, reverse(tx, other, ""), transactions.ExpireTransaction{ID: tx},
	} {
		b.refused("not_found", d)
	}
	b.did(create(tx, "draft", draft(day, "debit cash 1, credit sales 1")))
	b.IfMatch(2)
	b.refused("version_conflict", postIt(tx))
	b.refused("version_conflict", reverse(tx, other, ""))
	require.Nil(t, ledger.Action("dance").From())
}

// An approval counts while its giver may approve: the directory tells.
func TestAnApproverWhoLostTheRole(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.policy("EUR", "10", 1)
	b.did(create(tx, "submit", draft(day, "debit cash 11, credit sales 11")))
	b.as("bob")
	b.did(transactions.ApproveTransaction{ID: tx})
	seen := func(after time.Duration, roles ...string) {
		record(b, domain.Fact{Stream: member.Stream("bob"), Payload: member.Changed{Person: "bob", Roles: roles, IssuedAt: domaintest.Now.Add(after)}})
	}
	seen(time.Minute, "viewer")
	b.refused("approval_required", postIt(tx))
	seen(2*time.Minute, "approver")
	seen(-time.Minute, "viewer") // known from before he approved: the token that he approved with is newer
	b.may("admin")
	b.did(postIt(tx))
}

// Each command names the transaction, its accounts and what holds for them, and does what it
// is called.
func TestWhatTheCommandsDecideOn(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	until := domaintest.Now.Add(time.Hour)
	stream := ledger.TransactionStream(tx)
	its := []domain.Tag{stream, ledger.AccountStream(bank), ledger.BalanceTag(bank), ledger.AccountStream(sales), "ledger_policy:EUR", "ledger_periods:all"}
	about := func(more ...domain.Tag) []domain.Tag { return append(slices.Clone(its), more...) }
	edit := patch(`{"lines":[{"account_id":"` + cash.String() + `","side":"debit","amount":"2"},{"account_id":"` + sales.String() + `","side":"credit","amount":"2"}]}`)
	for _, c := range []struct {
		command domain.Decider
		names   []domain.Tag
		event   domain.Payload
	}{
		{transactions.SubmitTransaction{ID: tx}, its, ledger.Submitted{}},
		{transactions.ApproveTransaction{ID: tx}, its, ledger.Approved{}},
		{transactions.RejectTransaction{ID: tx}, its, ledger.Rejected{}},
		{transactions.VoidTransaction{ID: tx}, its, ledger.Voided{}},
		{transactions.ExpireTransaction{ID: tx}, its, ledger.Expired{}},
		{edit, about(ledger.AccountStream(cash)), ledger.Updated{}},
		{postIt(tx), about("member:bob", "member:eva"), ledger.Posted{}},
	} {
		b := newBook(t)
		d := draft(day, "debit bank 1, credit sales 1")
		d.ExpiresAt = &until
		action := "submit"
		if _, submits := c.event.(ledger.Submitted); submits {
			action = "draft"
		}
		b.did(create(tx, action, d))
		if _, posts := c.event.(ledger.Posted); posts {
			for _, approver := range []string{"bob", "eva"} {
				b.as(approver)
				b.did(transactions.ApproveTransaction{ID: tx})
			}
		}
		b.as("carl")
		if _, expires := c.event.(ledger.Expired); expires {
			b.at(until)
		}
		o := b.did(c.command).Named(c.names...).Resource(tx.String(), stream, false)
		require.Len(t, o.Decision.Facts, 1)
		require.IsType(t, c.event, o.Decision.Facts[0].Payload)
	}
	b.did(post(tx, day, "debit bank 1, credit sales 1"))
	b.When(patch(`[]`)).Named(its...).ThenProblem("invalid_state")
	taking := reverse(tx, other, "")
	b.refused("conflict", reverse(tx, tx, ""))
	b.did(taking).Named(about(ledger.TransactionStream(other))...).Resource(other.String(), ledger.TransactionStream(other), true)
	require.Equal(t, []domain.Tag{ledger.TransactionStream(other)}, taking.Fresh())
}

// An external_ref leads to what has it, and to those whom that is about.
func TestWhatAnExternalRefLeadsTo(t *testing.T) {
	t.Parallel()
	b, d := newPersonalBook(t)
	d.ExternalRef = "inv-1"
	b.did(create(tx, "post", d))
	d.Subjects, d.Private = nil, nil
	again := b.When(create(other, "post", d))
	again.ThenProblem("external_ref_taken")
	again.Named(ledger.TransactionStream(other), ledger.TransactionStream(tx), ledger.AccountStream(cash), ledger.AccountStream(sales),
		"external_ref:inv-1", "ledger_policy:EUR", "ledger_periods:all", domain.SubjectTag(ana.String()), domain.SubjectTag(ben.String()))
}

// What is above the limit is posted, once it is approved, by who may approve.
func TestWhoPostsAboveTheLimit(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.policy("EUR", "10", 1)
	for i, role := range []string{"editor", "approver", "admin"} {
		b.as("ana")
		b.may("editor")
		b.did(create(id(200+i), "submit", draft(day, "debit cash 11, credit sales 11")))
		b.as("bob")
		b.did(transactions.ApproveTransaction{ID: id(200 + i)})
		b.may("viewer", role)
		if role == "editor" {
			b.refused("forbidden", postIt(id(200+i)))
		} else {
			b.did(postIt(id(200 + i)))
		}
	}
}
