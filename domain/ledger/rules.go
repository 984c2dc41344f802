package ledger

import (
	"fmt"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Policy is the state of the rule of one currency about approval.
type Policy struct {
	Currency string
	// Above is the greatest amount that needs no approval; nil when none does.
	Above  *int64
	Needed int
}

// maxApprovals is more than any organisation asks for.
const maxApprovals = 10

// Evolve folds one fact.
func (p Policy) Evolve(f domain.Fact) domain.State {
	set, ok := f.Payload.(PolicySet)
	if !ok {
		return p
	}
	p = Policy{Currency: set.Currency, Needed: set.ApprovalsNeeded}
	if minor, err := readMinor(set.ApprovalAbove); err == nil {
		p.Above = &minor
	}
	return p
}

// Size is the approximate memory held, in bytes.
func (p Policy) Size() int { return stateBytes }

// NewPolicy is what a policy shall be.
type NewPolicy struct {
	Currency string
	// ApprovalAbove is a decimal, nil when nothing needs approval.
	ApprovalAbove   *string
	ApprovalsNeeded int
}

// Decide sets the policy; the same one again changes nothing. Problem: invalid_policy.
func (n NewPolicy) Decide(current Policy) ([]domain.Fact, error) {
	var faults []problem.Field
	set := PolicySet{Currency: n.Currency, ApprovalsNeeded: n.ApprovalsNeeded}
	if fault := domain.CurrencyFault(n.Currency); fault != "" {
		faults = append(faults, problem.Field{Location: "body.currency", Message: fault})
	} else if n.ApprovalAbove != nil {
		minor, fault := parseUnsigned(*n.ApprovalAbove, n.Currency)
		if set.ApprovalAbove = FormatMinor(minor, n.Currency); fault != "" {
			faults = append(faults, problem.Field{Location: "body.approval_above", Message: fault})
		}
	}
	if n.ApprovalsNeeded < 1 || n.ApprovalsNeeded > maxApprovals {
		faults = append(faults, problem.Field{Location: "body.approvals_needed", Message: fmt.Sprintf("must be from 1 to %d", maxApprovals)})
	}
	if len(faults) > 0 {
		return nil, problem.New(problem.Invalid, "invalid_policy", "The policy cannot be used; errors says why.").With(faults...)
	}
	fact := domain.Fact{Stream: PolicyStream(n.Currency), Payload: set}
	if next := current.Evolve(fact).(Policy); current.Currency != "" && next.Needed == current.Needed && sameMinor(next.Above, current.Above) {
		return nil, nil
	}
	return []domain.Fact{fact}, nil
}

func sameMinor(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// needed is how many approvals content needs: the most that a policy of its currencies
// asks for, 0 when none does.
func needed(r domain.Reader, lines []Line) int {
	most := 0
	all, _ := totalsOf(lines) // they were checked when they came
	for _, t := range all {
		if p := domain.Read[Policy](r, PolicyStream(t.currency)); p.Above != nil && t.debit > *p.Above {
			most = max(most, p.Needed)
		}
	}
	return most
}

// Periods is the state of closed periods.
type Periods struct {
	// ClosedThrough is the last closed date, nil when none is.
	ClosedThrough *Date
}

// Evolve folds one fact.
func (p Periods) Evolve(f domain.Fact) domain.State {
	if closed, ok := f.Payload.(PeriodsClosed); ok {
		return Periods(closed)
	}
	return p
}

// Size is the approximate memory held, in bytes.
func (p Periods) Size() int { return stateBytes }

// ClosePeriods closes the books up to a date, or opens what was closed after it; nil opens
// all. Problem: invalid_periods.
func ClosePeriods(current Periods, through *string) ([]domain.Fact, error) {
	closed := PeriodsClosed{}
	if through != nil {
		d, ok := ParseDate(*through)
		if !ok {
			return nil, problem.New(problem.Invalid, "invalid_periods", "The date cannot be used.").
				With(problem.Field{Location: "body.closed_through", Message: wantsDate})
		}
		closed.ClosedThrough = &d
	}
	if a, b := current.ClosedThrough, closed.ClosedThrough; a == b || a != nil && b != nil && *a == *b {
		return nil, nil
	}
	return []domain.Fact{{Stream: PeriodsStream(), Payload: closed}}, nil
}

// openDate is the date that something can be posted on: the one wanted, or when that is
// closed and it may be moved, the first that is open. Problem: period_closed.
func openDate(r domain.Reader, wanted Date, move bool) (Date, error) {
	through := domain.Read[Periods](r, PeriodsStream()).ClosedThrough
	switch {
	case through == nil || wanted > *through:
		return wanted, nil
	case move && *through < lastDate:
		return *through + 1, nil
	}
	p := problem.New(problem.Conflict, "period_closed",
		"The books are closed through %s. Take a later date, or send on_closed_period=move to take the first open one.", *through)
	p.Extra = map[string]any{"closed_through": through.String()}
	return 0, p
}

// checkOpen checks that the accounts of lines take entries. Problem: account_closed.
func checkOpen(r domain.Reader, lines []Line) error {
	for _, line := range lines {
		if a := domain.Read[Account](r, AccountStream(line.AccountID)); a.Closed {
			p := problem.New(problem.Conflict, "account_closed", "The account %s is closed. Reopen it, or take another.", a.Code)
			p.Extra = map[string]any{"account_id": a.ID.String()}
			return p
		}
	}
	return nil
}

// checkFunds checks that no balance breaks its rule on any day, once this has happened.
// Problems: invalid_amount, insufficient_funds.
func checkFunds(r domain.Reader, payload domain.Payload, movements ...*Movement) error {
	for _, a := range guarded(r, movements...) {
		book := domain.Read[Book](r, BalanceTag(a.ID))
		book = book.with(book.changes(payload))
		if book.overflows() {
			return invalidAmount(problem.Field{Location: "body.lines", Message: "makes the balance of the account " + a.Code + " more than can be kept"})
		}
		if date, available, broken := book.broken(); broken {
			p := problem.New(problem.Conflict, "insufficient_funds",
				"The account %s would have %s %s available on %s; the least it may have is %s.",
				a.Code, FormatMinor(available, a.Currency), a.Currency, date, FormatMinor(*a.MinBalance, a.Currency))
			p.Extra = map[string]any{
				"account_id": a.ID.String(), "date": date.String(),
				"available": FormatMinor(available, a.Currency), "min_balance": FormatMinor(*a.MinBalance, a.Currency),
			}
			return p
		}
	}
	return nil
}

// guarded are the accounts with a least balance among those of movements, each once.
func guarded(r domain.Reader, movements ...*Movement) []Account {
	var found []Account
	seen := map[[16]byte]bool{}
	for _, m := range movements {
		if m == nil {
			continue
		}
		for _, line := range m.Lines {
			if seen[line.AccountID] {
				continue
			}
			seen[line.AccountID] = true
			if a := domain.Read[Account](r, AccountStream(line.AccountID)); a.Guarded() {
				found = append(found, a)
			}
		}
	}
	return found
}

// balanceTags are the boundaries of the balances that movements move.
func balanceTags(r domain.Reader, movements ...*Movement) []domain.Tag {
	var tags []domain.Tag
	for _, a := range guarded(r, movements...) {
		tags = append(tags, BalanceTag(a.ID))
	}
	return tags
}
