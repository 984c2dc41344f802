// Package organization is the business area of what holds for an organisation as a
// whole: its time zone, when its fiscal year begins, the currency it reports in.
// Every organisation has these settings from the start, as Defaults; a change of them
// is an event.
package organization

import (
	"time"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Settings are what an organisation decides about itself.
type Settings struct {
	// Timezone is a name of the IANA database.
	Timezone string `json:"timezone"`
	// FiscalYearStart is a day of every year, as "04-01".
	FiscalYearStart string `json:"fiscal_year_start"`
	// BaseCurrency is a code of ISO 4217, "" when none was chosen.
	BaseCurrency string `json:"base_currency,omitempty"`
}

// Defaults hold until an organisation says otherwise. There is no default currency: a
// wrong one would not be noticed before the first report.
func Defaults() Settings { return Settings{Timezone: "UTC", FiscalYearStart: "01-01"} }

// Updated says that these are the settings from now on, all of them. Stream
// organization:<org>.
type Updated struct{ Settings }

// EventType names the event.
func (Updated) EventType() string { return "organization.updated" }

// Kinds are the events of this area.
func Kinds() []domain.EventKind { return []domain.EventKind{domain.Kind[Updated]()} }

// StreamKind is the kind of an organisation's stream.
const StreamKind = "organization"

// Folds says what the boundaries of this area fold to.
func Folds() domain.Folds { return domain.Folds{StreamKind: Organization{}} }

// Stream is the stream of an organisation.
func Stream(org string) domain.Tag { return domain.NewTag(StreamKind, org) }

// Organization is the state of an organisation's settings.
type Organization struct {
	// changed is nil until the first change.
	changed *Settings
}

// Settings are those that hold.
func (o Organization) Settings() Settings {
	if o.changed == nil {
		return Defaults()
	}
	return *o.changed
}

// Evolve folds one fact.
func (o Organization) Evolve(f domain.Fact) domain.State {
	if p, ok := f.Payload.(Updated); ok {
		return Organization{changed: &p.Settings}
	}
	return o
}

// stateBytes is the memory of Go values beside their bytes, roughly.
const stateBytes = 96

// Size is the approximate memory held, in bytes.
func (o Organization) Size() int {
	s := o.Settings()
	return stateBytes + len(s.Timezone) + len(s.FiscalYearStart) + len(s.BaseCurrency)
}

// Open reads the settings of an organisation. Problem: version_conflict when If-Match
// names another version.
func Open(r domain.Reader, m domain.Meta) (Organization, error) {
	stream := Stream(m.Org)
	if current := r.Version(stream); m.IfMatch != nil && *m.IfMatch != current {
		return Organization{}, problem.StaleVersion(current)
	}
	return domain.Read[Organization](r, stream), nil
}

// Decide changes the settings, or nothing when they are these already.
// Problem: invalid_settings.
func (s Settings) Decide(org string, current Organization) ([]domain.Fact, error) {
	if faults := s.faults(); len(faults) > 0 {
		return nil, problem.New(problem.Invalid, "invalid_settings", "The settings cannot be used; errors says which.").With(faults...)
	}
	if current.Settings() == s {
		return nil, nil
	}
	return []domain.Fact{{Stream: Stream(org), Payload: Updated{s}}}, nil
}

func (s Settings) faults() []problem.Field {
	var faults []problem.Field
	check := func(valid bool, field, message string) {
		if !valid {
			faults = append(faults, problem.Field{Location: "body." + field, Message: message})
		}
	}
	check(domain.KnownTimezone(s.Timezone), "timezone", "must be a time zone of the IANA database, as Europe/Paris")
	check(dayOfEveryYear(s.FiscalYearStart), "fiscal_year_start", "must be a month and a day that every year has, as 04-01")
	check(s.BaseCurrency == "" || domain.KnownCurrency(s.BaseCurrency), "base_currency", "must be a code of ISO 4217, as EUR")
	return faults
}

// dayOfEveryYear reads month and day; a year that is no leap year decides.
func dayOfEveryYear(text string) bool {
	_, err := time.Parse(time.DateOnly, "2001-"+text)
	return err == nil
}
