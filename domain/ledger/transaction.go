package ledger

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Status is where a transaction is on its way. Contract: §3.
type Status string

// The statuses.
const (
	StatusDraft     Status = "draft"
	StatusSubmitted Status = "submitted"
	StatusApproved  Status = "approved"
	StatusPosted    Status = "posted"
	StatusRejected  Status = "rejected"
	StatusVoided    Status = "voided"
	StatusExpired   Status = "expired"
	StatusReversed  Status = "reversed"
)

// Statuses are all of them, in the order of a transaction's life.
func Statuses() []Status {
	return []Status{StatusDraft, StatusSubmitted, StatusApproved, StatusPosted, StatusReversed, StatusRejected, StatusVoided, StatusExpired}
}

// Action is what can be done to a transaction.
type Action string

// The actions.
const (
	ActionPatch   Action = "patch"
	ActionSubmit  Action = "submit"
	ActionApprove Action = "approve"
	ActionReject  Action = "reject"
	ActionPost    Action = "post"
	ActionVoid    Action = "void"
	ActionReverse Action = "reverse"
	ActionExpire  Action = "expire"
)

// Actions are all of them.
func Actions() []Action {
	return []Action{ActionPatch, ActionSubmit, ActionApprove, ActionReject, ActionPost, ActionVoid, ActionReverse, ActionExpire}
}

// From are the statuses in which an action can be done: the state machine, all of it.
func (a Action) From() []Status {
	switch a {
	case ActionPatch:
		return []Status{StatusDraft, StatusSubmitted}
	case ActionSubmit:
		return []Status{StatusDraft}
	case ActionApprove, ActionReject:
		return []Status{StatusSubmitted, StatusApproved}
	case ActionPost, ActionVoid, ActionExpire:
		return []Status{StatusDraft, StatusSubmitted, StatusApproved}
	case ActionReverse:
		return []Status{StatusPosted}
	}
	return nil
}

// Transaction is the state of one transaction.
type Transaction struct {
	Status Status
	// Content is what it says; its lines and date are those posted once it is posted.
	Content   Content
	Approvals []Approval
	// Makers are the persons who wrote what is to be approved.
	Makers               []string
	Reverses, ReversedBy *uuid.UUID
}

// Approval is one approval.
type Approval struct {
	By By
	At time.Time
}

// Exists reports whether there is such a transaction.
func (t Transaction) Exists() bool { return t.Status != "" }

// Held is what the transaction holds of the balances of its accounts: its lines while it
// is neither posted nor over, nil otherwise.
func (t Transaction) Held() *Movement {
	if t.Status == StatusSubmitted || t.Status == StatusApproved {
		return &t.Content.Movement
	}
	return nil
}

// Evolve folds one fact. Facts of other transactions do not come here.
func (t Transaction) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case Drafted:
		return Transaction{Status: StatusDraft, Content: p.Content.placed(f), Makers: p.By.persons()}
	case Updated:
		t.Content, t.Approvals, t.Makers = p.Content.placed(f), nil, joined(t.Makers, p.By)
	case Submitted:
		if p.Content != nil {
			t = Transaction{Content: p.Content.placed(f)}
		}
		t.Status, t.Content.Movement, t.Makers = StatusSubmitted, p.Held, joined(t.Makers, p.By)
	case Approved:
		t.Approvals = append(slices.Clone(t.Approvals), Approval{p.By, p.At})
		if p.Complete {
			t.Status = StatusApproved
		}
	case Rejected:
		t.Status = StatusRejected
	case Posted:
		if p.Content != nil {
			t = Transaction{Content: p.Content.placed(f), Makers: p.By.persons(), Reverses: p.Reverses}
		}
		t.Status, t.Content.Movement = StatusPosted, p.Movement
	case Voided:
		t.Status = StatusVoided
	case Reversed:
		t.Status, t.ReversedBy = StatusReversed, &p.ReversedBy
	case Expired:
		t.Status = StatusExpired
	}
	return t
}

// Memory of a line, an approval and a name, roughly.
const (
	lineBytes     = 128
	approvalBytes = 128
	nameBytes     = 32
)

// Size is the approximate memory held, in bytes.
func (t Transaction) Size() int {
	size := 2*stateBytes + t.Content.size() + approvalBytes*len(t.Approvals)
	for _, maker := range t.Makers {
		size += nameBytes + len(maker)
	}
	return size
}

func (c Content) size() int {
	size := lineBytes*len(c.Lines) + len(c.Description.Clear) + c.Description.size() + len(c.ExternalRef) + c.Private.size() + nameBytes*len(c.Subjects)
	for name, value := range c.Metadata {
		size += 2*nameBytes + len(name) + len(value)
	}
	return size
}

// persons are the humans behind an act: whoever asked for it counts as much as whoever
// did it.
func (b By) persons() []string {
	if b.OnBehalfOf == nil || b.OnBehalfOf.Person == b.Person {
		return []string{b.Person}
	}
	return []string{b.Person, b.OnBehalfOf.Person}
}

// joined is a list of persons with those behind one more act.
func joined(persons []string, by By) []string {
	all := slices.Clone(persons)
	for _, person := range by.persons() {
		if !slices.Contains(all, person) {
			all = append(all, person)
		}
	}
	return all
}

// anyOf reports whether one of the persons behind the act is in the list.
func (b By) anyOf(persons []string) bool {
	return slices.ContainsFunc(b.persons(), func(person string) bool { return slices.Contains(persons, person) })
}

func byOf(m domain.Meta) By { return By{Actor: m.Actor, OnBehalfOf: m.OnBehalfOf} }

// OpenTransaction reads the transaction that a command is about. Problems: not_found, and
// version_conflict when If-Match names another version.
func OpenTransaction(r domain.Reader, id uuid.UUID, m domain.Meta) (Transaction, error) {
	t := domain.Read[Transaction](r, TransactionStream(id))
	if !t.Exists() {
		return t, problem.New(problem.NotFound, "not_found", "There is no transaction with this id.")
	}
	return t, expectVersion(m, r.Version(TransactionStream(id)))
}

// OpenAccount reads the account that a command is about. Problems: as OpenTransaction.
func OpenAccount(r domain.Reader, id uuid.UUID, m domain.Meta) (Account, error) {
	a := domain.Read[Account](r, AccountStream(id))
	if !a.Exists() {
		return a, problem.New(problem.NotFound, "not_found", "There is no account with this id.")
	}
	return a, expectVersion(m, r.Version(AccountStream(id)))
}

// ExpectNew checks that something can be made in a stream. Problems: conflict when it is
// in use, and version_conflict when If-Match names a version.
func ExpectNew(r domain.Reader, stream domain.Tag, m domain.Meta) error {
	if r.Version(stream) > 0 {
		return problem.New(problem.Conflict, "conflict", "Something with this id exists already.")
	}
	return expectVersion(m, 0)
}

func expectVersion(m domain.Meta, current int64) error {
	if m.IfMatch != nil && *m.IfMatch != current {
		return problem.StaleVersion(current)
	}
	return nil
}

// allowed checks an action against the state machine and the clock. Problem: invalid_state.
func (t Transaction) allowed(a Action, now time.Time) error {
	switch from := a.From(); {
	case !slices.Contains(from, t.Status):
		p := problem.New(problem.Conflict, "invalid_state", "The transaction is %s, and %s needs one that is %s.", t.Status, a, either(from))
		p.Extra = map[string]any{"status": string(t.Status)}
		return p
	case a != ActionReverse && a != ActionVoid && a != ActionExpire && t.overdue(now):
		return problem.New(problem.Conflict, "invalid_state", "The transaction has expired: it was good until %s.", t.Content.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// overdue reports whether its time is over, also before the timer has said so.
func (t Transaction) overdue(now time.Time) bool {
	return t.Content.ExpiresAt != nil && !now.Before(*t.Content.ExpiresAt)
}

func either(statuses []Status) string {
	text := ""
	for i, status := range statuses {
		switch {
		case i == 0:
		case i == len(statuses)-1:
			text += " or "
		default:
			text += ", "
		}
		text += string(status)
	}
	return text
}

// Ref is the state of one external_ref.
type Ref struct {
	// TransactionID is the transaction that has it, "" when it is free.
	TransactionID string
	// First is what that transaction was made as, and Status what it then was.
	First  Content
	Status Status
}

// Evolve folds one fact. Only the first event of a transaction comes here.
func (r Ref) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case Drafted:
		return Ref{f.Stream.Name(), p.Content.placed(f), StatusDraft}
	case Submitted:
		if p.Content != nil {
			return Ref{f.Stream.Name(), p.Content.placed(f), StatusSubmitted}
		}
	case Posted:
		if p.Content != nil {
			return Ref{f.Stream.Name(), p.Content.placed(f), StatusPosted}
		}
	}
	return r
}

// Size is the approximate memory held, in bytes.
func (r Ref) Size() int { return 2*stateBytes + r.First.size() }
