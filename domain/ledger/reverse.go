package ledger

import (
	"errors"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Reversal takes a posted transaction back by another one.
type Reversal struct {
	// ID is the transaction that is reversed, By the one that reverses it.
	ID, By uuid.UUID
	// Date is when it takes effect; nil for the date of what is reversed.
	Date *string
	// Description of the reversal, nil for that of what is reversed.
	Description *string
	// Move lets the date move out of a closed period.
	Move bool
}

// Decide reverses. A reversal can be reversed like any transaction, once. Problems, in
// this order: invalid_state, invalid_transaction, account_closed, period_closed,
// insufficient_funds.
func (v Reversal) Decide(r domain.Reader, current Transaction, m domain.Meta) ([]domain.Fact, error) {
	if err := current.allowed(ActionReverse, m.Now); err != nil {
		return nil, err
	}
	content := Content{Movement: Movement{Date: current.Content.Date}, Subjects: current.Content.Subjects}
	var err error
	if content.Description, err = v.description(r, current); err != nil {
		return nil, err
	}
	if v.Date != nil {
		date, ok := ParseDate(*v.Date)
		switch {
		case !ok:
			return nil, invalidPatch("body.date", wantsDate)
		case date < content.Date:
			return nil, invalidPatch("body.date", "must not be before "+content.Date.String()+", when the transaction took effect")
		}
		content.Date = date
	}
	for _, line := range current.Content.Lines {
		content.Lines = append(content.Lines, Line{AccountID: line.AccountID, Side: line.Side.Opposite(), Amount: line.Amount})
	}
	if err := checkOpen(r, content.Lines); err != nil {
		return nil, err
	}
	if content.Date, err = openDate(r, content.Date, v.Move); err != nil {
		return nil, err
	}
	content = content.hidden()
	payload := Posted{Content: &content, Movement: content.Movement, Reverses: &v.ID, By: byOf(m)}
	if err := checkFunds(r, payload, &content.Movement); err != nil {
		return nil, err
	}
	return append(
		content.fact(r, v.By, payload, &content.Movement),
		current.Content.fact(r, v.ID, Reversed{ReversedBy: v.By, By: byOf(m)})...,
	), nil
}

// description is that of the reversal: its own, or that of what is reversed; none where
// that was erased.
func (v Reversal) description(r domain.Reader, current Transaction) (Personal[string], error) {
	if v.Description == nil {
		text, err := current.Content.Description.unlocked(r.Open)
		if errors.Is(err, domain.ErrErased) {
			err = nil
		}
		return text, err
	}
	if fault := textFault(*v.Description, maxDescription); fault != "" {
		return Personal[string]{}, invalidPatch("body.description", fault)
	}
	return Personal[string]{Clear: *v.Description}, nil
}
