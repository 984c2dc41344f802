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
	set := transactions.SetPolicy{NewPolicy: ledger.NewPolicy{Currency: "EUR", ApprovalAbove: new("100"), ApprovalsNeeded: 2}}
	b.When(set).Named("ledger_policy:EUR").Resource("EUR", "ledger_policy:EUR", false).
		Then(domain.Fact{Stream: "ledger_policy:EUR", Payload: ledger.PolicySet{Currency: "EUR", ApprovalAbove: "100.00", ApprovalsNeeded: 2}})
	b.When(set).ThenNothing()
	b.refused("invalid_policy", transactions.SetPolicy{NewPolicy: ledger.NewPolicy{Currency: "DEM", ApprovalsNeeded: 1}})
	b.IfMatch(0)
	b.refused("version_conflict", set)
}

func TestClosePeriods(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	january, _ := ledger.ParseDate("2026-01-31")
	b.When(transactions.ClosePeriods{Through: new("2026-01-31")}).Named("ledger_periods:all").Resource("all", "ledger_periods:all", false).
		Then(domain.Fact{Stream: "ledger_periods:all", Payload: ledger.PeriodsClosed{ClosedThrough: &january}})
	b.refused("period_closed", post(tx, "2026-01-31", "debit cash 1, credit sales 1"))
	b.IfMatch(0)
	b.refused("version_conflict", transactions.ClosePeriods{})
	b.IfMatch(1)
	b.did(transactions.ClosePeriods{})
}
