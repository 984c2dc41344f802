package ledger

import (
	"errors"
	"time"
)

// Date is an effective date: a day of the calendar, without a time zone, as the number of
// days since 1970-01-01.
type Date int32

// The dates that books can have entries on. They bound how many days a balance is kept
// for.
var (
	firstDate = firstOf(1900 * 12)
	lastDate  = firstOf(2200*12) - 1
)

const secondsPerDay = 24 * 60 * 60

func dateOf(t time.Time) Date { return Date(t.Unix() / secondsPerDay) } //nolint:gosec // a calendar date is far from the limits

// ParseDate reads a date as "2026-01-31", from 1900 to 2199.
func ParseDate(text string) (Date, bool) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, false
	}
	d := dateOf(t)
	return d, d >= firstDate && d <= lastDate
}

// Time is the first moment of the date in UTC.
func (d Date) Time() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// MonthEnd is the last day of the date's month.
func (d Date) MonthEnd() Date {
	at := d.Time()
	return dateOf(at.AddDate(0, 1, -at.Day()))
}

// String is the date as "2026-01-31".
func (d Date) String() string { return d.Time().Format(time.DateOnly) }

// MarshalText implements encoding.TextMarshaler.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(text []byte) error {
	read, ok := ParseDate(string(text))
	if !ok {
		return errors.New("not a date from 1900 to 2199")
	}
	*d = read
	return nil
}

// wantsDate is what whoever sent another date is told.
const wantsDate = "must be a date from 1900-01-01 to 2199-12-31, as 2026-01-31"

// firstOf is the first day of a month, numbered as in month.
func firstOf(number int) Date {
	return dateOf(time.Time{}.AddDate(number/12-1, number%12, 0)) // that time is the first day of the year 1
}
