package ledger

import (
	"encoding/json"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Book is what is available on an account with a least balance, on every day: what was
// posted up to then, less what is held of it. It is kept as one sum a day, in months that
// share their memory with the Book before, so that a decision looks at the months behind
// its date and not at the entries, however many there are.
//
// Its first event is Opened, from which it knows whose it is.
type Book struct {
	account uuid.UUID
	debits  bool
	min     int64
	// months are in order; one without entries is missing.
	months []month
}

// month is the sums of a month's days. It is not changed once it is in a Book.
type month struct {
	// number is the year times 12, and the month from 0.
	number int
	net    int64
	// low and high are the least and the greatest sum of the month's days up to one of them,
	// or of none.
	low, high int64
	days      *[31]int64
}

// change is a sum on a date.
type change struct {
	date  Date
	minor int64
}

// net is what lines add to the account's balance.
func (b Book) net(lines []Line) int64 {
	var sum int64
	for _, line := range lines {
		if line.AccountID == b.account {
			if (line.Side == Debit) == b.debits {
				sum += line.Amount.Minor
			} else {
				sum -= line.Amount.Minor
			}
		}
	}
	return sum
}

// held is what a movement takes from what is available before it is posted: its outflow.
func (b Book) held(m Movement) change { return change{m.Date, min(0, b.net(m.Lines))} }

// changes are what a payload does to the account.
func (b Book) changes(payload domain.Payload) []change {
	switch p := payload.(type) {
	case Submitted:
		return []change{b.held(p.Held)}
	case Updated:
		if p.Released == nil {
			return nil
		}
		return append(b.release(p.Released), b.held(p.Content.Movement))
	case Posted:
		return append(b.release(p.Released), change{p.Date, b.net(p.Lines)})
	case Rejected:
		return b.release(&p.Released)
	case Voided:
		return b.release(p.Released)
	case Expired:
		return b.release(p.Released)
	}
	return nil
}

func (b Book) release(m *Movement) []change {
	if m == nil {
		return nil
	}
	c := b.held(*m)
	return []change{{c.date, -c.minor}}
}

// Evolve folds one fact.
func (b Book) Evolve(f domain.Fact) domain.State {
	if p, ok := f.Payload.(Opened); ok {
		b = Book{debits: p.Kind.debits()}
		b.account, _ = uuid.Parse(f.Stream.Name()) // it was made of one
		b.min, _ = readMinor(p.MinBalance)         // only such accounts have a Book
		return b
	}
	return b.with(b.changes(f.Payload))
}

// with is the Book after changes.
func (b Book) with(changes []change) Book {
	for _, c := range changes {
		if c.minor != 0 {
			b.months = changed(b.months, c)
		}
	}
	return b
}

// changed is months with a sum added on a date, in memory of their own where they differ.
func changed(months []month, c change) []month {
	at := c.date.Time()
	number := at.Year()*12 + int(at.Month()) - 1
	i, found := slices.BinarySearchFunc(months, number, func(m month, n int) int { return m.number - n })
	next := make([]month, 0, len(months)+1)
	next = append(next, months[:i]...)
	var days [31]int64
	if found {
		days = *months[i].days
		months = months[i+1:]
	} else {
		months = months[i:]
	}
	days[at.Day()-1] += c.minor
	return append(append(next, monthOf(number, days)), months...)
}

func monthOf(number int, days [31]int64) month {
	m := month{number: number, days: &days}
	for _, day := range days {
		m.net += day
		m.low, m.high = min(m.low, m.net), max(m.high, m.net)
	}
	return m
}

// overflows reports whether what is available is beyond what can be kept, on any day.
func (b Book) overflows() bool {
	var sum int64
	for _, m := range b.months {
		if sum+m.high > maxMinor || sum+m.low < -maxMinor {
			return true
		}
		sum += m.net
	}
	return false
}

// broken is the first date on which there is less available than the least balance, and
// how much that is.
func (b Book) broken() (Date, int64, bool) {
	var sum int64
	for _, m := range b.months {
		if sum+m.low < b.min {
			for i, day := range m.days {
				if sum += day; sum < b.min {
					return firstOf(m.number) + Date(i), sum, true
				}
			}
		}
		sum += m.net
	}
	return 0, 0, false
}

// Memory of a month, roughly.
const monthBytes = 320

// Size is the approximate memory held, in bytes.
func (b Book) Size() int { return stateBytes + monthBytes*len(b.months) }

// keptBook is a Book as bytes.
type keptBook struct {
	Account uuid.UUID
	Debits  bool
	Min     int64
	Months  []keptMonth
}

type keptMonth struct {
	Number int
	Days   [31]int64
}

var _ domain.Kept = Book{}

// Keep gives the state as bytes for Restore.
func (b Book) Keep() ([]byte, error) {
	kept := keptBook{Account: b.account, Debits: b.debits, Min: b.min}
	for _, m := range b.months {
		kept.Months = append(kept.Months, keptMonth{m.number, *m.days})
	}
	return json.Marshal(kept)
}

// Restore gives the state of what Keep gave.
func (Book) Restore(data []byte) (domain.State, error) {
	var kept keptBook
	if err := json.Unmarshal(data, &kept); err != nil {
		return Book{}, err
	}
	b := Book{account: kept.Account, debits: kept.Debits, min: kept.Min}
	for _, m := range kept.Months {
		b.months = append(b.months, monthOf(m.Number, m.Days))
	}
	return b, nil
}
