package ledger

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// lines reads the lines, those of splits behind the others, and holds them against their
// accounts and against each other.
func (d Draft) lines(r domain.Reader) ([]Line, error) {
	var lines []Line
	var unknown, amounts, currencies []problem.Field
	fault := func(faults *[]problem.Field, location, message string) {
		*faults = append(*faults, problem.Field{Location: "body." + location, Message: message})
	}
	account := func(text, location string) (a Account) {
		if id, ok := accountID(text); ok {
			a = domain.Read[Account](r, AccountStream(id))
		}
		if !a.Exists() {
			fault(&unknown, location, "is not the id of an account")
		}
		return a
	}
	for i, sent := range d.Lines {
		a := account(sent.AccountID, at("lines", i, "account_id"))
		if !a.Exists() {
			continue
		}
		minor, wrong := parseAmount(sent.Amount, a.Currency)
		if wrong != "" {
			fault(&amounts, at("lines", i, "amount"), wrong)
		}
		if sent.Currency != "" && sent.Currency != a.Currency {
			fault(&currencies, at("lines", i, "currency"), "must be "+a.Currency+", which the account is in")
		}
		lines = append(lines, Line{a.ID, Side(sent.Side), Money{minor, a.Currency}, sent.Exchange})
	}
	for i, split := range d.Splits {
		lines = append(lines, split.lines(i, account, &amounts, &currencies)...)
	}
	switch {
	case len(unknown) > 0:
		return nil, problem.New(problem.Invalid, "unknown_account", "There is no account with this id.").With(unknown...)
	case len(amounts) > 0:
		return nil, invalidAmount(amounts...)
	case len(currencies) > 0:
		return nil, currencyMismatch(currencies...)
	}
	if err := balanced(lines); err != nil {
		return nil, err
	}
	return lines, exchanged(lines)
}

// lines shares an amount out. Who would get nothing has no line.
func (s Split) lines(i int, account func(text, location string) Account, amounts, currencies *[]problem.Field) []Line {
	var accounts []Account
	var shares []int64
	for _, share := range s.Shares {
		a := account(share.AccountID, at("splits", i, "shares"))
		if !a.Exists() {
			return nil
		}
		accounts, shares = append(accounts, a), append(shares, share.Share)
	}
	currency := accounts[0].Currency
	if slices.ContainsFunc(accounts, func(a Account) bool { return a.Currency != currency }) {
		*currencies = append(*currencies, problem.Field{Location: "body." + at("splits", i, "shares"), Message: "must be accounts in one currency"})
		return nil
	}
	minor, wrong := parseAmount(s.Amount, currency)
	if wrong != "" {
		*amounts = append(*amounts, problem.Field{Location: "body." + at("splits", i, "amount"), Message: wrong})
		return nil
	}
	var lines []Line
	for j, part := range Allocate(minor, shares) {
		if part > 0 {
			lines = append(lines, Line{AccountID: accounts[j].ID, Side: Side(s.Side), Amount: Money{part, currency}})
		}
	}
	return lines
}

// totals are the sums of the sides in one currency.
type totals struct {
	currency      string
	debit, credit int64
}

// totalsOf sums lines by currency, in the order in which those appear. It reports false
// when a sum is beyond what can be kept.
func totalsOf(lines []Line) ([]totals, bool) {
	var all []totals
	for _, line := range lines {
		i := slices.IndexFunc(all, func(t totals) bool { return t.currency == line.Amount.Currency })
		if i < 0 {
			i = len(all)
			all = append(all, totals{currency: line.Amount.Currency})
		}
		sum := &all[i].debit
		if line.Side == Credit {
			sum = &all[i].credit
		}
		var ok bool
		if *sum, ok = add(*sum, line.Amount.Minor); !ok {
			return nil, false
		}
	}
	return all, true
}

// balanced checks that each currency is on both sides, by the same amount.
// Problems: invalid_amount, currency_mismatch, unbalanced.
func balanced(lines []Line) error {
	all, ok := totalsOf(lines)
	if !ok {
		return invalidAmount(problem.Field{Location: "body.lines", Message: "must not sum up to more than can be kept, " + strconv.Itoa(maxMinor) + " in the smallest unit"})
	}
	for _, t := range all {
		if len(all) > 1 && (t.debit == 0 || t.credit == 0) {
			return currencyMismatch(problem.Field{Location: "body.lines", Message: t.currency + " is on one side only: money changes currency by two legs, each of which balances"})
		}
	}
	for _, t := range all {
		if t.debit != t.credit {
			return problem.New(problem.Invalid, "unbalanced", "Debits and credits must be equal in each currency.").
				With(problem.Field{Location: "body.lines", Message: fmt.Sprintf("has debits of %s and credits of %s %s",
					FormatMinor(t.debit, t.currency), FormatMinor(t.credit, t.currency), t.currency)})
		}
	}
	return nil
}

// exchanged checks that what was converted is what its rate makes of it, and that the
// other end of the conversion is a line, too. Problem: invalid_exchange.
func exchanged(lines []Line) error {
	for i, line := range lines {
		if line.Exchange == nil {
			continue
		}
		if fault := line.exchangeFault(lines); fault != "" {
			return problem.New(problem.Invalid, "invalid_exchange", "A conversion does not fit its rate.").
				With(problem.Field{Location: "body." + at("lines", i, "exchange"), Message: fault})
		}
	}
	return nil
}

func (l Line) exchangeFault(lines []Line) string {
	from := Money{Currency: l.Exchange.FromCurrency}
	if !domain.KnownCurrency(from.Currency) || from.Currency == l.Amount.Currency {
		return "must be from another currency, by its code of ISO 4217"
	}
	rate, ok := parseRate(l.Exchange.Rate)
	if !ok {
		return "must have a rate that is a positive decimal string, as \"1.0845\""
	}
	var fault string
	if from.Minor, fault = parseAmount(l.Exchange.FromAmount, from.Currency); fault != "" {
		return "must have a from_amount in its currency: " + fault
	}
	if !slices.ContainsFunc(lines, func(other Line) bool { return other.Amount == from }) {
		return "must be from an amount that another line has"
	}
	minor, ok := from.Convert(rate, l.Amount.Currency)
	if !ok || minor != l.Amount.Minor {
		return "makes another amount at this rate: " + FormatMinor(minor, l.Amount.Currency) + " " + l.Amount.Currency
	}
	return ""
}

func invalidAmount(faults ...problem.Field) *problem.Problem {
	return problem.New(problem.Invalid, "invalid_amount", "An amount cannot be used; errors says what is expected.").With(faults...)
}

func currencyMismatch(faults ...problem.Field) *problem.Problem {
	return problem.New(problem.Invalid, "currency_mismatch", "The lines do not go together by currency; errors says why.").With(faults...)
}

// Balances reports whether lines balance in each currency.
func Balances(lines []Line) bool { return len(lines) > 1 && balanced(lines) == nil }
