package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/access"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// Clear opens sensitive values for who may see them. Nothing is shown that was not
// recorded before: when that cannot be done, the read is refused.
type Clear struct {
	// Open gives what sealed values of an organisation say, nil for what was erased.
	Open func(ctx context.Context, org string, values []domain.Sealed) ([]json.RawMessage, error)
	// Hasher makes the keyed hashes of an organisation, nil ones while it has none.
	Hasher func(ctx context.Context, org string) (func(parts ...string) []byte, error)
	// Record writes that somebody is shown something, durably.
	Record func(ctx context.Context, org string, actor domain.Actor, requestID string, seen []Seen) error
}

// Seen is what somebody is shown of some entities.
type Seen struct {
	Subjects []string
	access.Recorded
}

// seesClear reports whether the caller is shown sensitive values.
func (e *exchange) seesClear() bool { return commands.Allowed(commands.SensitiveRead, e.caller.Roles) }

// attributesShown tells which attributes the shape shows: all, or those of the names.
func (s shape) attributesShown(name string) bool {
	if s.fields == nil {
		return true
	}
	below, wanted := s.fields["attributes"]
	if !wanted || below == nil {
		return wanted
	}
	_, wanted = below[name]
	return wanted
}

// sight is what an answer is about to show that has to be recorded.
type sight struct {
	// subjects are those of whom sealed values are shown: attributes of these names, and
	// reasons.
	subjects, attributes map[string]bool
	reasons              bool
	// audited are entities of types that have every read recorded.
	audited map[string]bool
}

// read adds an entity that is shown, if every read of it is recorded.
func (s *sight) read(id uuid.UUID, audited bool) {
	if !audited {
		return
	}
	if s.audited == nil {
		s.audited = map[string]bool{}
	}
	s.audited[id.String()] = true
}

// of adds a sealed value.
func (s *sight) of(value domain.Sealed) {
	if s.subjects == nil {
		s.subjects, s.attributes = map[string]bool{}, map[string]bool{}
	}
	for _, subject := range value.Subjects() {
		s.subjects[subject] = true
	}
}

// shows has the answer record what it is about to show, before it does.
func (a *API) shows(ctx context.Context, s sight) {
	if len(s.subjects)+len(s.audited) > 0 {
		exchangeOf(ctx).showing = func(ctx context.Context) error { return a.record(ctx, s) }
	}
}

// record writes it down: what is shown of whom in clear, and which others are read at all.
// Problems: clear_reads_unavailable, recorded_reads_unavailable.
func (a *API) record(ctx context.Context, s sight) error {
	e := exchangeOf(ctx)
	route := e.route.Method + " " + e.route.Path
	var seen []Seen
	if len(s.subjects) > 0 {
		seen = append(seen, Seen{namesOf(s.subjects), access.Recorded{Route: route, Attributes: namesOf(s.attributes), Reasons: s.reasons}})
	}
	others := slices.DeleteFunc(namesOf(s.audited), func(id string) bool { return s.subjects[id] })
	if len(others) > 0 {
		seen = append(seen, Seen{others, access.Recorded{Route: route, Attributes: []string{}}})
	}
	err := a.clear.Record(ctx, e.caller.Org, domain.Actor{Sub: e.caller.Sub, Person: e.caller.Person}, e.requestID, seen)
	switch {
	case err != nil && len(s.subjects) > 0:
		return cannotShow(err)
	case err != nil:
		return fmt.Errorf("%w (%w)", cannotRecord(), err)
	}
	return nil
}

// namesOf are the names of a set, sorted, never nil.
func namesOf(set map[string]bool) []string {
	return append([]string{}, slices.Sorted(maps.Keys(set))...)
}

// reveal puts sensitive values in place of their masks in what is about to be shown; the
// answer records that first, and reads of entities that are recorded anyway. Problem:
// clear_reads_unavailable.
func (a *API) reveal(ctx context.Context, items []readmodels.Entity, as shape) error {
	e := exchangeOf(ctx)
	type place struct {
		item int
		name string
	}
	var places []place
	var values []domain.Sealed
	var seen sight
	for i, item := range items {
		seen.read(item.ID, item.Audited)
		for _, name := range slices.Sorted(maps.Keys(item.Sealed)) {
			if !as.attributesShown(name) {
				continue
			}
			value := item.Sealed[name]
			if !belongs(value, item.ID.String(), entity.AttributePointer(name)) {
				return cannotShow(errMisplaced)
			}
			places, values = append(places, place{i, name}), append(values, value)
			seen.of(value)
			seen.attributes[name] = true
		}
	}
	a.shows(ctx, seen)
	if len(values) == 0 {
		return nil
	}
	opened, err := a.clear.Open(ctx, e.caller.Org, values)
	if err != nil {
		return cannotShow(err)
	}
	changed := map[int]map[string]json.RawMessage{}
	for i, at := range places {
		if changed[at.item] == nil {
			changed[at.item] = map[string]json.RawMessage{}
		}
		changed[at.item][at.name] = opened[i]
	}
	for i, clear := range changed {
		if err := replace(&items[i], clear); err != nil {
			return err
		}
	}
	return nil
}

// errMisplaced is a value that somebody has moved within a read table: a row says itself
// where its values were sealed, and they would open there.
var errMisplaced = errors.New("a sealed value is not where it belongs")

// belongs reports whether a value was sealed for this subject and place alone.
func belongs(value domain.Sealed, subject, pointer string) bool {
	return value.Subject == subject && len(value.Within) == 0 && value.Pointer == pointer
}

// replace gives an entity other attributes of some names; nil ones were erased.
func replace(item *readmodels.Entity, values map[string]json.RawMessage) error {
	var attributes map[string]json.RawMessage
	if err := json.Unmarshal(item.Attributes, &attributes); err != nil {
		return err
	}
	for name, value := range values {
		if attributes[name] = value; value == nil {
			attributes[name] = json.RawMessage("null")
		}
	}
	text, err := encodeJSON(attributes)
	item.Attributes = text
	return err
}

// revealReasons is reveal for why versions of an entity were made, where the shape shows that.
func (a *API) revealReasons(ctx context.Context, id uuid.UUID, items []readmodels.EntityVersion, as shape) error {
	e := exchangeOf(ctx)
	var places []int
	var values []domain.Sealed
	var seen sight
	_, selected := as.fields["reason"]
	wanted := e.seesClear() && (selected || as.fields == nil)
	for i, item := range items {
		seen.read(id, item.Audited)
		if item.SealedReason != nil && wanted {
			places, values = append(places, i), append(values, *item.SealedReason)
			seen.of(*item.SealedReason)
			seen.reasons = true
		}
	}
	a.shows(ctx, seen)
	if len(values) == 0 {
		return nil
	}
	opened, err := a.clear.Open(ctx, e.caller.Org, values)
	if err != nil {
		return cannotShow(err)
	}
	for n, i := range places {
		items[i].Reason = nil
		if opened[n] == nil {
			continue
		}
		if err := json.Unmarshal(opened[n], &items[i].Reason); err != nil {
			return err
		}
	}
	return nil
}

// cannotRecord refuses a read that cannot be recorded.
func cannotRecord() *problem.Problem {
	return problem.New(problem.Unavailable, "recorded_reads_unavailable",
		"Entities of this type are shown only when that is recorded, which the log cannot do now. Ask again in a moment.").Retry(time.Second)
}

// revealPrivate puts what is private of a transaction in place of its mask, for who may see
// it; the answer records that first. Problem: clear_reads_unavailable.
func (a *API) revealPrivate(ctx context.Context, t *readmodels.Transaction, as shape) error {
	e := exchangeOf(ctx)
	if t.Sealed == nil || !e.seesClear() || !as.shows(ledger.PrivateName) {
		return nil
	}
	var seen sight
	seen.of(*t.Sealed)
	seen.attributes[ledger.PrivateName] = true
	a.shows(ctx, seen)
	opened, err := a.clear.Open(ctx, e.caller.Org, []domain.Sealed{*t.Sealed})
	if err != nil {
		return cannotShow(err)
	}
	if t.Private = opened[0]; t.Private == nil {
		t.Private = json.RawMessage("null")
	}
	return nil
}

// cannotShow keeps the cause for the log.
func cannotShow(err error) error {
	p := problem.New(problem.Unavailable, "clear_reads_unavailable",
		"Sensitive values are shown only when that is recorded, which the log cannot do now. Ask again in a moment, or for other fields.").Retry(time.Second)
	return fmt.Errorf("%w (%w)", p, err)
}
