package transactions_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
)

// id makes ids that are told apart by their end.
func id(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("0190aaaa-0000-7000-8000-%012d", n)) }

// The accounts of these tests, and the transaction that most are about.
var (
	bank, cash, sales, loan, dollars, yen = id(1), id(2), id(3), id(4), id(5), id(6)
	tx, other                             = id(100), id(101)
	names                                 = map[string]uuid.UUID{"bank": bank, "cash": cash, "sales": sales, "loan": loan, "dollars": dollars, "yen": yen}
)

// book is a scenario with accounts: bank may not be below zero, the loan not above 500.
type book struct {
	*domaintest.Scenario
	t *testing.T
}

func newBook(t *testing.T) *book {
	t.Helper()
	folds := ledger.Folds()
	maps.Copy(folds, entity.Folds())
	maps.Copy(folds, member.Folds())
	b := &book{domaintest.Given(t, folds), t}
	b.open(bank, "bank", ledger.Asset, "EUR", "0")
	b.open(cash, "cash", ledger.Asset, "EUR", "")
	b.open(sales, "sales", ledger.Income, "EUR", "")
	b.open(loan, "loan", ledger.Liability, "EUR", "-500")
	b.open(dollars, "dollars", ledger.Asset, "USD", "")
	b.open(yen, "yen", ledger.Asset, "JPY", "")
	return b
}

func (b *book) open(id uuid.UUID, code string, kind ledger.Kind, currency, least string) {
	b.t.Helper()
	account := ledger.NewAccount{ID: id, Code: code, Name: code, Kind: kind, Currency: currency}
	if least != "" {
		account.MinBalance = &least
	}
	b.did(transactions.OpenAccount{NewAccount: account})
}

// did lets a command succeed.
func (b *book) did(d domain.Decider) *domaintest.Outcome {
	b.t.Helper()
	o := b.When(d)
	require.NoError(b.t, o.Err)
	return o
}

// refused lets a command be refused, and returns what the problem says beside its code.
func (b *book) refused(code string, d domain.Decider) map[string]any {
	b.t.Helper()
	return b.When(d).ThenProblem(code).Extra
}

// as makes somebody else the caller from now on.
func (b *book) as(sub string) {
	b.With(func(m *domain.Meta) { m.Actor, m.OnBehalfOf = domain.Actor{Sub: sub, Person: sub}, nil })
}

// may makes these the caller's roles from now on.
func (b *book) may(roles ...string) { b.With(func(m *domain.Meta) { m.Roles = roles }) }

// at is the time from now on.
func (b *book) at(now time.Time) { b.With(func(m *domain.Meta) { m.Now = now }) }

// lines reads "debit bank 12.34, credit sales 12.34".
func lines(text string) (all []ledger.DraftLine) {
	for part := range strings.SplitSeq(text, ", ") {
		words := strings.Fields(part)
		account := words[1]
		if known, found := names[account]; found {
			account = known.String()
		}
		line := ledger.DraftLine{AccountID: account, Side: words[0], Amount: words[2]}
		if len(words) == 6 {
			line.Exchange = &ledger.Exchange{FromAmount: words[3], FromCurrency: words[4], Rate: words[5]}
		}
		all = append(all, line)
	}
	return all
}

func draft(date, text string) ledger.Draft { return ledger.Draft{Date: date, Lines: lines(text)} }

func create(id uuid.UUID, action string, d ledger.Draft) transactions.CreateTransaction {
	return transactions.CreateTransaction{NewTransaction: ledger.NewTransaction{ID: id, Draft: d, Action: action}}
}

// post makes a posted transaction.
func post(id uuid.UUID, date, text string) transactions.CreateTransaction {
	return create(id, "post", draft(date, text))
}

func postIt(id uuid.UUID) transactions.PostTransaction {
	return transactions.PostTransaction{Posting: ledger.Posting{ID: id}}
}

func patch(document string) transactions.PatchTransaction {
	return transactions.PatchTransaction{Patch: ledger.Patch{ID: tx, Document: []byte(document)}}
}

func reverse(id, by uuid.UUID, date string) transactions.ReverseTransaction {
	v := ledger.Reversal{ID: id, By: by}
	if date != "" {
		v.Date = &date
	}
	return transactions.ReverseTransaction{Reversal: v}
}

func (b *book) policy(currency, above string, needed int) {
	b.t.Helper()
	b.did(transactions.SetPolicy{NewPolicy: ledger.NewPolicy{Currency: currency, ApprovalAbove: &above, ApprovalsNeeded: needed}})
}

// state is the transaction as the facts so far have it.
func (b *book) state(id uuid.UUID) ledger.Transaction {
	b.t.Helper()
	var state ledger.Transaction
	b.When(reading{id, &state})
	return state
}

// reading is a decider that only looks.
type reading struct {
	id   uuid.UUID
	into *ledger.Transaction
}

func (r reading) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{ledger.TransactionStream(r.id)}
}

func (r reading) Decide(from domain.Reader, _ domain.Meta) (domain.Decision, error) {
	*r.into = domain.Read[ledger.Transaction](from, ledger.TransactionStream(r.id))
	return domain.Decision{}, nil
}
