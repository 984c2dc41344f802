package ledger_test

import (
	"fmt"
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

const day = "2026-03-01"

// id makes ids that are told apart by their end.
func id(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("0190aaaa-0000-7000-8000-%012d", n)) }

// The accounts of these tests, the transactions that most are about, and entities.
var (
	bank, cash, sales, loan, dollars, yen = id(1), id(2), id(3), id(4), id(5), id(6)
	tx, other                             = id(100), id(101)
	ana, ben                              = id(501), id(502)
	names                                 = map[string]uuid.UUID{"bank": bank, "cash": cash, "sales": sales, "loan": loan, "dollars": dollars, "yen": yen}
)

// book is a scenario with accounts: bank may not be below zero, the loan not above 500.
type book struct {
	*domaintest.Scenario
	t *testing.T
	// lost are the persons whose approvals do not count any more.
	lost map[string]bool
	// facts are all that happened.
	facts []domain.Fact
	// aboveLimit says that the caller may post what needed approval, too.
	aboveLimit bool
}

func newBook(t *testing.T) *book {
	t.Helper()
	b := &book{Scenario: domaintest.Given(t, ledger.Folds()), t: t, lost: map[string]bool{}}
	for _, a := range []ledger.NewAccount{
		{ID: bank, Code: "bank", Kind: ledger.Asset, Currency: "EUR", MinBalance: new("0")},
		{ID: cash, Code: "cash", Kind: ledger.Asset, Currency: "EUR"},
		{ID: sales, Code: "sales", Kind: ledger.Income, Currency: "EUR"},
		{ID: loan, Code: "loan", Kind: ledger.Liability, Currency: "EUR", MinBalance: new("-500")},
		{ID: dollars, Code: "dollars", Kind: ledger.Asset, Currency: "USD"},
		{ID: yen, Code: "yen", Kind: ledger.Asset, Currency: "JPY"},
	} {
		a.Name = a.Code
		b.did(open(a))
	}
	return b
}

// did lets a decision succeed.
func (b *book) did(d domain.Decider) []domain.Fact {
	b.t.Helper()
	o := b.When(d)
	require.NoError(b.t, o.Err)
	b.facts = append(b.facts, o.Decision.Facts...)
	return o.Decision.Facts
}

// kinds are those of the problems of this area: what a caller can do about one hangs on it.
var kinds = map[string]problem.Kind{
	"not_found": problem.NotFound, "version_conflict": problem.Stale, "self_approval": problem.Forbidden, "forbidden": problem.Forbidden,
	"conflict": problem.Conflict, "code_taken": problem.Conflict, "external_ref_taken": problem.Conflict, "invalid_state": problem.Conflict,
	"account_closed": problem.Conflict, "period_closed": problem.Conflict, "approval_required": problem.Conflict, "insufficient_funds": problem.Conflict,
	"subject_erased": problem.Conflict, "invalid_account": problem.Invalid, "invalid_transaction": problem.Invalid, "unknown_entity": problem.Invalid,
	"unknown_account": problem.Invalid, "invalid_amount": problem.Invalid, "currency_mismatch": problem.Invalid, "unbalanced": problem.Invalid,
	"invalid_exchange": problem.Invalid, "exceeds_transaction": problem.Invalid, "invalid_policy": problem.Invalid, "invalid_periods": problem.Invalid,
}

// problem lets a decision be refused.
func (b *book) problem(code string, d domain.Decider) *problem.Problem {
	b.t.Helper()
	p := b.When(d).ThenProblem(code)
	require.Equal(b.t, kinds[code], p.Kind, code)
	return p
}

// refused lets a decision be refused, and returns what the problem says beside its code.
func (b *book) refused(code string, d domain.Decider) map[string]any {
	b.t.Helper()
	return b.problem(code, d).Extra
}

// as makes somebody else the caller from now on.
func (b *book) as(sub string) {
	b.With(func(m *domain.Meta) { m.Actor, m.OnBehalfOf = domain.Actor{Sub: sub, Person: sub}, nil })
}

// at is the time from now on.
func (b *book) at(now time.Time) { b.With(func(m *domain.Meta) { m.Now = now }) }

// state is the transaction as the facts so far have it.
func (b *book) state(id uuid.UUID) (state ledger.Transaction) {
	b.t.Helper()
	b.did(on(id, func(_ domain.Reader, current ledger.Transaction, _ domain.Meta) ([]domain.Fact, error) {
		state = current
		return nil, nil
	}))
	return state
}

// act is a decision of this area, with the boundaries that a command names for it.
type act struct {
	boundaries func(domain.Reader) []domain.Tag
	decide     func(domain.Reader, domain.Meta) (domain.Decision, error)
}

func (a act) Boundaries(r domain.Reader) []domain.Tag { return a.boundaries(r) }

func (a act) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) { return a.decide(r, m) }

// change is what is done to a transaction that exists.
type change func(domain.Reader, ledger.Transaction, domain.Meta) ([]domain.Fact, error)

// on is a decision about a transaction, its accounts and others, and their subjects.
func on(id uuid.UUID, decide change, more ...domain.Tag) act {
	stream := ledger.TransactionStream(id)
	return act{
		boundaries: func(r domain.Reader) []domain.Tag {
			content := domain.Read[ledger.Transaction](r, stream).Content
			return append(append(ledger.Boundaries(r, ledger.AccountsOf(content.Lines)), append(keysOf(content.Subjects), stream)...), more...)
		},
		decide: func(r domain.Reader, m domain.Meta) (domain.Decision, error) {
			current, err := ledger.OpenTransaction(r, id, m)
			if err != nil {
				return domain.Decision{}, err
			}
			facts, err := decide(r, current, m)
			return domain.Decision{Facts: facts}, err
		},
	}
}

func keysOf(subjects []string) (tags []domain.Tag) {
	for _, subject := range subjects {
		tags = append(tags, domain.SubjectTag(subject))
	}
	return tags
}

func submit(id uuid.UUID) act {
	return on(id, func(r domain.Reader, t ledger.Transaction, m domain.Meta) ([]domain.Fact, error) {
		return ledger.Submit(r, id, t, false, m)
	})
}

// submitMoved lets the date move.
func submitMoved(id uuid.UUID) act {
	return on(id, func(r domain.Reader, t ledger.Transaction, m domain.Meta) ([]domain.Fact, error) {
		return ledger.Submit(r, id, t, true, m)
	})
}

func approve(id uuid.UUID) act {
	return on(id, func(r domain.Reader, t ledger.Transaction, m domain.Meta) ([]domain.Fact, error) {
		return ledger.Approve(r, id, t, m)
	})
}

func reject(id uuid.UUID) act {
	return on(id, func(r domain.Reader, t ledger.Transaction, m domain.Meta) ([]domain.Fact, error) {
		return ledger.Reject(r, id, t, m)
	})
}

func void(id uuid.UUID) act {
	return on(id, func(r domain.Reader, t ledger.Transaction, m domain.Meta) ([]domain.Fact, error) {
		return ledger.Void(r, id, t, m)
	})
}

func expire(id uuid.UUID) act {
	return on(id, func(r domain.Reader, t ledger.Transaction, m domain.Meta) ([]domain.Fact, error) {
		return ledger.Expire(r, id, t, m), nil
	})
}

// post moves all of a transaction, or the lines that are given.
func (b *book) post(id uuid.UUID, part ...ledger.DraftLine) act {
	return b.posting(ledger.Posting{ID: id, Lines: part})
}

func (b *book) posting(p ledger.Posting) act {
	return on(p.ID, func(r domain.Reader, t ledger.Transaction, m domain.Meta) ([]domain.Fact, error) {
		p.Counts, p.AboveLimit = func(a ledger.Approval) bool { return !b.lost[a.By.Person] }, b.aboveLimit
		return p.Decide(r, t, m)
	})
}

func patch(document string) act { return patching(ledger.Patch{ID: tx, Document: []byte(document)}) }

// patching changes a transaction, which may then be on any account, and about Ana and Ben.
func patching(p ledger.Patch) act {
	var accounts []domain.Tag
	for _, account := range names {
		accounts = append(accounts, ledger.AccountStream(account), ledger.BalanceTag(account))
	}
	if p.Known == nil {
		p.Known = known
	}
	return on(p.ID, p.Decide, append(accounts, keysOf([]string{ana.String(), ben.String()})...)...)
}

func known(entity uuid.UUID) bool { return entity == ana || entity == ben }

func reverse(id, by uuid.UUID, date string) act {
	v := ledger.Reversal{ID: id, By: by}
	if date != "" {
		v.Date = &date
	}
	return reversing(v)
}

func reversing(v ledger.Reversal) act {
	return on(v.ID, v.Decide, ledger.TransactionStream(v.By))
}

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

func create(id uuid.UUID, action string, d ledger.Draft) act {
	return creating(ledger.NewTransaction{ID: id, Draft: d, Action: action})
}

// creating makes a transaction, or finds the one that has its external_ref: then it decides
// nothing.
func creating(n ledger.NewTransaction) act {
	stream := ledger.TransactionStream(n.ID)
	n.Known = known
	return act{
		boundaries: func(r domain.Reader) []domain.Tag {
			tags := append(append(ledger.Boundaries(r, n.Draft.Accounts()), stream), keysOf([]string{ana.String(), ben.String()})...)
			if ledger.ValidRef(n.Draft.ExternalRef) {
				tags = append(tags, ledger.RefTag(n.Draft.ExternalRef))
			}
			return tags
		},
		decide: func(r domain.Reader, m domain.Meta) (domain.Decision, error) {
			if err := ledger.ExpectNew(r, stream, m); err != nil {
				return domain.Decision{}, err
			}
			made, err := n.Decide(r, m)
			return domain.Decision{ResourceID: made.ID.String(), Facts: made.Facts}, err
		},
	}
}

// posted makes a transaction that is posted at once.
func posted(id uuid.UUID, date, text string) act { return create(id, "post", draft(date, text)) }

func open(n ledger.NewAccount) act {
	tags := []domain.Tag{ledger.AccountStream(n.ID)}
	if ledger.ValidCode(n.Code) {
		tags = append(tags, ledger.CodeTag(n.Code))
	}
	return act{
		boundaries: func(domain.Reader) []domain.Tag { return tags },
		decide: func(r domain.Reader, m domain.Meta) (domain.Decision, error) {
			if err := ledger.ExpectNew(r, tags[0], m); err != nil {
				return domain.Decision{}, err
			}
			var code ledger.Code
			if len(tags) > 1 {
				code = domain.Read[ledger.Code](r, tags[1])
			}
			facts, err := n.Decide(code, n.EntityID != nil && known(*n.EntityID))
			return domain.Decision{Facts: facts}, err
		},
	}
}

// account is a decision about an account that exists.
func account(id uuid.UUID, decide func(ledger.Account) []domain.Fact) act {
	return act{
		boundaries: func(domain.Reader) []domain.Tag { return []domain.Tag{ledger.AccountStream(id)} },
		decide: func(r domain.Reader, m domain.Meta) (domain.Decision, error) {
			a, err := ledger.OpenAccount(r, id, m)
			if err != nil {
				return domain.Decision{}, err
			}
			return domain.Decision{Facts: decide(a)}, nil
		},
	}
}

func shut(id uuid.UUID) act { return account(id, ledger.Account.Close) }

func reopen(id uuid.UUID) act { return account(id, ledger.Account.Reopen) }

func setPolicy(n ledger.NewPolicy) act {
	stream := ledger.PolicyStream("EUR") // where what is no currency finds nothing either
	if domain.KnownCurrency(n.Currency) {
		stream = ledger.PolicyStream(n.Currency)
	}
	return act{
		boundaries: func(domain.Reader) []domain.Tag { return []domain.Tag{stream} },
		decide: func(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
			facts, err := n.Decide(domain.Read[ledger.Policy](r, stream))
			return domain.Decision{Facts: facts}, err
		},
	}
}

func (b *book) policy(currency, above string, needed int) {
	b.t.Helper()
	b.did(setPolicy(ledger.NewPolicy{Currency: currency, ApprovalAbove: &above, ApprovalsNeeded: needed}))
}

// closePeriods closes the books through a date; "" opens all.
func closePeriods(through string) act {
	wanted := &through
	if through == "" {
		wanted = nil
	}
	return act{
		boundaries: func(domain.Reader) []domain.Tag { return []domain.Tag{ledger.PeriodsStream()} },
		decide: func(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
			facts, err := ledger.ClosePeriods(domain.Read[ledger.Periods](r, ledger.PeriodsStream()), wanted)
			return domain.Decision{Facts: facts}, err
		},
	}
}

func (b *book) close(through string) {
	b.t.Helper()
	b.did(closePeriods(through))
}
