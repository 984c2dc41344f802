package ledger

import (
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Boundaries names what a decision about lines on these accounts depends on, round by
// round: the accounts and the closed periods, then the balances of those that are guarded
// and the policies of their currencies.
func Boundaries(r domain.Reader, accounts []uuid.UUID) []domain.Tag {
	tags := []domain.Tag{PeriodsStream()}
	for _, id := range accounts {
		tags = append(tags, AccountStream(id))
		a := domain.Read[Account](r, AccountStream(id))
		if a.Guarded() {
			tags = append(tags, BalanceTag(id))
		}
		if policy := PolicyStream(a.Currency); a.Exists() && !slices.Contains(tags, policy) {
			tags = append(tags, policy)
		}
	}
	return tags
}

// AccountsOf are the accounts of lines, each once.
func AccountsOf(lines []Line) []uuid.UUID {
	var ids []uuid.UUID
	for _, line := range lines {
		if !slices.Contains(ids, line.AccountID) {
			ids = append(ids, line.AccountID)
		}
	}
	return ids
}

// fact is one of a transaction with this content, and the balances that it moves.
func (c Content) fact(r domain.Reader, id uuid.UUID, payload domain.Payload, movements ...*Movement) []domain.Fact {
	return []domain.Fact{{Stream: TransactionStream(id), Tags: balanceTags(r, movements...), Subjects: c.Subjects, Payload: payload}}
}

// funded is such a fact if no balance breaks by it. Problems: those of checkFunds.
func (c Content) funded(r domain.Reader, id uuid.UUID, payload domain.Payload, movements ...*Movement) ([]domain.Fact, error) {
	if err := checkFunds(r, payload, movements...); err != nil {
		return nil, err
	}
	return c.fact(r, id, payload, movements...), nil
}

// Submit asks for approval; move lets the date move out of a closed period. Problems, in this
// order: invalid_state, account_closed, period_closed, insufficient_funds.
func Submit(r domain.Reader, id uuid.UUID, current Transaction, move bool, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionSubmit, m.Now); err != nil {
		return nil, err
	}
	held := current.Content.Movement
	if err := checkOpen(r, held.Lines); err != nil {
		return nil, err
	}
	var err error
	if held.Date, err = openDate(r, held.Date, move); err != nil {
		return nil, err
	}
	payload := Submitted{Held: held, By: byOf(m)}
	return current.Content.funded(r, id, payload, &held)
}

// Approve approves. Who has approved already changes nothing. Problems, in this order:
// invalid_state, self_approval.
func Approve(r domain.Reader, id uuid.UUID, current Transaction, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionApprove, m.Now); err != nil {
		return nil, err
	}
	by := byOf(m)
	if by.anyOf(current.Makers) {
		return nil, problem.New(problem.Forbidden, "self_approval", "Whoever made, changed or submitted a transaction cannot approve it. Let somebody else do so.")
	}
	persons := 1
	for _, approval := range current.Approvals {
		if by.anyOf(approval.By.persons()) {
			return nil, nil
		}
		persons++
	}
	return current.Content.fact(r, id, Approved{By: by, At: m.Now, Complete: persons >= max(1, needed(r, current.Content.Lines))}), nil
}

// Reject ends what was submitted. Problem: invalid_state.
func Reject(r domain.Reader, id uuid.UUID, current Transaction, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionReject, m.Now); err != nil {
		return nil, err
	}
	held := current.Held()
	return current.Content.fact(r, id, Rejected{Released: *held, By: byOf(m)}, held), nil
}

// Void ends what was not posted. Problem: invalid_state.
func Void(r domain.Reader, id uuid.UUID, current Transaction, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionVoid, m.Now); err != nil {
		return nil, err
	}
	held := current.Held()
	return current.Content.fact(r, id, Voided{Released: held, By: byOf(m)}, held), nil
}

// Expire ends what was not posted in time; it does nothing when that is not wanted any
// more.
func Expire(r domain.Reader, id uuid.UUID, current Transaction, m domain.Meta) []domain.Fact {
	if current.allowed(ActionExpire, m.Now) != nil || !current.overdue(m.Now) {
		return nil
	}
	held := current.Held()
	return current.Content.fact(r, id, Expired{Released: held}, held)
}
