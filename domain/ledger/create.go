package ledger

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// NewTransaction is a transaction that shall be made, and how far it shall go at once.
type NewTransaction struct {
	ID    uuid.UUID
	Draft Draft
	// Action is draft, submit or post; "" is draft.
	Action string
	// Move lets the date move out of a closed period.
	Move bool
	// Known says of an entity that there is one, and that the caller may see it.
	Known func(uuid.UUID) bool
}

// existing is the transaction that was made under this external_ref before, by the same
// request: its id, "" when there is none. Problem: external_ref_taken.
func (n NewTransaction) existing(r domain.Reader, ref Ref, content Content) (string, error) {
	if ref.TransactionID == "" {
		return "", nil
	}
	first, err := ref.First.unlocked(r.Open)
	if err != nil && !errors.Is(err, domain.ErrErased) {
		return "", err
	}
	if err != nil { // what nobody can read any more is no difference
		first.Description, first.Private = content.Description, content.Private
	}
	if n.Move { // the first one was, perhaps
		content.Date = max(content.Date, first.Date)
	}
	differs := content.differences(first)
	if n.status() != ref.Status {
		differs = append(differs, "action")
	}
	if len(differs) == 0 {
		return ref.TransactionID, nil
	}
	p := problem.New(problem.Conflict, "external_ref_taken", "Another transaction has this external_ref; errors names what it says differently.")
	p.Extra = map[string]any{"id": ref.TransactionID}
	for _, name := range differs {
		p.With(problem.Field{Location: "body." + name, Message: "is not what the transaction with this external_ref was made with"})
	}
	return "", p
}

func (n NewTransaction) status() Status {
	switch n.Action {
	case "submit":
		return StatusSubmitted
	case "post":
		return StatusPosted
	}
	return StatusDraft
}

// Made is what NewTransaction.Decide came to: a new transaction, or the one that the same
// request has made before.
type Made struct {
	ID    uuid.UUID
	Facts []domain.Fact
}

// Decide makes the transaction. Problems, in this order: invalid_transaction,
// unknown_entity, unknown_account, invalid_amount, currency_mismatch, unbalanced, invalid_exchange,
// external_ref_taken, account_closed, period_closed, approval_required,
// insufficient_funds.
func (n NewTransaction) Decide(r domain.Reader, m domain.Meta) (Made, error) {
	made := Made{ID: n.ID}
	if n.Action != "" && n.Action != "draft" && n.status() == StatusDraft {
		return made, problem.New(problem.Invalid, "invalid_transaction", "The transaction cannot be read; errors says why.").
			With(problem.Field{Location: "body.action", Message: "must be draft, submit or post"})
	}
	ref := Ref{}
	if ValidRef(n.Draft.ExternalRef) {
		ref = domain.Read[Ref](r, RefTag(n.Draft.ExternalRef))
	}
	now := m.Now
	if ref.TransactionID != "" && ref.First.ExpiresAt != nil {
		now = ref.First.ExpiresAt.Add(-time.Nanosecond) // the request was in time when it was first sent
	}
	content, err := n.Draft.read(r, now, n.Known)
	if err != nil {
		return made, err
	}
	existing, err := n.existing(r, ref, content)
	if err != nil || existing != "" {
		made.ID, _ = uuid.Parse(existing) // it was made of one
		return made, err
	}
	if err := checkOpen(r, content.Lines); err != nil {
		return made, err
	}
	payload, err := n.payload(r, m, content)
	if err != nil {
		return made, err
	}
	fact := domain.Fact{Stream: TransactionStream(n.ID), Subjects: content.Subjects, Payload: payload}
	if content.ExternalRef != "" {
		fact.Tags = append(fact.Tags, RefTag(content.ExternalRef))
	}
	if n.status() != StatusDraft {
		fact.Tags = append(fact.Tags, balanceTags(r, &content.Movement)...)
	}
	made.Facts = []domain.Fact{fact}
	return made, nil
}

func (n NewTransaction) payload(r domain.Reader, m domain.Meta, content Content) (payload domain.Payload, err error) {
	content = content.hidden()
	if n.status() == StatusDraft {
		return Drafted{content, byOf(m)}, nil
	}
	if content.Date, err = openDate(r, content.Date, n.Move); err != nil {
		return nil, err
	}
	if n.status() == StatusPosted {
		if err := checkApproved(r, Transaction{Content: content}, nil); err != nil {
			return nil, err
		}
		payload = Posted{Content: &content, Movement: content.Movement, By: byOf(m)}
	} else {
		payload = Submitted{Content: &content, Held: content.Movement, By: byOf(m)}
	}
	return payload, checkFunds(r, payload, &content.Movement)
}
