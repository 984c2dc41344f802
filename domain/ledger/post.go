package ledger

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Posting is how a transaction shall be posted.
type Posting struct {
	ID uuid.UUID
	// Lines are those to post, at most what the transaction has; nil for all. The rest is
	// released.
	Lines []DraftLine
	// Move lets the date move out of a closed period.
	Move bool
	// Counts says whether an approval still counts: whether its giver may still approve.
	Counts func(Approval) bool
	// AboveLimit says that the caller may post what needed approval, too.
	AboveLimit bool
}

// Decide posts. Problems, in this order: invalid_state, those of reading lines and
// exceeds_transaction, account_closed, period_closed, approval_required, forbidden,
// insufficient_funds.
func (p Posting) Decide(r domain.Reader, current Transaction, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionPost, m.Now); err != nil {
		return nil, err
	}
	posted := current.Content.Movement
	var err error
	if p.Lines != nil {
		if posted.Lines, err = p.part(r, posted.Lines); err != nil {
			return nil, err
		}
	}
	if err := checkOpen(r, posted.Lines); err != nil {
		return nil, err
	}
	if posted.Date, err = openDate(r, posted.Date, p.Move); err != nil {
		return nil, err
	}
	if err := checkApproved(r, current, p.Counts); err != nil {
		return nil, err
	}
	if !p.AboveLimit && needed(r, current.Content.Lines) > 0 {
		return nil, problem.New(problem.Forbidden, "forbidden", "The amount is above the limit of the policy, up to which an editor posts. It has its approvals: let an approver post it.")
	}
	held := current.Held()
	payload := Posted{Movement: posted, Released: held, By: byOf(m)}
	return current.Content.funded(r, p.ID, payload, held, &posted)
}

// part reads the lines of a partial post. Problems: unknown_account, invalid_amount,
// currency_mismatch, unbalanced, exceeds_transaction, and invalid_transaction.
func (p Posting) part(r domain.Reader, whole []Line) ([]Line, error) {
	draft := Draft{Lines: p.Lines}
	if fault := draft.countFault(); fault != "" {
		return nil, invalidPatch("body.lines", fault)
	}
	for i, line := range p.Lines {
		if fault := sideFault(line.Side); fault != "" {
			return nil, invalidPatch("body."+at("lines", i, "side"), fault)
		}
	}
	for i, line := range p.Lines {
		if id, ok := accountID(line.AccountID); !ok || !slices.ContainsFunc(whole, func(l Line) bool { return l.AccountID == id }) {
			return nil, problem.New(problem.Invalid, "unknown_account", "The transaction has no line on this account.").
				With(problem.Field{Location: "body." + at("lines", i, "account_id"), Message: "is not the account of one of its lines"})
		}
	}
	lines, err := draft.lines(r)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		most, wanted := onSide(whole, line), onSide(lines, line)
		if wanted > most {
			return nil, problem.New(problem.Invalid, "exceeds_transaction", "No more can be posted than the transaction has.").
				With(problem.Field{Location: "body.lines", Message: fmt.Sprintf("must be at most %s %s on the %s side of the account %s",
					FormatMinor(most, line.Amount.Currency), line.Amount.Currency, line.Side, line.AccountID)})
		}
	}
	return lines, nil
}

// onSide is the sum of the lines that are on the account and the side of one.
func onSide(lines []Line, like Line) int64 {
	var sum int64
	for _, line := range lines {
		if line.AccountID == like.AccountID && line.Side == like.Side {
			sum += line.Amount.Minor
		}
	}
	return sum
}

// checkApproved checks that enough persons have approved, none of whom has made it, and
// all of whom still may. Problem: approval_required.
func checkApproved(r domain.Reader, t Transaction, counts func(Approval) bool) error {
	need, have := needed(r, t.Content.Lines), 0
	for _, approval := range t.Approvals {
		if !approval.By.anyOf(t.Makers) && counts(approval) {
			have++
		}
	}
	if have >= need {
		return nil
	}
	todo := "Submit the transaction and let others approve it."
	if t.Held() != nil {
		todo = "Let more persons approve it. Approvals of those who may not approve any more do not count."
	}
	p := problem.New(problem.Conflict, "approval_required", "The amount needs the approval of %d, and has that of %d. %s", need, have, todo)
	p.Extra = map[string]any{"approvals_needed": need, "approvals": have}
	return p
}
