package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/access"
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
	// Record writes that somebody is shown something of subjects, durably.
	Record func(ctx context.Context, org string, actor domain.Actor, requestID string, subjects []string, seen access.Recorded) error
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

// reveal puts sensitive values in place of their masks in what is about to be shown, and
// records it first. Problem: clear_reads_unavailable.
func (a *API) reveal(ctx context.Context, items []readmodels.Entity, as shape) error {
	e := exchangeOf(ctx)
	type place struct {
		item int
		name string
	}
	var places []place
	var values []domain.Sealed
	subjects, names := map[string]bool{}, map[string]bool{}
	for i, item := range items {
		for _, name := range slices.Sorted(maps.Keys(item.Sealed)) {
			if !as.attributesShown(name) {
				continue
			}
			value := item.Sealed[name]
			places, values = append(places, place{i, name}), append(values, value)
			for _, subject := range value.Subjects() {
				subjects[subject] = true
			}
			names[name] = true
		}
	}
	if len(values) == 0 {
		return nil
	}
	opened, err := a.clear.Open(ctx, e.caller.Org, values)
	if err != nil {
		return cannotShow(err)
	}
	seen := access.Recorded{Route: e.route.Method + " " + e.route.Path, Attributes: slices.Sorted(maps.Keys(names))}
	actor := domain.Actor{Sub: e.caller.Sub, Person: e.caller.Person}
	if err := a.clear.Record(ctx, e.caller.Org, actor, e.requestID, slices.Sorted(maps.Keys(subjects)), seen); err != nil {
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
		var attributes map[string]json.RawMessage
		if err := json.Unmarshal(items[i].Attributes, &attributes); err != nil {
			return err
		}
		for name, value := range clear {
			if attributes[name] = value; value == nil {
				attributes[name] = json.RawMessage("null")
			}
		}
		text, err := encodeJSON(attributes)
		if err != nil {
			return err
		}
		items[i].Attributes = text
	}
	return nil
}

// cannotShow keeps the cause for the log.
func cannotShow(err error) error {
	p := problem.New(problem.Unavailable, "clear_reads_unavailable",
		"Sensitive values are shown only when that is recorded, which the log cannot do now. Ask again in a moment, or for other fields.").Retry(time.Second)
	return fmt.Errorf("%w (%w)", p, err)
}
