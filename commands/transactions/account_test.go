package transactions_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestOpenAccount(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	account := ledger.NewAccount{ID: id(50), Code: "1000", Name: "Bank", Kind: ledger.Asset, Currency: "EUR", MinBalance: new("-12.5")}
	b.When(transactions.OpenAccount{NewAccount: account}).
		Named(ledger.AccountStream(id(50)), "account_code:1000").
		Resource(id(50).String(), ledger.AccountStream(id(50)), true).
		Then(domain.Fact{
			Stream: ledger.AccountStream(id(50)), Tags: []domain.Tag{"account_code:1000", ledger.BalanceTag(id(50))},
			Payload: ledger.Opened{Code: "1000", Name: "Bank", Kind: ledger.Asset, Currency: "EUR", MinBalance: "-12.50"},
		})
	b.refused("conflict", transactions.OpenAccount{NewAccount: account})
	account.ID = id(51)
	require.Equal(t, id(50).String(), b.refused("code_taken", transactions.OpenAccount{NewAccount: account})["id"])
	require.Equal(t, []domain.Tag{ledger.AccountStream(id(51))}, transactions.OpenAccount{NewAccount: account}.Fresh())
}

func TestAccountsThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	for location, change := range map[string]func(*ledger.NewAccount){
		"body.code":        func(a *ledger.NewAccount) { a.Code = "" },
		"body.name":        func(a *ledger.NewAccount) { a.Name = " x" },
		"body.kind":        func(a *ledger.NewAccount) { a.Kind = "bank" },
		"body.currency":    func(a *ledger.NewAccount) { a.Currency = "DEM" },
		"body.min_balance": func(a *ledger.NewAccount) { a.MinBalance = new("-0") },
	} {
		a := ledger.NewAccount{ID: id(50), Code: "1", Name: "n", Kind: ledger.Asset, Currency: "EUR"}
		change(&a)
		p := newBook(t).When(transactions.OpenAccount{NewAccount: a}).ThenProblem("invalid_account")
		require.Len(t, p.Fields, 1)
		require.Equal(t, location, p.Fields[0].Location)
	}
	a := ledger.NewAccount{ID: id(50), Code: "a\nb", Name: "n", Kind: ledger.Asset, Currency: "EUR", MinBalance: new("1")}
	require.Len(t, newBook(t).When(transactions.OpenAccount{NewAccount: a}).ThenProblem("invalid_account").Fields, 2)
	for _, name := range []string{"\xff", string(make([]byte, 201)), "a\u202eb"} {
		a.Code, a.Name, a.MinBalance = "1", name, nil
		newBook(t).refused("invalid_account", transactions.OpenAccount{NewAccount: a})
	}
}

func TestAnAccountOfAnEntity(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	ana := id(70)
	a := ledger.NewAccount{ID: id(50), Code: "1", Name: "n", Kind: ledger.Asset, Currency: "EUR", EntityID: &ana}
	b.refused("unknown_entity", transactions.OpenAccount{NewAccount: a})
	record(b, domain.Fact{Stream: entity.Stream(ana), Payload: entity.Created{Type: "customer"}})
	opened := b.did(transactions.OpenAccount{NewAccount: a}).Decision.Facts[0].Payload.(ledger.Opened)
	require.Equal(t, &ana, opened.EntityID)
	record(b, domain.Fact{Stream: entity.Stream(ana), Payload: entity.Archived{}})
	a.ID, a.Code = id(51), "2"
	b.refused("unknown_entity", transactions.OpenAccount{NewAccount: a})
}

// record puts a fact of another area into the scenario.
func record(b *book, fact domain.Fact) { b.did(recording{fact}) }

type recording struct{ fact domain.Fact }

func (r recording) Boundaries(domain.Reader) []domain.Tag { return []domain.Tag{r.fact.Stream} }

func (r recording) Decide(domain.Reader, domain.Meta) (domain.Decision, error) {
	return domain.Decision{Stream: r.fact.Stream, Facts: []domain.Fact{r.fact}}, nil
}

// An account can be closed with money on it and transactions that wait. They end, or wait
// until it is open again.
func TestClosingAnAccountThatIsInUse(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.did(post(other, day, "debit cash 5, credit sales 5"))
	for i := range 3 {
		b.did(create(id(200+i), "submit", draft(day, "debit cash 1, credit sales 1")))
	}
	b.did(transactions.CloseAccount{ID: cash})
	b.refused("account_closed", postIt(id(200)))
	b.refused("account_closed", reverse(other, id(300), ""))
	b.did(transactions.VoidTransaction{ID: id(201)})
	b.did(transactions.RejectTransaction{ID: id(202)})
	b.did(transactions.ReopenAccount{ID: cash})
	b.did(postIt(id(200)))
	b.did(reverse(other, id(300), ""))
}

func TestCloseAndReopen(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	stream := ledger.AccountStream(cash)
	b.When(transactions.CloseAccount{ID: cash}).Named(stream).Then(domain.Fact{Stream: stream, Payload: ledger.Closed{}})
	b.When(transactions.CloseAccount{ID: cash}).ThenNothing()
	require.Equal(t, cash.String(), b.refused("account_closed", post(tx, "2026-01-01", "debit cash 1, credit sales 1"))["account_id"])
	b.When(transactions.ReopenAccount{ID: cash}).Named(stream).Then(domain.Fact{Stream: stream, Payload: ledger.Reopened{}})
	b.When(transactions.ReopenAccount{ID: cash}).ThenNothing()
	b.did(post(tx, "2026-01-01", "debit cash 1, credit sales 1"))
	b.refused("not_found", transactions.CloseAccount{ID: uuid.Nil})
	b.refused("not_found", transactions.ReopenAccount{ID: uuid.Nil})
	b.IfMatch(1)
	p := b.When(transactions.CloseAccount{ID: cash}).ThenProblem("version_conflict")
	require.Equal(t, problem.Stale, p.Kind)
	require.Equal(t, int64(3), p.Extra["version"])
}

func TestSetPolicy(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	set := func(currency string, above *string, needed int) transactions.SetPolicy {
		return transactions.SetPolicy{NewPolicy: ledger.NewPolicy{Currency: currency, ApprovalAbove: above, ApprovalsNeeded: needed}}
	}
	b.When(set("EUR", new("100"), 2)).Named("ledger_policy:EUR").Resource("EUR", "ledger_policy:EUR", false).
		Then(domain.Fact{Stream: "ledger_policy:EUR", Payload: ledger.PolicySet{Currency: "EUR", ApprovalAbove: "100.00", ApprovalsNeeded: 2}})
	b.When(set("EUR", new("100.0"), 2)).ThenNothing()
	require.Len(t, b.did(set("EUR", new("100"), 1)).Decision.Facts, 1)
	require.Len(t, b.did(set("EUR", nil, 1)).Decision.Facts, 1)
	b.When(set("EUR", nil, 1)).ThenNothing()
	require.Len(t, b.did(set("JPY", nil, 1)).Decision.Facts, 1)
	b.refused("invalid_policy", set("DEM", nil, 1))
	b.refused("invalid_policy", set("EUR", new("-1"), 1))
	b.refused("invalid_policy", set("EUR", nil, 0))
	b.refused("invalid_policy", set("EUR", nil, 11))
	b.IfMatch(1)
	b.refused("version_conflict", set("EUR", nil, 1))
}

func TestClosePeriods(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.When(transactions.ClosePeriods{}).ThenNothing()
	january, _ := ledger.ParseDate("2026-01-31")
	b.When(transactions.ClosePeriods{Through: new("2026-01-31")}).Named("ledger_periods:all").Resource("all", "ledger_periods:all", false).
		Then(domain.Fact{Stream: "ledger_periods:all", Payload: ledger.PeriodsClosed{ClosedThrough: &january}})
	b.When(transactions.ClosePeriods{Through: new("2026-01-31")}).ThenNothing()
	b.refused("invalid_periods", transactions.ClosePeriods{Through: new("2026-02-30")})
	require.Equal(t, "2026-01-31", b.refused("period_closed", post(tx, "2026-01-31", "debit cash 1, credit sales 1"))["closed_through"])
	moved := post(tx, "2026-01-02", "debit cash 1, credit sales 1")
	moved.Move = true
	require.Equal(t, "2026-02-01", b.did(moved).Decision.Facts[0].Payload.(ledger.Posted).Date.String())
	b.did(transactions.ClosePeriods{})
	b.did(post(other, "2026-01-31", "debit cash 1, credit sales 1"))
	b.close("2199-12-31")
	moved.ID = id(102)
	b.refused("period_closed", moved)
	b.IfMatch(0)
	b.refused("version_conflict", transactions.ClosePeriods{})
}
