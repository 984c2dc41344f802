package ledger_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func newAccount(change func(*ledger.NewAccount)) act {
	a := ledger.NewAccount{ID: id(50), Code: "1000", Name: "Bank", Kind: ledger.Asset, Currency: "EUR"}
	change(&a)
	return open(a)
}

func TestOpeningAnAccount(t *testing.T) {
	b, stream := newBook(t), ledger.AccountStream(id(50))
	b.When(newAccount(func(a *ledger.NewAccount) { a.MinBalance = new("-12.5") })).Then(domain.Fact{
		Stream: stream, Tags: []domain.Tag{"account_code:1000", ledger.BalanceTag(id(50))},
		Payload: ledger.Opened{Code: "1000", Name: "Bank", Kind: ledger.Asset, Currency: "EUR", MinBalance: "-12.50"},
	})
	var read ledger.Account
	b.did(account(id(50), func(a ledger.Account) []domain.Fact { read = a; return nil }))
	require.Equal(t, ledger.Account{ID: id(50), Code: "1000", Name: "Bank", Kind: ledger.Asset, Currency: "EUR", MinBalance: new(int64(-1250))}, read)
	require.True(t, read.Guarded())
	b.refused("conflict", newAccount(func(*ledger.NewAccount) {}))
	b.IfMatch(1)
	b.refused("version_conflict", newAccount(func(a *ledger.NewAccount) { a.ID, a.Code = id(51), "1001" }))
	b.IfMatch(0)
	require.Equal(t, id(50).String(), b.refused("code_taken", newAccount(func(a *ledger.NewAccount) { a.ID = id(51) }))["id"])

	// At its bounds; without a least balance, it has no boundary for it.
	b.When(newAccount(func(a *ledger.NewAccount) {
		a.ID, a.Code, a.Name, a.Kind, a.EntityID = id(52), strings.Repeat("ü", 64), strings.Repeat("x", 200), ledger.Equity, &ana
	})).Then(domain.Fact{
		Stream: ledger.AccountStream(id(52)), Tags: []domain.Tag{ledger.CodeTag(strings.Repeat("ü", 64))},
		Payload: ledger.Opened{Code: strings.Repeat("ü", 64), Name: strings.Repeat("x", 200), Kind: ledger.Equity, Currency: "EUR", EntityID: &ana},
	})
	b.did(newAccount(func(a *ledger.NewAccount) { a.ID, a.Code, a.MinBalance = id(53), "1001", new("0") }))
	require.True(t, ledger.ValidCode(strings.Repeat("ü", 64)))
	require.False(t, ledger.ValidCode(strings.Repeat("ü", 65)))
}

func TestAccountsThatCannotBeOpened(t *testing.T) {
	for location, changes := range map[string][]func(*ledger.NewAccount){
		"body.code": {
			func(a *ledger.NewAccount) { a.Code = "" }, func(a *ledger.NewAccount) { a.Code = strings.Repeat("x", 65) },
			func(a *ledger.NewAccount) { a.Code = "a\nb" }, func(a *ledger.NewAccount) { a.Code = "x " },
		},
		"body.name": {
			func(a *ledger.NewAccount) { a.Name = " x" }, func(a *ledger.NewAccount) { a.Name = "\xff" },
			func(a *ledger.NewAccount) { a.Name = strings.Repeat("x", 201) }, func(a *ledger.NewAccount) { a.Name = "a\u202eb" },
		},
		"body.kind":     {func(a *ledger.NewAccount) { a.Kind = "bank" }, func(a *ledger.NewAccount) { a.Kind = "" }},
		"body.currency": {func(a *ledger.NewAccount) { a.Currency = "DEM" }, func(a *ledger.NewAccount) { a.Currency, a.MinBalance = "DEM", new("x") }},
		"body.min_balance": {
			func(a *ledger.NewAccount) { a.MinBalance = new("-0") }, func(a *ledger.NewAccount) { a.MinBalance = new("0.01") },
			func(a *ledger.NewAccount) { a.MinBalance = new("1e3") },
		},
	} {
		for i, change := range changes {
			p := newBook(t).problem("invalid_account", newAccount(change))
			require.Equal(t, []string{location}, locations(p), "%d", i)
		}
	}
	several := newBook(t).problem("invalid_account", newAccount(func(a *ledger.NewAccount) { a.Code, a.MinBalance = "a\nb", new("1") }))
	require.Equal(t, []string{"body.code", "body.min_balance"}, locations(several))
	unknown := func(a *ledger.NewAccount) { a.Code, a.EntityID = "cash", new(uuid.Nil) }
	require.Equal(t, []string{"body.entity_id"}, locations(newBook(t).problem("unknown_entity", newAccount(unknown))), "before code_taken")
}

// An account can be closed with money on it and transactions that wait. They end, or wait
// until it is open again.
func TestClosingAnAccountThatIsInUse(t *testing.T) {
	b := newBook(t)
	b.did(posted(other, day, "debit cash 5, credit sales 5"))
	for i := range 3 {
		b.did(create(id(200+i), "submit", draft(day, "debit cash 1, credit sales 1")))
	}
	b.did(shut(cash))
	b.refused("account_closed", b.post(id(200)))
	b.refused("account_closed", reverse(other, id(300), ""))
	b.did(void(id(201)))
	b.did(reject(id(202)))
	b.did(reopen(cash))
	b.did(b.post(id(200)))
	b.did(reverse(other, id(300), ""))
}

func TestCloseAndReopen(t *testing.T) {
	b := newBook(t)
	stream := ledger.AccountStream(cash)
	b.When(shut(cash)).Then(domain.Fact{Stream: stream, Payload: ledger.Closed{}})
	b.When(shut(cash)).ThenNothing()
	require.Equal(t, cash.String(), b.refused("account_closed", posted(tx, day, "debit cash 1, credit sales 1"))["account_id"])
	b.When(reopen(cash)).Then(domain.Fact{Stream: stream, Payload: ledger.Reopened{}})
	b.When(reopen(cash)).ThenNothing()
	b.did(posted(tx, day, "debit cash 1, credit sales 1"))
	b.refused("not_found", shut(uuid.Nil))
	b.IfMatch(1)
	require.Equal(t, int64(3), b.refused("version_conflict", shut(cash))["version"])
	b.IfMatch(3)
	b.did(shut(cash))
}

func TestPolicies(t *testing.T) {
	b := newBook(t)
	set := func(currency string, above *string, needed int) act {
		return setPolicy(ledger.NewPolicy{Currency: currency, ApprovalAbove: above, ApprovalsNeeded: needed})
	}
	b.When(set("EUR", new("100"), 2)).
		Then(domain.Fact{Stream: "ledger_policy:EUR", Payload: ledger.PolicySet{Currency: "EUR", ApprovalAbove: "100.00", ApprovalsNeeded: 2}})
	b.When(set("EUR", new("100.0"), 2)).ThenNothing()
	for _, different := range []act{set("EUR", new("100.01"), 2), set("EUR", new("100.01"), 1), set("EUR", nil, 1), set("EUR", new("0"), 1), set("EUR", nil, 10), set("JPY", nil, 1)} {
		require.Len(t, b.did(different), 1)
		b.When(different).ThenNothing()
	}
	for location, invalid := range map[string]act{
		"body.currency": set("DEM", new("x"), 1), "body.approval_above": set("EUR", new("-1"), 1),
	} {
		require.Equal(t, []string{location}, locations(b.problem("invalid_policy", invalid)))
	}
	for _, needed := range []int{0, 11} {
		p := b.problem("invalid_policy", set("EUR", nil, needed))
		require.Equal(t, []problem.Field{{Location: "body.approvals_needed", Message: "must be from 1 to 10"}}, p.Fields)
	}
}

func TestClosedPeriods(t *testing.T) {
	b := newBook(t)
	b.When(closePeriods("")).ThenNothing()
	january := date(t, "2026-01-31")
	b.When(closePeriods("2026-01-31")).Then(domain.Fact{Stream: "ledger_periods:all", Payload: ledger.PeriodsClosed{ClosedThrough: &january}})
	b.When(closePeriods("2026-01-31")).ThenNothing()
	require.Equal(t, []string{"body.closed_through"}, locations(b.problem("invalid_periods", closePeriods("2026-02-30"))))
	require.Equal(t, "2026-01-31", b.refused("period_closed", posted(tx, "2026-01-31", "debit cash 1, credit sales 1"))["closed_through"])
	b.did(posted(id(110), "2026-02-01", "debit cash 1, credit sales 1"))
	b.did(closePeriods("2026-01-30"))
	b.did(posted(id(111), "2026-01-31", "debit cash 1, credit sales 1"))
	b.did(closePeriods("2026-01-31"))
	moved := ledger.NewTransaction{ID: tx, Draft: draft("2026-01-02", "debit cash 1, credit sales 1"), Action: "post", Move: true}
	require.Equal(t, "2026-02-01", b.did(creating(moved))[0].Payload.(ledger.Posted).Date.String())
	late := id(112)
	b.did(create(late, "draft", draft("2026-01-02", "debit cash 1, credit bank 1")))
	b.refused("period_closed", submit(late))
	b.refused("insufficient_funds", submitMoved(late))
	b.did(posted(id(113), "2026-02-01", "debit bank 1, credit sales 1"))
	require.Equal(t, "2026-02-01", b.did(submitMoved(late))[0].Payload.(ledger.Submitted).Held.Date.String())
	require.Equal(t, "2026-02-01", b.state(late).Content.Date.String())
	require.Equal(t, "2026-02-01", b.did(void(late))[0].Payload.(ledger.Voided).Released.Date.String())
	b.did(closePeriods(""))
	b.did(posted(other, "2026-01-31", "debit cash 1, credit sales 1"))
	b.close("2199-12-30")
	moved.ID = id(102)
	require.Equal(t, "2199-12-31", b.did(creating(moved))[0].Payload.(ledger.Posted).Date.String())
	b.close("2199-12-31")
	moved.ID = id(103)
	b.refused("period_closed", creating(moved))
}
