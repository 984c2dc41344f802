// Package ledger is the business area of accounts and double-entry transactions on them:
// money moves only between accounts, by lines that balance in each currency, and what was
// posted is never changed, only reversed.
//
// Three kinds of boundary keep it right, and each as small as can be:
//
//   - account:<id>, the account's own stream, moves when it is opened, closed or reopened.
//     Transactions name it and do not move it, so a busy account conflicts with nobody.
//   - balance:<id>, of accounts with a min_balance only, moves with each of their
//     transactions: what it has on every day (book.go).
//   - transaction:<id>, one transaction with its state (transaction.go).
//
// Beside them: account_code:<code> and external_ref:<ref> for uniqueness,
// ledger_policy:<currency> and ledger_periods:all for the rules.
//
// The commands are in commands/ledger.
package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Side is where a line stands.
type Side string

// The sides.
const (
	Debit  Side = "debit"
	Credit Side = "credit"
)

// Opposite is the other side.
func (s Side) Opposite() Side {
	if s == Debit {
		return Credit
	}
	return Debit
}

// Line is one leg of a transaction. Its amount is positive; in events it is written as a
// decimal with the digits of its currency.
type Line struct {
	AccountID uuid.UUID
	Side      Side
	Amount    Money
	// Exchange says what the amount was converted from, nil if it was not.
	Exchange *Exchange
}

// Exchange is the other end of a conversion, with the rate that it was made at.
type Exchange struct {
	FromAmount   string `json:"from_amount"`
	FromCurrency string `json:"from_currency"`
	Rate         string `json:"rate"`
}

type lineJSON struct {
	AccountID uuid.UUID `json:"account_id"`
	Side      Side      `json:"side"`
	Amount    string    `json:"amount"`
	Currency  string    `json:"currency"`
	Exchange  *Exchange `json:"exchange,omitempty"`
}

// MarshalJSON writes the line with its amount as a decimal. By hand, because there are at
// least two in every event of a posting: ids, sides, amounts and currencies need no escapes.
func (l Line) MarshalJSON() ([]byte, error) {
	if l.Exchange != nil || !plain(string(l.Side)) || !plain(l.Amount.Currency) {
		return json.Marshal(lineJSON{l.AccountID, l.Side, l.Amount.String(), l.Amount.Currency, l.Exchange})
	}
	text := make([]byte, 0, lineBytes)
	text = append(append(text, `{"account_id":"`...), l.AccountID.String()...)
	text = append(append(text, `","side":"`...), l.Side...)
	text = append(append(text, `","amount":"`...), l.Amount.String()...)
	text = append(append(text, `","currency":"`...), l.Amount.Currency...)
	return append(text, `"}`...), nil
}

// plain reports whether a text is letters alone, as all sides and currencies are.
func plain(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// plainLine reads what MarshalJSON writes by hand, several times faster than encoding/json.
// It reports false for what it leaves to the latter. The text is JSON, so that what begins
// with an id and ends with a plain name is framed as it is written.
func plainLine(text string) (Line, bool) {
	account, rest, _ := strings.Cut(strings.TrimPrefix(text, `{"account_id":"`), `","side":"`)
	side, rest, _ := strings.Cut(rest, `","amount":"`)
	amount, rest, _ := strings.Cut(rest, `","currency":"`)
	currency := strings.TrimSuffix(rest, `"}`)
	id, valid := accountID(account)
	minor, err := readMinor(amount)
	if !valid || err != nil || !plain(side) || !plain(currency) {
		return Line{}, false
	}
	// Copies, so that a state does not keep the whole text.
	return Line{AccountID: id, Side: Side(strings.Clone(side)), Amount: Money{minor, strings.Clone(currency)}}, true
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Line) UnmarshalJSON(data []byte) error {
	if line, ok := plainLine(string(data)); ok {
		*l = line
		return nil
	}
	var read lineJSON
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	minor, err := readMinor(read.Amount)
	if err != nil {
		return fmt.Errorf("the amount of a line: %w", err)
	}
	*l = Line{read.AccountID, read.Side, Money{minor, read.Currency}, read.Exchange}
	return nil
}

// Movement is lines on a date: what is posted, or held until it is.
type Movement struct {
	Date  Date   `json:"date"`
	Lines []Line `json:"lines"`
}

// By is who did something, and for whom: the rules about who may approve hang on it.
type By struct {
	domain.Actor
	OnBehalfOf *domain.Actor `json:"on_behalf_of,omitempty"`
}

// Content is what a transaction says.
type Content struct {
	Movement
	Description Personal[string]                     `json:"description,omitzero"`
	ExternalRef string                               `json:"external_ref,omitempty"`
	Metadata    map[string]json.RawMessage           `json:"metadata,omitempty"`
	Private     Personal[map[string]json.RawMessage] `json:"private,omitzero"`
	// ExpiresAt is when it expires unless it has been posted.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// Subjects are those whom it is about, as the event itself says.
	Subjects []string `json:"-"`
}

// Opened is the first event of an account. Stream account:<id>; it carries the tag of its
// code and, when it has a least balance, that of its balance.
type Opened struct {
	Code     string `json:"code"`
	Name     string `json:"name"`
	Kind     Kind   `json:"kind"`
	Currency string `json:"currency"`
	// MinBalance is a decimal; empty for none.
	MinBalance string     `json:"min_balance,omitempty"`
	EntityID   *uuid.UUID `json:"entity_id,omitempty"`
}

// Closed ends an account for new lines.
type Closed struct{}

// Reopened takes a closing back.
type Reopened struct{}

// The events of a transaction, stream transaction:<id>. The first of them has its
// Content: a transaction begins as drafted, submitted or posted. They carry the tag of
// each account's balance that they move, and the first that of the external_ref; their
// subjects are those whom the transaction is about.
//
// What is held and what is released is said in full, so that nobody needs the events
// before to keep a balance.
type (
	// Drafted begins a transaction that moves nothing yet.
	Drafted struct {
		Content Content `json:"content"`
		By      By      `json:"by"`
	}
	// Updated replaces the content of a draft or of what was submitted, and ends all
	// approvals. Released is what was held for the old one; then the new one is held.
	Updated struct {
		Content  Content   `json:"content"`
		Released *Movement `json:"released,omitempty"`
		By       By        `json:"by"`
	}
	// Submitted asks for approval and holds the money.
	Submitted struct {
		// Content is there when this is the first event.
		Content *Content `json:"content,omitempty"`
		Held    Movement `json:"held"`
		By      By       `json:"by"`
	}
	// Approved is one approval; Complete says that they are enough.
	Approved struct {
		By       By        `json:"by"`
		At       time.Time `json:"at"`
		Complete bool      `json:"complete"`
	}
	// Rejected ends it.
	Rejected struct {
		Released Movement `json:"released"`
		By       By       `json:"by"`
	}
	// Posted moves the money: Movement is what was posted, on which date.
	Posted struct {
		// Content is there when this is the first event.
		Content *Content `json:"content,omitempty"`
		Movement
		Released *Movement `json:"released,omitempty"`
		// Reverses is the transaction that this one takes back.
		Reverses *uuid.UUID `json:"reverses,omitempty"`
		By       By         `json:"by"`
	}
	// Voided ends what was not posted.
	Voided struct {
		Released *Movement `json:"released,omitempty"`
		By       By        `json:"by"`
	}
	// Reversed says that another transaction has taken this one back.
	Reversed struct {
		ReversedBy uuid.UUID `json:"reversed_by"`
		By         By        `json:"by"`
	}
	// Expired ends what was not posted in time.
	Expired struct {
		Released *Movement `json:"released,omitempty"`
	}
)

// PolicySet says from which amount on transactions in a currency need approval. Stream
// ledger_policy:<currency>.
type PolicySet struct {
	Currency string `json:"currency"`
	// ApprovalAbove is a decimal; empty when nothing needs approval.
	ApprovalAbove   string `json:"approval_above,omitempty"`
	ApprovalsNeeded int    `json:"approvals_needed"`
}

// PeriodsClosed says up to which date, inclusive, nothing can be posted; null for no date.
// Stream ledger_periods:all.
type PeriodsClosed struct {
	ClosedThrough *Date `json:"closed_through"`
}

// EventType names the event.
func (Opened) EventType() string { return "account.opened" }

// EventType names the event.
func (Closed) EventType() string { return "account.closed" }

// EventType names the event.
func (Reopened) EventType() string { return "account.reopened" }

// EventType names the event.
func (Drafted) EventType() string { return "transaction.drafted" }

// EventType names the event.
func (Updated) EventType() string { return "transaction.updated" }

// EventType names the event.
func (Submitted) EventType() string { return "transaction.submitted" }

// EventType names the event.
func (Approved) EventType() string { return "transaction.approved" }

// EventType names the event.
func (Rejected) EventType() string { return "transaction.rejected" }

// EventType names the event.
func (Posted) EventType() string { return "transaction.posted" }

// EventType names the event.
func (Voided) EventType() string { return "transaction.voided" }

// EventType names the event.
func (Reversed) EventType() string { return "transaction.reversed" }

// EventType names the event.
func (Expired) EventType() string { return "transaction.expired" }

// EventType names the event.
func (PolicySet) EventType() string { return "transaction_policy.set" }

// EventType names the event.
func (PeriodsClosed) EventType() string { return "transaction_periods.closed" }

// Kinds are the events of this area.
func Kinds() []domain.EventKind {
	return []domain.EventKind{
		domain.Kind[Opened](), domain.Kind[Closed](), domain.Kind[Reopened](),
		domain.Kind[Drafted](), domain.Kind[Updated](), domain.Kind[Submitted](), domain.Kind[Approved](), domain.Kind[Rejected](),
		domain.Kind[Posted](), domain.Kind[Voided](), domain.Kind[Reversed](), domain.Kind[Expired](),
		domain.Kind[PolicySet](), domain.Kind[PeriodsClosed](),
	}
}

// The kinds of tags.
const (
	AccountKind     = "account"
	TransactionKind = "transaction"
	PolicyKind      = "ledger_policy"
	PeriodsKind     = "ledger_periods"
	balanceKind     = "balance"
	codeKind        = "account_code"
	refKind         = "external_ref"
)

// Folds says what the boundaries of this area fold to.
func Folds() domain.Folds {
	return domain.Folds{
		AccountKind: Account{}, TransactionKind: Transaction{}, PolicyKind: Policy{}, PeriodsKind: Periods{},
		balanceKind: Book{}, codeKind: Code{}, refKind: Ref{},
	}
}

// AccountStream is the stream of an account.
func AccountStream(id uuid.UUID) domain.Tag { return domain.NewTag(AccountKind, id.String()) }

// BalanceTag is the boundary of the balance of an account with a least balance.
func BalanceTag(id uuid.UUID) domain.Tag { return domain.NewTag(balanceKind, id.String()) }

// CodeTag is the boundary that makes a code unique; the code must be one that ValidCode
// accepts.
func CodeTag(code string) domain.Tag { return domain.NewTag(codeKind, code) }

// TransactionStream is the stream of a transaction.
func TransactionStream(id uuid.UUID) domain.Tag { return domain.NewTag(TransactionKind, id.String()) }

// RefTag is the boundary that makes an external_ref unique; it must be one that ValidRef
// accepts.
func RefTag(ref string) domain.Tag { return domain.NewTag(refKind, ref) }

// PolicyStream is the stream of the policy of a currency.
func PolicyStream(currency string) domain.Tag { return domain.NewTag(PolicyKind, currency) }

// PeriodsStream is the stream of closed periods.
func PeriodsStream() domain.Tag { return domain.NewTag(PeriodsKind, "all") }
