package ledger

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Kind is what an account is for; it says which side makes its balance grow.
type Kind string

// The kinds.
const (
	Asset     Kind = "asset"
	Liability Kind = "liability"
	Equity    Kind = "equity"
	Income    Kind = "income"
	Expense   Kind = "expense"
)

// debits reports whether debits make the balance grow.
func (k Kind) debits() bool { return k == Asset || k == Expense }

func (k Kind) valid() bool {
	return k == Asset || k == Liability || k == Equity || k == Income || k == Expense
}

// Account is the state of an account apart from its balance.
type Account struct {
	ID       uuid.UUID
	Code     string
	Name     string
	Kind     Kind
	Currency string
	// MinBalance is nil when any balance may be.
	MinBalance *int64
	EntityID   *uuid.UUID
	Closed     bool
}

// Exists reports whether the account was ever opened.
func (a Account) Exists() bool { return a.Kind != "" }

// Guarded reports whether the balance decides what can be posted.
func (a Account) Guarded() bool { return a.MinBalance != nil }

// Evolve folds one fact.
func (a Account) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case Opened:
		a = Account{Code: p.Code, Name: p.Name, Kind: p.Kind, Currency: p.Currency, EntityID: p.EntityID}
		a.ID, _ = uuid.Parse(f.Stream.Name()) // it was made of one
		if minor, err := readMinor(p.MinBalance); err == nil {
			a.MinBalance = &minor
		}
	case Closed:
		a.Closed = true
	case Reopened:
		a.Closed = false
	}
	return a
}

// stateBytes is the memory of Go values beside their bytes, roughly.
const stateBytes = 256

// Size is the approximate memory held, in bytes.
func (a Account) Size() int { return stateBytes + len(a.Code) + len(a.Name) }

// Code is the state of one account code.
type Code struct {
	// AccountID is the account that has it, "" when it is free.
	AccountID string
}

// Evolve folds one fact.
func (c Code) Evolve(f domain.Fact) domain.State {
	if _, ok := f.Payload.(Opened); ok {
		return Code{AccountID: f.Stream.Name()}
	}
	return c
}

// Size is the approximate memory held, in bytes.
func (c Code) Size() int { return stateBytes + len(c.AccountID) }

// Limits on texts, in characters. The longest code and reference still fit a tag.
const (
	maxCode        = 64
	maxName        = 200
	maxRef         = 200
	maxDescription = 1000
)

// ValidCode reports whether an account can have this code.
func ValidCode(code string) bool { return nameFault(code, maxCode) == "" }

// nameFault says what is wrong with a text of one line, "" when nothing is.
func nameFault(text string, most int) string {
	switch {
	case text == "":
		return "must not be empty"
	case !utf8.ValidString(text):
		return "must be UTF-8"
	case utf8.RuneCountInString(text) > most:
		return fmt.Sprintf("must have at most %d characters", most)
	case strings.ContainsFunc(text, domain.UnsafeInName):
		return "must not hold control characters or bidirectional overrides"
	case strings.TrimSpace(text) != text:
		return "must not begin or end with a space"
	}
	return ""
}

// NewAccount is what an account shall be.
type NewAccount struct {
	ID         uuid.UUID
	Code, Name string
	Kind       Kind
	Currency   string
	// MinBalance is a decimal, nil for none.
	MinBalance *string
	EntityID   *uuid.UUID
}

// Decide opens the account. Where the code is not valid, code is an empty state; linked
// says that the entity, if any, is there. Problems, in this order: invalid_account,
// unknown_entity, code_taken.
func (n NewAccount) Decide(code Code, linked bool) ([]domain.Fact, error) {
	opened := Opened{Code: n.Code, Name: n.Name, Kind: n.Kind, Currency: n.Currency, EntityID: n.EntityID}
	faults := n.faults()
	if n.MinBalance != nil && domain.KnownCurrency(n.Currency) {
		minor, fault := parseLeast(*n.MinBalance, n.Currency)
		if opened.MinBalance = FormatMinor(minor, n.Currency); fault != "" {
			faults = append(faults, problem.Field{Location: "body.min_balance", Message: fault})
		}
	}
	switch {
	case len(faults) > 0:
		return nil, problem.New(problem.Invalid, "invalid_account", "The account cannot be opened like this; errors says why.").With(faults...)
	case n.EntityID != nil && !linked:
		return nil, problem.New(problem.Invalid, "unknown_entity", "There is no entity with this id, or it is archived.").
			With(problem.Field{Location: "body.entity_id", Message: "is not the id of an active entity"})
	case code.AccountID != "":
		p := problem.New(problem.Conflict, "code_taken", "Another account has this code, possibly a closed one.")
		p.Extra = map[string]any{"id": code.AccountID}
		return nil, p
	}
	tags := []domain.Tag{CodeTag(n.Code)}
	if opened.MinBalance != "" {
		tags = append(tags, BalanceTag(n.ID))
	}
	return []domain.Fact{{Stream: AccountStream(n.ID), Tags: tags, Payload: opened}}, nil
}

func (n NewAccount) faults() []problem.Field {
	var faults []problem.Field
	check := func(field, message string) {
		if message != "" {
			faults = append(faults, problem.Field{Location: "body." + field, Message: message})
		}
	}
	check("code", nameFault(n.Code, maxCode))
	check("name", nameFault(n.Name, maxName))
	if !n.Kind.valid() {
		check("kind", "must be asset, liability, equity, income or expense")
	}
	check("currency", domain.CurrencyFault(n.Currency))
	return faults
}

// Close ends the account for new lines; one that is closed stays so.
func (a Account) Close() []domain.Fact {
	if a.Closed {
		return nil
	}
	return []domain.Fact{{Stream: AccountStream(a.ID), Payload: Closed{}}}
}

// Reopen takes a closing back; one that is open stays so.
func (a Account) Reopen() []domain.Fact {
	if !a.Closed {
		return nil
	}
	return []domain.Fact{{Stream: AccountStream(a.ID), Payload: Reopened{}}}
}
