package transactions_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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

// What is wrong with a request is told by the first of these, whatever else is wrong.
func TestProblemsInTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.policy("EUR", "5", 1)
	b.close("2026-01-31")
	d := draft("2026-13-01", "debit 17 x, credit bank 9")
	for _, step := range []struct {
		code string
		mend func()
	}{
		{"invalid_transaction", func() { d.Date = "2026-01-31" }},
		{"unknown_account", func() { d.Lines = lines("debit cash x, credit bank 9") }},
		{"invalid_amount", func() { d.Lines = lines("debit dollars 8, credit bank 9") }},
		{"currency_mismatch", func() { d.Lines = lines("debit cash 8, credit bank 9") }},
		{"unbalanced", func() { d.Lines = lines("debit cash 9, credit bank 9"); b.did(transactions.CloseAccount{ID: cash}) }},
		{"account_closed", func() { b.did(transactions.ReopenAccount{ID: cash}) }},
		{"period_closed", func() { d.Date = day }},
		{"approval_required", func() { b.policy("EUR", "9", 1) }},
		{"insufficient_funds", func() { d.Lines = lines("debit bank 9, credit cash 9") }},
	} {
		b.refused(step.code, create(tx, "post", d))
		step.mend()
	}
	b.did(create(tx, "post", d))
}

func TestDraftsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("debit cash 1, ", 500) + "credit sales 500"
	past, large := domaintest.Now, `"`+strings.Repeat("x", 16<<10)+`"`
	metadata := func(name, value string) func(*ledger.Draft) {
		return func(d *ledger.Draft) { d.Metadata = map[string]json.RawMessage{name: json.RawMessage(value)} }
	}
	for location, changes := range map[string][]func(*ledger.Draft){
		"body.date": {
			func(d *ledger.Draft) { d.Date = "" }, func(d *ledger.Draft) { d.Date = "1899-12-31" }, func(d *ledger.Draft) { d.Date = "2200-01-01" },
			func(d *ledger.Draft) { d.Date = "2026-1-1" }, func(d *ledger.Draft) { d.Date = "2026-02-29" },
		},
		"body.description":  {func(d *ledger.Draft) { d.Description = "a\x00" }, func(d *ledger.Draft) { d.Description = strings.Repeat("ü", 1001) }, func(d *ledger.Draft) { d.Description = "\xff" }},
		"body.external_ref": {func(d *ledger.Draft) { d.ExternalRef = "a\n" }, func(d *ledger.Draft) { d.ExternalRef = strings.Repeat("x", 201) }},
		"body.metadata": {metadata("", "1"), metadata("a", "{"), metadata("a", large), metadata("a", "1e"), func(d *ledger.Draft) {
			d.Metadata = map[string]json.RawMessage{}
			for i := range 51 {
				d.Metadata[fmt.Sprint(i)] = json.RawMessage("1")
			}
		}},
		"body.expires_at":    {func(d *ledger.Draft) { d.ExpiresAt = &past }},
		"body.lines":         {func(d *ledger.Draft) { d.Lines = nil }, func(d *ledger.Draft) { d.Lines = d.Lines[:1] }, func(d *ledger.Draft) { d.Lines = lines(many) }},
		"body.lines/1/side":  {func(d *ledger.Draft) { d.Lines[1].Side = "Credit" }},
		"body.splits/0/side": {func(d *ledger.Draft) { d.Splits = []ledger.Split{{Shares: []ledger.Share{{Share: 1}}}} }},
		"body.splits/0/shares": {func(d *ledger.Draft) { d.Splits = []ledger.Split{{Side: "debit"}} }, func(d *ledger.Draft) {
			d.Splits = []ledger.Split{{Side: "debit", Shares: []ledger.Share{{Share: 0}}}}
		}},
	} {
		for i, change := range changes {
			d := draft(day, "debit cash 1, credit sales 1")
			change(&d)
			p := newBook(t).When(create(tx, "draft", d)).ThenProblem("invalid_transaction")
			require.Len(t, p.Fields, 1, "%s %d", location, i)
			require.Equal(t, location, p.Fields[0].Location)
		}
	}
	newBook(t).refused("invalid_transaction", create(tx, "approve", draft(day, "debit cash 1, credit sales 1")))
}

func TestLinesThatDoNotGoTogether(t *testing.T) {
	t.Parallel()
	for text, code := range map[string]string{
		"debit cash 10, credit sales 9.99":                                  "unbalanced",
		"debit cash 10, debit sales 10":                                     "unbalanced",
		"debit cash 10, credit dollars 10":                                  "currency_mismatch",
		"debit cash 10, credit sales 10, debit dollars 1":                   "currency_mismatch",
		"debit cash 10, credit sales 10, debit dollars 1, credit dollars 2": "unbalanced",
		"debit yen 1.0, credit yen 1":                                       "invalid_amount",
		"debit cash 0, credit sales 0":                                      "invalid_amount",
		"debit cash 9999999999999999.99, debit cash 0.01, credit sales 9999999999999999.99, credit sales 0.01": "invalid_amount",
		"debit cash 92233720368547758.08, credit sales 92233720368547758.08":                                   "invalid_amount",
		"debit 0190aaaa000070008000000000000001 1, credit sales 1":                                             "unknown_account",
		"debit 0190aaaa-0000-7000-8000-000000000099 1, credit sales 1":                                         "unknown_account",
	} {
		newBook(t).refused(code, create(tx, "draft", draft(day, text)))
	}
	d := draft(day, "debit cash 1, credit sales 1")
	d.Lines[0].Currency = "USD"
	newBook(t).refused("currency_mismatch", create(tx, "draft", d))
	d.Lines[0].Currency = "EUR"
	newBook(t).did(create(tx, "draft", d))
}

func TestConversions(t *testing.T) {
	t.Parallel()
	const legs = "debit dollars 100, credit dollars 100, debit cash 92.17, credit cash 92.17"
	for exchange, valid := range map[string]bool{
		"100 USD 0.92166":                  true, // 92.166
		"100.00 USD 0.9217":                true,
		"100 USD 0.921":                    false,
		"99 USD 0.92166":                   false, // no such leg
		"100 EUR 0.92166":                  false,
		"100 XAU 0.92166":                  false,
		"100 USD 0":                        false,
		"100 USD -1":                       false,
		"100 USD 1e2":                      false,
		"1e2 USD 0.92166":                  false,
		"100 USD 99999999999999999999999":  false,
		"100 USD 999999999999999999999.99": false,
	} {
		text := strings.Replace(legs, "debit cash 92.17", "debit cash 92.17 "+exchange, 1)
		if valid {
			newBook(t).did(create(tx, "post", draft(day, text)))
		} else {
			newBook(t).refused("invalid_exchange", create(tx, "post", draft(day, text)))
		}
	}
}

func TestSplits(t *testing.T) {
	t.Parallel()
	split := func(amount string, shares ...ledger.Share) ledger.Draft {
		d := draft(day, "credit sales 0.15")
		d.Splits = []ledger.Split{{Side: "debit", Amount: amount, Shares: shares}}
		return d
	}
	share := func(name string, of int64) ledger.Share {
		return ledger.Share{AccountID: names[name].String(), Share: of}
	}
	b := newBook(t)
	posted := b.did(create(tx, "post", split("0.15", share("cash", 80), share("bank", 8), share("loan", 12)))).Decision.Facts[0].Payload.(ledger.Posted)
	require.Equal(t, "0.13 0.01 0.01", fmt.Sprint(posted.Lines[1].Amount, " ", posted.Lines[2].Amount, " ", posted.Lines[3].Amount))
	small := b.did(create(other, "post", split("0.15", share("cash", 1_000_000_000), share("bank", 1)))).Decision.Facts[0].Payload.(ledger.Posted)
	require.Len(t, small.Lines, 2, "who gets nothing has no line")
	b.refused("unknown_account", create(id(102), "post", split("0.15", ledger.Share{AccountID: "x", Share: 1})))
	b.refused("currency_mismatch", create(id(102), "post", split("0.15", share("cash", 1), share("dollars", 1))))
	b.refused("invalid_amount", create(id(102), "post", split("0", share("cash", 1), share("bank", 1))))
}

// The state machine, all of it: what From says of an action and a status, the commands do.
func TestTheStateMachine(t *testing.T) {
	t.Parallel()
	until := domaintest.Now.Add(time.Hour)
	begin := map[ledger.Status]func(*book){
		ledger.StatusDraft:     func(*book) {},
		ledger.StatusSubmitted: func(b *book) { b.did(transactions.SubmitTransaction{ID: tx}) },
		ledger.StatusApproved: func(b *book) {
			b.did(transactions.SubmitTransaction{ID: tx})
			b.as("bob")
			b.did(transactions.ApproveTransaction{ID: tx})
			b.as("ana")
		},
		ledger.StatusPosted: func(b *book) { b.did(postIt(tx)) },
		ledger.StatusReversed: func(b *book) {
			b.did(postIt(tx))
			b.did(reverse(tx, id(190), ""))
		},
		ledger.StatusRejected: func(b *book) {
			b.did(transactions.SubmitTransaction{ID: tx})
			b.did(transactions.RejectTransaction{ID: tx})
		},
		ledger.StatusVoided: func(b *book) { b.did(transactions.VoidTransaction{ID: tx}) },
		ledger.StatusExpired: func(b *book) {
			b.at(until)
			b.did(transactions.ExpireTransaction{ID: tx})
			b.at(domaintest.Now)
		},
	}
	act := map[ledger.Action]domain.Decider{
		ledger.ActionPatch: patch(`{"description":"new"}`), ledger.ActionSubmit: transactions.SubmitTransaction{ID: tx},
		ledger.ActionApprove: transactions.ApproveTransaction{ID: tx}, ledger.ActionReject: transactions.RejectTransaction{ID: tx},
		ledger.ActionPost: postIt(tx), ledger.ActionVoid: transactions.VoidTransaction{ID: tx},
		ledger.ActionReverse: reverse(tx, id(191), ""), ledger.ActionExpire: transactions.ExpireTransaction{ID: tx},
	}
	for _, status := range ledger.Statuses() {
		for _, action := range ledger.Actions() {
			t.Run(string(status)+"/"+string(action), func(t *testing.T) {
				b := newBook(t)
				d := draft(day, "debit cash 1, credit sales 1")
				d.ExpiresAt = &until
				b.did(create(tx, "", d))
				begin[status](b)
				require.Equal(t, status, b.state(tx).Status)
				b.as("carl")
				if action == ledger.ActionExpire {
					b.at(until)
				}
				o := b.When(act[action])
				switch allowed := from(action, status); {
				case allowed:
					require.NoError(t, o.Err)
					require.NotEmpty(t, o.Decision.Facts)
				case action == ledger.ActionExpire:
					o.ThenNothing()
				default:
					require.Equal(t, string(status), o.ThenProblem("invalid_state").Extra["status"])
				}
			})
		}
	}
}

func from(action ledger.Action, status ledger.Status) bool {
	return slices.Contains(action.From(), status)
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

// A balance is never too small, on no day: neither by what is posted nor by what is held,
// and neither today nor by an entry of the past.
func TestNoOverdraft(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.did(post(id(1000), "2026-01-10", "debit bank 100, credit sales 100"))
	b.did(post(id(1001), "2026-02-10", "debit cash 80, credit bank 80"))
	// There was 100 on this day, and 20 of it is free.
	refused := b.refused("insufficient_funds", post(tx, "2026-01-20", "debit cash 50, credit bank 50"))
	require.Equal(t, map[string]any{"account_id": bank.String(), "date": "2026-02-10", "available": "-30.00", "min_balance": "0.00"}, refused)
	require.Equal(t, "2026-01-09", b.refused("insufficient_funds", post(tx, "2026-01-09", "debit cash 1, credit bank 1"))["date"])
	// What comes in later does not help today.
	b.did(post(id(1002), "2026-04-01", "debit bank 1000, credit sales 1000"))
	require.Equal(t, "2026-03-01", b.refused("insufficient_funds", post(tx, day, "debit cash 21, credit bank 21"))["date"])

	// What is held is not there for others, until it is released.
	b.did(create(tx, "submit", draft(day, "debit cash 15, credit bank 15")))
	require.Equal(t, "-1.00", b.refused("insufficient_funds", create(other, "submit", draft(day, "debit cash 6, credit bank 6")))["available"])
	b.did(create(other, "submit", draft(day, "debit cash 5, credit bank 5")))
	b.refused("insufficient_funds", patch(`{"lines":[{"account_id":"`+cash.String()+`","side":"debit","amount":"16"},{"account_id":"`+bank.String()+`","side":"credit","amount":"16"}]}`))
	b.did(patch(`{"lines":[{"account_id":"` + cash.String() + `","side":"debit","amount":"12"},{"account_id":"` + bank.String() + `","side":"credit","amount":"12"}]}`))
	b.did(transactions.VoidTransaction{ID: other})
	b.did(postIt(tx))
	b.did(post(id(1003), day, "debit cash 8, credit bank 8"))
	b.refused("insufficient_funds", post(id(1004), day, "debit cash 0.01, credit bank 0.01"))
	// Reversing what came in takes it away.
	require.Equal(t, "2026-02-10", b.refused("insufficient_funds", reverse(id(1000), id(1005), ""))["date"])
	// What would come in is nobody's to spend yet.
	b.did(create(id(1006), "submit", draft(day, "debit bank 50, credit sales 50")))
	b.refused("insufficient_funds", post(id(1007), day, "debit cash 1, credit bank 1"))
	b.did(transactions.RejectTransaction{ID: id(1006)})

	// A liability grows by credits; this one may be 500 the other way.
	b.did(post(id(1008), day, "debit loan 500, credit cash 500"))
	b.refused("insufficient_funds", post(id(1009), day, "debit loan 0.01, credit cash 0.01"))
	// Both sides at once are what they come to.
	b.did(post(id(1010), day, "debit loan 7, credit loan 7"))

	b.did(post(id(1011), "2027-01-01", "debit bank 9999999999990000, credit sales 9999999999990000"))
	b.refused("invalid_amount", post(id(1012), "2026-12-01", "debit bank 99999, credit sales 99999"))
}

func TestPartialPost(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.did(post(id(1000), day, "debit bank 100, credit sales 100"))
	b.did(create(tx, "submit", draft(day, "debit cash 60, debit loan 40, credit bank 100")))
	part := func(text string) transactions.PostTransaction {
		return transactions.PostTransaction{Posting: ledger.Posting{ID: tx, Lines: lines(text)}}
	}
	b.refused("exceeds_transaction", part("debit cash 61, credit bank 61"))
	b.refused("exceeds_transaction", part("debit bank 1, credit bank 1"))
	b.refused("unknown_account", part("debit sales 1, credit bank 1"))
	b.refused("unknown_account", part("debit x 1, credit bank 1"))
	b.refused("unbalanced", part("debit cash 1, credit bank 2"))
	b.refused("invalid_amount", part("debit cash -1, credit bank 2"))
	b.refused("invalid_transaction", part("debit cash 1"))
	b.refused("invalid_transaction", part("both cash 1, credit bank 1"))
	posted := b.did(part("debit cash 30, debit loan 10, credit bank 40")).Decision.Facts[0]
	require.Len(t, posted.Payload.(ledger.Posted).Released.Lines, 3)
	require.ElementsMatch(t, []domain.Tag{ledger.BalanceTag(bank), ledger.BalanceTag(loan)}, posted.Tags)
	require.Equal(t, ledger.StatusPosted, b.state(tx).Status)
	// The rest is free again.
	b.did(post(other, day, "debit cash 60, credit bank 60"))
	b.refused("insufficient_funds", post(id(1001), day, "debit cash 0.01, credit bank 0.01"))
	// What is reversed is what was posted.
	reversal := b.did(reverse(tx, id(1002), "2026-03-05")).Decision.Facts[0].Payload.(ledger.Posted)
	require.Equal(t, "2026-03-05", reversal.Date.String())
	require.Len(t, reversal.Lines, 3)
	require.Equal(t, ledger.Line{AccountID: cash, Side: ledger.Credit, Amount: ledger.Money{Minor: 3000, Currency: "EUR"}}, reversal.Lines[0])
}

func TestReversals(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.did(post(tx, day, "debit cash 5, credit sales 5"))
	b.refused("invalid_transaction", reverse(tx, other, "2026-02-28"))
	b.refused("invalid_transaction", reverse(tx, other, "soon"))
	long := reverse(tx, other, "")
	long.Description = new(strings.Repeat("x", 1001))
	b.refused("invalid_transaction", long)
	b.did(transactions.CloseAccount{ID: cash})
	b.refused("account_closed", reverse(tx, other, ""))
	b.did(transactions.ReopenAccount{ID: cash})
	b.close("2026-03-31")
	b.refused("period_closed", reverse(tx, other, ""))
	moved := reverse(tx, other, "")
	moved.Move, moved.Description = true, new("Twice")
	o := b.When(moved).Resource(other.String(), ledger.TransactionStream(other), true)
	require.NoError(t, o.Err)
	require.Len(t, o.Decision.Facts, 2)
	require.Equal(t, "2026-04-01", b.state(other).Content.Date.String())
	require.Equal(t, tx, *b.state(other).Reverses)
	require.Equal(t, other, *b.state(tx).ReversedBy)
	b.refused("invalid_state", reverse(tx, id(102), "2026-05-01"))
	// A reversal is a transaction: it can be taken back, once.
	b.refused("conflict", reverse(other, tx, "2026-05-01"))
	b.did(reverse(other, id(103), "2026-05-01"))
	b.refused("invalid_state", reverse(other, id(104), "2026-05-01"))
	require.Equal(t, []domain.Tag{ledger.TransactionStream(other)}, moved.Fresh())
}

func TestApprovals(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.policy("EUR", "100", 2)
	b.did(post(id(1000), day, "debit cash 100, credit sales 100")) // at the limit
	require.Equal(t, map[string]any{"approvals_needed": 2, "approvals": 0}, b.refused("approval_required", post(tx, day, "debit cash 100.01, credit sales 100.01")))
	b.did(create(tx, "draft", draft(day, "debit cash 101, credit sales 101")))
	b.as("dora")
	b.did(transactions.SubmitTransaction{ID: tx})
	approve := transactions.ApproveTransaction{ID: tx}
	b.refused("self_approval", approve) // she submitted it
	b.as("ana")
	b.refused("self_approval", approve) // she made it
	// The same human under another login, or behind a service.
	b.With(func(m *domain.Meta) { m.Actor = domain.Actor{Sub: "ana2", Person: "ana"} })
	b.refused("self_approval", approve)
	b.With(func(m *domain.Meta) {
		m.Actor, m.OnBehalfOf = domain.Actor{Sub: "system:x", Person: "system:x"}, &domain.Actor{Sub: "a", Person: "ana"}
	})
	b.refused("self_approval", approve)

	b.as("bob")
	require.False(t, b.did(approve).Decision.Facts[0].Payload.(ledger.Approved).Complete)
	b.When(approve).ThenNothing() // he has
	require.Equal(t, 1, b.refused("approval_required", postIt(tx))["approvals"])
	b.as("carl")
	require.True(t, b.did(approve).Decision.Facts[0].Payload.(ledger.Approved).Complete)
	require.Equal(t, ledger.StatusApproved, b.state(tx).Status)
	b.refused("invalid_state", patch(`{"description":"x"}`))

	// The rule is that of the time of posting; more can approve.
	b.policy("EUR", "100", 3)
	b.refused("approval_required", postIt(tx))
	b.as("eva")
	b.did(approve)
	// Enough have approved; but it is above what an editor posts.
	b.refused("forbidden", postIt(tx))
	b.may("viewer", "approver")
	b.When(postIt(tx)).Named(
		ledger.TransactionStream(tx), ledger.AccountStream(cash), ledger.AccountStream(sales), "ledger_policy:EUR", "ledger_periods:all",
		"member:bob", "member:carl", "member:eva")
	require.Equal(t, ledger.StatusPosted, b.state(tx).Status)
}

// Any edit begins approval anew, and whoever edits is one of those who made it.
func TestAnEditResetsApprovals(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.policy("EUR", "10", 2)
	b.did(create(tx, "submit", draft(day, "debit cash 11, credit sales 11")))
	b.as("bob")
	b.did(transactions.ApproveTransaction{ID: tx})
	b.as("carl")
	b.did(patch(`{"description":"dinner"}`))
	require.Empty(t, b.state(tx).Approvals)
	require.Equal(t, []string{"ana", "carl"}, b.state(tx).Makers)
	b.refused("self_approval", transactions.ApproveTransaction{ID: tx})
	b.did(patch(`{"description":"dinner"}`)).ThenNothing()
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

func TestPatches(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	d := draft(day, "debit cash 1, credit sales 1")
	d.Description, d.Metadata = "first", map[string]json.RawMessage{"a": json.RawMessage(`{"b":[1.50,null,"<"]}`), "z": json.RawMessage("null")}
	until := domaintest.Now.Add(time.Hour)
	d.ExpiresAt = &until
	b.did(create(tx, "draft", d))
	require.Equal(t, `{"b":[1.50,null,"<"]}`, string(b.state(tx).Content.Metadata["a"]))
	require.Len(t, b.state(tx).Content.Metadata, 1)
	for document, message := range map[string]string{
		`[]`: "body", `null`: "body", `{"date":null}`: "body.date", `{"date":"x"}`: "body.date", `{"date":7}`: "body.date", `{"description":7}`: "body.description",
		`{"lines":null}`: "body.lines", `{"lines":[{"amount":7}]}`: "body.lines", `{"metadata":7}`: "body.metadata", `{"expires_at":7}`: "body.expires_at",
		`{"external_ref":"x"}`: "body.external_ref", `{"status":"posted"}`: "body.status",
	} {
		p := b.When(patch(document)).ThenProblem("invalid_transaction")
		require.Equal(t, message, p.Fields[0].Location, document)
	}
	for _, same := range []string{`{}`, `{"description":"first"}`, `{"date":"2026-03-01"}`, `{"metadata":{"y":null}}`, `{"metadata":{"a":{"b":[1.50,null,"<"]}}}`} {
		b.When(patch(same)).ThenNothing()
	}
	b.did(patch(`{"description":null,"date":"2026-03-02","metadata":{"c":true},"expires_at":"2026-03-02T00:00:00Z"}`))
	c := b.state(tx).Content
	require.Equal(t, "2026-03-02", c.Date.String())
	require.Empty(t, c.Description.Clear)
	require.Len(t, c.Metadata, 2)
	b.did(patch(`{"metadata":null,"expires_at":null,"lines":[{"account_id":"` + bank.String() + `","side":"debit","amount":"3.00"},{"account_id":"` + sales.String() + `","side":"credit","amount":"3.00"}]}`))
	c = b.state(tx).Content
	require.Nil(t, c.ExpiresAt)
	require.Empty(t, c.Metadata)
	require.Equal(t, bank, c.Lines[0].AccountID)
	b.did(transactions.CloseAccount{ID: bank})
	b.refused("account_closed", patch(`{"description":"x"}`))
	b.refused("account_closed", transactions.SubmitTransaction{ID: tx})
	b.refused("account_closed", postIt(tx))
	b.did(transactions.ReopenAccount{ID: bank})
	b.did(transactions.SubmitTransaction{ID: tx})
	b.close("2026-03-31")
	b.refused("period_closed", patch(`{"description":"x"}`))
	b.refused("period_closed", postIt(tx))
	moving := patch(`{"description":"x"}`)
	moving.Move = true
	b.did(moving)
	require.Equal(t, "2026-04-01", b.state(tx).Content.Date.String())
	b.did(create(other, "draft", draft(day, "debit cash 1, credit sales 1")))
	b.refused("period_closed", transactions.SubmitTransaction{ID: other})
}

func TestExternalRefs(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	until := domaintest.Now.Add(time.Hour)
	d := draft(day, "debit cash 1, credit sales 1")
	d.ExternalRef, d.ExpiresAt = "inv-1", &until
	b.did(create(tx, "submit", d))
	b.at(until.Add(time.Hour))
	b.did(transactions.ExpireTransaction{ID: tx})
	// The same again, whatever has become of it.
	b.When(create(other, "submit", d)).Resource(tx.String(), ledger.TransactionStream(tx), false).ThenNothing()
	d.Description, d.Date = "other", "2026-03-02"
	p := b.When(create(other, "post", d)).ThenProblem("external_ref_taken")
	require.Equal(t, tx.String(), p.Extra["id"])
	var fields []string
	for _, f := range p.Fields {
		fields = append(fields, f.Location)
	}
	require.Equal(t, []string{"body.date", "body.description", "body.action"}, fields)

	for i, action := range []string{"draft", "post"} {
		d := draft(day, "debit cash 1, credit sales 1")
		d.ExternalRef = action
		b.did(create(id(300+i), action, d))
		b.When(create(other, action, d)).Resource(id(300+i).String(), ledger.TransactionStream(id(300+i)), false).ThenNothing()
	}
	// One whose date was moved is the same.
	b.close("2026-03-31")
	d = draft(day, "debit cash 1, credit sales 1")
	d.ExternalRef = "moved"
	moved := create(id(310), "post", d)
	moved.Move = true
	b.did(moved)
	moved.ID = other
	b.When(moved).Resource(id(310).String(), ledger.TransactionStream(id(310)), false).ThenNothing()
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	until := domaintest.Now.Add(time.Hour)
	d := draft(day, "debit cash 1, credit sales 1")
	d.ExpiresAt = &until
	b.did(create(tx, "submit", d))
	b.at(until.Add(-time.Microsecond))
	b.When(transactions.ExpireTransaction{ID: tx}).ThenNothing()
	b.at(until)
	// Also before the timer fires it is over.
	b.refused("invalid_state", postIt(tx))
	b.refused("invalid_state", transactions.ApproveTransaction{ID: tx})
	require.NotNil(t, b.did(transactions.ExpireTransaction{ID: tx}).Decision.Facts[0].Payload.(ledger.Expired).Released)
	b.When(transactions.ExpireTransaction{ID: tx}).ThenNothing()
	b.did(create(other, "draft", draft(day, "debit cash 1, credit sales 1")))
	b.When(transactions.ExpireTransaction{ID: other}).ThenNothing()
}
