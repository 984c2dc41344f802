package ledger_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// What is wrong with a request is told by the first of these, whatever else is wrong.
func TestProblemsInTheirOrder(t *testing.T) {
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
		{"unbalanced", func() { d.Lines = lines("debit cash 9, credit bank 9"); b.did(shut(cash)) }},
		{"account_closed", func() { b.did(reopen(cash)) }},
		{"period_closed", func() { d.Date = day }},
		{"approval_required", func() { b.policy("EUR", "9", 1) }},
		{"insufficient_funds", func() { d.Lines = lines("debit bank 9, credit cash 9") }},
	} {
		b.refused(step.code, create(tx, "post", d))
		step.mend()
	}
	b.did(create(tx, "post", d))
}

// The state machine, all of it: what From says of an action and a status is what is done, and
// what is not refused becomes what it shall be.
func TestTheStateMachine(t *testing.T) {
	until := domaintest.Now.Add(time.Hour)
	begin := map[ledger.Status]func(*book){
		ledger.StatusDraft:     func(*book) {},
		ledger.StatusSubmitted: func(b *book) { b.did(submit(tx)) },
		ledger.StatusApproved: func(b *book) {
			b.did(submit(tx))
			b.as("bob")
			b.did(approve(tx))
			b.as("ana")
		},
		ledger.StatusPosted: func(b *book) { b.did(b.post(tx)) },
		ledger.StatusReversed: func(b *book) {
			b.did(b.post(tx))
			b.did(reverse(tx, id(190), ""))
		},
		ledger.StatusRejected: func(b *book) {
			b.did(submit(tx))
			b.did(reject(tx))
		},
		ledger.StatusVoided: func(b *book) { b.did(void(tx)) },
		ledger.StatusExpired: func(b *book) {
			b.at(until)
			b.did(expire(tx))
			b.at(domaintest.Now)
		},
	}
	acts := map[ledger.Action]func(*book) act{
		ledger.ActionPatch: func(*book) act { return patch(`{"description":"new"}`) }, ledger.ActionSubmit: func(*book) act { return submit(tx) },
		ledger.ActionApprove: func(*book) act { return approve(tx) }, ledger.ActionReject: func(*book) act { return reject(tx) },
		ledger.ActionPost: func(b *book) act { return b.post(tx) }, ledger.ActionVoid: func(*book) act { return void(tx) },
		ledger.ActionReverse: func(*book) act { return reverse(tx, id(191), "") }, ledger.ActionExpire: func(*book) act { return expire(tx) },
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
				o := b.When(acts[action](b))
				switch {
				case slices.Contains(action.From(), status):
					require.NoError(t, o.Err)
					require.NotEmpty(t, o.Decision.Facts)
					require.Equal(t, then(action, status), b.state(tx).Status)
				case action == ledger.ActionExpire:
					o.ThenNothing()
				default:
					require.Equal(t, string(status), o.ThenProblem("invalid_state").Extra["status"])
				}
			})
		}
	}
}

// then is what a transaction in a status is after an action that can be done in it; here
// nobody's approval is needed, so one is enough.
func then(action ledger.Action, before ledger.Status) ledger.Status {
	after, changes := map[ledger.Action]ledger.Status{
		ledger.ActionSubmit: ledger.StatusSubmitted, ledger.ActionApprove: ledger.StatusApproved, ledger.ActionReject: ledger.StatusRejected,
		ledger.ActionPost: ledger.StatusPosted, ledger.ActionVoid: ledger.StatusVoided, ledger.ActionReverse: ledger.StatusReversed,
		ledger.ActionExpire: ledger.StatusExpired,
	}[action]
	if !changes {
		return before
	}
	return after
}

// A balance is never too small, on no day: neither by what is posted nor by what is held,
// and neither today nor by an entry of the past.
func TestNoOverdraft(t *testing.T) {
	b := newBook(t)
	b.did(posted(id(1000), "2026-01-10", "debit bank 100, credit sales 100"))
	b.did(posted(id(1001), "2026-02-10", "debit cash 80, credit bank 80"))
	// There was 100 on this day, and 20 of it is free.
	refused := b.refused("insufficient_funds", posted(tx, "2026-01-20", "debit cash 50, credit bank 50"))
	require.Equal(t, map[string]any{"account_id": bank.String(), "date": "2026-02-10", "available": "-30.00", "min_balance": "0.00"}, refused)
	require.Equal(t, "2026-01-09", b.refused("insufficient_funds", posted(tx, "2026-01-09", "debit cash 1, credit bank 1"))["date"])
	// What comes in later does not help today.
	b.did(posted(id(1002), "2026-04-01", "debit bank 1000, credit sales 1000"))
	require.Equal(t, "2026-03-01", b.refused("insufficient_funds", posted(tx, day, "debit cash 21, credit bank 21"))["date"])

	// What is held is not there for others, until it is released.
	b.did(create(tx, "submit", draft(day, "debit cash 15, credit bank 15")))
	require.Equal(t, "-1.00", b.refused("insufficient_funds", create(other, "submit", draft(day, "debit cash 6, credit bank 6")))["available"])
	b.did(create(other, "submit", draft(day, "debit cash 5, credit bank 5")))
	b.refused("insufficient_funds", patch(`{"lines":[{"account_id":"`+cash.String()+`","side":"debit","amount":"16"},{"account_id":"`+bank.String()+`","side":"credit","amount":"16"}]}`))
	b.did(patch(`{"lines":[{"account_id":"` + cash.String() + `","side":"debit","amount":"12"},{"account_id":"` + bank.String() + `","side":"credit","amount":"12"}]}`))
	b.did(void(other))
	b.did(b.post(tx))
	b.did(posted(id(1003), day, "debit cash 8, credit bank 8"))
	b.refused("insufficient_funds", posted(id(1004), day, "debit cash 0.01, credit bank 0.01"))
	// Reversing what came in takes it away.
	require.Equal(t, "2026-02-10", b.refused("insufficient_funds", reverse(id(1000), id(1005), ""))["date"])
	// What would come in is nobody's to spend yet.
	b.did(create(id(1006), "submit", draft(day, "debit bank 50, credit sales 50")))
	b.refused("insufficient_funds", posted(id(1007), day, "debit cash 1, credit bank 1"))
	b.did(reject(id(1006)))

	// A liability grows by credits; this one may be 500 the other way.
	b.did(posted(id(1008), day, "debit loan 500, credit cash 500"))
	b.refused("insufficient_funds", posted(id(1009), day, "debit loan 0.01, credit cash 0.01"))
	// Both sides at once are what they come to.
	b.did(posted(id(1010), day, "debit loan 7, credit loan 7"))

	b.did(posted(id(1011), "2027-01-01", "debit bank 9999999999990000, credit sales 9999999999990000"))
	b.refused("invalid_amount", posted(id(1012), "2026-12-01", "debit bank 99999, credit sales 99999"))
}

func TestPartialPost(t *testing.T) {
	b := newBook(t)
	b.did(posted(id(1000), day, "debit bank 100, credit sales 100"))
	b.did(create(tx, "submit", draft(day, "debit cash 60, debit loan 40, credit bank 100")))
	part := func(text string) act { return b.post(tx, lines(text)...) }
	b.refused("exceeds_transaction", part("debit cash 61, credit bank 61"))
	b.refused("exceeds_transaction", part("debit bank 1, credit bank 1"))
	b.refused("unknown_account", part("debit sales 1, credit bank 1"))
	b.refused("unknown_account", part("debit x 1, credit bank 1"))
	b.refused("unbalanced", part("debit cash 1, credit bank 2"))
	b.refused("invalid_amount", part("debit cash -1, credit bank 2"))
	b.refused("invalid_transaction", part("debit cash 1"))
	b.refused("invalid_transaction", part("debit x 1, both bank 1"))
	b.did(create(id(1003), "draft", draft(day, "debit cash 60, credit sales 60")))
	b.did(b.post(id(1003), lines("debit cash 60, credit sales 60")...)) // all of it
	fact := b.did(part("debit cash 30, debit loan 10, credit bank 40"))[0]
	require.Len(t, fact.Payload.(ledger.Posted).Released.Lines, 3)
	require.ElementsMatch(t, []domain.Tag{ledger.BalanceTag(bank), ledger.BalanceTag(loan)}, fact.Tags)
	require.Equal(t, ledger.StatusPosted, b.state(tx).Status)
	// The rest is free again.
	b.did(posted(other, day, "debit cash 60, credit bank 60"))
	b.refused("insufficient_funds", posted(id(1001), day, "debit cash 0.01, credit bank 0.01"))
	// What is reversed is what was posted.
	reversal := b.did(reverse(tx, id(1002), "2026-03-05"))[0].Payload.(ledger.Posted)
	require.Equal(t, "2026-03-05", reversal.Date.String())
	require.Len(t, reversal.Lines, 3)
	require.Equal(t, ledger.Line{AccountID: cash, Side: ledger.Credit, Amount: ledger.Money{Minor: 3000, Currency: "EUR"}}, reversal.Lines[0])
}

func TestReversals(t *testing.T) {
	b := newBook(t)
	b.did(posted(tx, day, "debit cash 5, credit sales 5"))
	b.did(posted(id(110), day, "debit cash 5, credit sales 5"))
	b.did(reverse(id(110), id(111), day)) // on the same day
	b.refused("invalid_transaction", reverse(tx, other, "2026-02-28"))
	b.refused("invalid_transaction", reverse(tx, other, "soon"))
	b.refused("invalid_transaction", reversing(ledger.Reversal{ID: tx, By: other, Description: new(strings.Repeat("x", 1001))}))
	b.did(shut(cash))
	b.refused("account_closed", reverse(tx, other, ""))
	b.did(reopen(cash))
	b.close("2026-03-31")
	b.refused("period_closed", reverse(tx, other, ""))
	require.Len(t, b.did(reversing(ledger.Reversal{ID: tx, By: other, Move: true, Description: new("Twice")})), 2)
	require.Equal(t, "Twice", b.state(other).Content.Description.Clear)
	require.Equal(t, "2026-04-01", b.state(other).Content.Date.String())
	require.Equal(t, tx, *b.state(other).Reverses)
	require.Equal(t, other, *b.state(tx).ReversedBy)
	b.refused("invalid_state", reverse(tx, id(102), "2026-05-01"))
	// A reversal is a transaction: it can be taken back, once.
	b.did(reverse(other, id(103), "2026-05-01"))
	b.refused("invalid_state", reverse(other, id(104), "2026-05-01"))
}

func TestApprovals(t *testing.T) {
	b := newBook(t)
	b.policy("EUR", "100", 2)
	b.did(posted(id(1000), day, "debit cash 100, credit sales 100")) // at the limit
	require.Equal(t, map[string]any{"approvals_needed": 2, "approvals": 0}, b.refused("approval_required", posted(tx, day, "debit cash 100.01, credit sales 100.01")))
	b.did(create(tx, "draft", draft(day, "debit cash 101, credit sales 101")))
	b.as("dora")
	b.did(submit(tx))
	b.refused("self_approval", approve(tx)) // she submitted it
	b.as("ana")
	b.refused("self_approval", approve(tx)) // she made it
	// The same human under another login, or behind a service.
	b.With(func(m *domain.Meta) { m.Actor = domain.Actor{Sub: "ana2", Person: "ana"} })
	b.refused("self_approval", approve(tx))
	b.With(func(m *domain.Meta) {
		m.Actor, m.OnBehalfOf = domain.Actor{Sub: "system:x", Person: "system:x"}, &domain.Actor{Sub: "a", Person: "ana"}
	})
	b.refused("self_approval", approve(tx))

	b.as("bob")
	require.False(t, b.did(approve(tx))[0].Payload.(ledger.Approved).Complete)
	b.When(approve(tx)).ThenNothing() // he has
	require.Equal(t, 1, b.refused("approval_required", b.post(tx))["approvals"])
	b.as("carl")
	require.True(t, b.did(approve(tx))[0].Payload.(ledger.Approved).Complete)
	require.Equal(t, ledger.StatusApproved, b.state(tx).Status)
	b.refused("invalid_state", patch(`{"description":"x"}`))

	// The rule is that of the time of posting; more can approve.
	b.policy("EUR", "100", 3)
	b.refused("approval_required", b.post(tx))
	b.as("eva")
	b.did(approve(tx))
	// Enough have approved; but it is above what an editor posts.
	b.refused("forbidden", b.post(tx))
	b.aboveLimit = true
	// The approval of who may not approve any more is none.
	b.lost["bob"] = true
	require.Equal(t, map[string]any{"approvals_needed": 3, "approvals": 2}, b.refused("approval_required", b.post(tx)))
	b.lost["bob"] = false
	b.did(b.post(tx))

	b.aboveLimit = false
	b.policy("EUR", "100", 1)
	b.as("ana")
	b.did(create(other, "submit", draft(day, "debit cash 101, credit sales 101")))
	b.as("bob")
	b.did(approve(other))
	b.refused("forbidden", b.post(other))
}

// Any edit begins approval anew, and whoever edits is one of those who made it.
func TestAnEditResetsApprovals(t *testing.T) {
	b := newBook(t)
	b.policy("EUR", "10", 2)
	b.did(create(tx, "submit", draft(day, "debit cash 11, credit sales 11")))
	b.as("bob")
	b.did(approve(tx))
	b.as("carl")
	b.did(patch(`{"description":"dinner"}`))
	require.Empty(t, b.state(tx).Approvals)
	require.Equal(t, []string{"ana", "carl"}, b.state(tx).Makers)
	b.refused("self_approval", approve(tx))
	b.When(patch(`{"description":"dinner"}`)).ThenNothing()
}

func TestPatches(t *testing.T) {
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
		p := b.problem("invalid_transaction", patch(document))
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
	b.did(shut(bank))
	b.refused("account_closed", patch(`{"description":"x"}`))
	b.refused("account_closed", submit(tx))
	b.refused("account_closed", b.post(tx))
	b.did(reopen(bank))
	b.did(submit(tx))
	b.close("2026-03-31")
	b.refused("period_closed", patch(`{"description":"x"}`))
	b.refused("period_closed", b.post(tx))
	b.did(patching(ledger.Patch{ID: tx, Document: []byte(`{"description":"x"}`), Move: true}))
	require.Equal(t, "2026-04-01", b.state(tx).Content.Date.String())
	b.did(create(other, "draft", draft(day, "debit cash 1, credit sales 1")))
	b.refused("period_closed", submit(other))
}

func TestExternalRefs(t *testing.T) {
	b := newBook(t)
	until := domaintest.Now.Add(time.Hour)
	d := draft(day, "debit cash 1, credit sales 1")
	d.ExternalRef, d.ExpiresAt = "inv-1", &until
	require.Equal(t, []domain.Tag{"external_ref:inv-1"}, b.did(create(tx, "submit", d))[0].Tags)
	// The same again, whatever has become of it and however late.
	b.at(until.Add(time.Hour))
	b.did(expire(tx))
	b.found(tx, create(other, "submit", d))
	d.Description, d.Date = "other", "2026-03-02"
	p := b.problem("external_ref_taken", create(other, "post", d))
	require.Equal(t, tx.String(), p.Extra["id"])
	require.Equal(t, []string{"body.date", "body.description", "body.action"}, locations(p))

	for i, action := range []string{"draft", "post"} {
		d := draft(day, "debit cash 1, credit sales 1")
		d.ExternalRef = action
		b.did(create(id(300+i), action, d))
		b.found(id(300+i), create(other, action, d))
	}
	// One whose date was moved is the same, if it may be moved again.
	b.close("2026-03-31")
	d = draft(day, "debit cash 1, credit sales 1")
	d.ExternalRef = "moved"
	moved := ledger.NewTransaction{ID: id(310), Draft: d, Action: "post", Move: true}
	b.did(creating(moved))
	moved.ID = other
	b.found(id(310), creating(moved))
	moved.Move = false
	require.Equal(t, []string{"body.date"}, locations(b.problem("external_ref_taken", creating(moved))))
}

// A date moves forward only: a later one than the first was moved to is another.
func TestAnExternalRefOfALaterDate(t *testing.T) {
	b := newBook(t)
	b.close("2026-03-31")
	d := draft(day, "debit cash 1, credit sales 1")
	d.ExternalRef = "moved"
	moved := ledger.NewTransaction{ID: tx, Draft: d, Action: "post", Move: true}
	b.did(creating(moved))
	moved.ID, moved.Draft.Date = other, "2026-04-01"
	b.found(tx, creating(moved))
	moved.Draft.Date = "2026-04-02"
	require.Equal(t, []string{"body.date"}, locations(b.When(creating(moved)).ThenProblem("external_ref_taken")))
}

// Who lacks approvals is told what to do about it, which depends on how far the transaction is.
func TestWhatToDoAboutApprovals(t *testing.T) {
	b := newBook(t)
	b.policy("EUR", "100", 1)
	over := draft(day, "debit cash 101, credit sales 101")
	b.did(create(tx, "draft", over))
	b.did(create(other, "submit", over))
	require.ErrorContains(t, b.When(create(id(300), "post", over)).Err, "Submit the transaction and let others approve it.")
	require.ErrorContains(t, b.When(b.post(tx)).Err, "Submit the transaction and let others approve it.")
	require.ErrorContains(t, b.When(b.post(other)).Err, "Let more persons approve it.")
}

// found expects a transaction that was made before.
func (b *book) found(id uuid.UUID, d domain.Decider) {
	b.t.Helper()
	o := b.When(d)
	o.ThenNothing()
	require.Equal(b.t, id.String(), o.Decision.ResourceID)
}

// locations are those of a problem's faults.
func locations(p *problem.Problem) (all []string) {
	for _, field := range p.Fields {
		all = append(all, field.Location)
	}
	return all
}

func TestExpiry(t *testing.T) {
	b := newBook(t)
	until := domaintest.Now.Add(time.Hour)
	d := draft(day, "debit cash 1, credit sales 1")
	d.ExpiresAt = &until
	b.did(create(tx, "submit", d))
	b.at(until.Add(-time.Microsecond))
	b.When(expire(tx)).ThenNothing()
	b.at(until)
	// Also before the timer fires it is over.
	b.refused("invalid_state", b.post(tx))
	b.refused("invalid_state", approve(tx))
	require.NotNil(t, b.did(expire(tx))[0].Payload.(ledger.Expired).Released)
	b.When(expire(tx)).ThenNothing()
	b.did(create(other, "draft", draft(day, "debit cash 1, credit sales 1")))
	b.When(expire(other)).ThenNothing()

	// What was posted in time can be reversed later, and what was not can be voided.
	b.at(until.Add(-time.Microsecond))
	b.did(create(id(102), "draft", d))
	b.did(create(id(103), "post", d))
	b.at(until)
	require.Contains(t, b.problem("invalid_state", b.post(id(102))).Detail, "has expired: it was good until 2026-03-01T13:00:00Z")
	b.did(void(id(102)))
	b.did(reverse(id(103), id(104), ""))
}

// A problem says what an action needs.
func TestWhatAnActionNeeds(t *testing.T) {
	b := newBook(t)
	b.did(posted(tx, day, "debit cash 1, credit sales 1"))
	for wants, act := range map[string]act{
		"The transaction is posted, and submit needs one that is draft.":                      submit(tx),
		"The transaction is posted, and approve needs one that is submitted or approved.":     approve(tx),
		"The transaction is posted, and void needs one that is draft, submitted or approved.": void(tx),
	} {
		require.Equal(t, wants, b.problem("invalid_state", act).Detail)
	}
	require.Empty(t, ledger.Action("dance").From())
	b.refused("not_found", submit(other))
}

// What a transaction is decided on: its accounts, and of the balances those with a least one.
func TestTheBoundariesOfATransaction(t *testing.T) {
	b := newBook(t)
	b.When(posted(tx, day, "debit bank 1, debit dollars 1, credit sales 1, credit dollars 1")).Named(
		ledger.TransactionStream(tx), ledger.AccountStream(bank), ledger.AccountStream(sales), ledger.AccountStream(dollars), ledger.BalanceTag(bank),
		"ledger_policy:EUR", "ledger_policy:USD", "ledger_periods:all", domain.SubjectTag(ana.String()), domain.SubjectTag(ben.String()))
}
