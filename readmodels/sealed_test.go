package readmodels_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// Whoever may not see a sensitive attribute finds nothing out by comparing it, and whoever
// may compares it for being equal: in lists, counts and searches alike. Of the past nobody
// compares it. It is refused with the reason, whatever else is asked for.
func TestSensitiveAttributesAreComparedByFewAndForEquality(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	define := func(name string, sensitive ...string) {
		h.append(t, "acme", domain.NewTag(entity.TypeStreamKind, name), entity.TypeDefined{
			Name: name, Title: name, Schema: json.RawMessage(`{}`), Search: []string{"name"}, Sensitive: sensitive,
		})
	}
	define("patient", "iban", "a.b")
	define("customer")
	h.create(t, "patient", "", `{"name":"Ana","iban":"***","city":"Paris"}`)
	h.create(t, "customer", "", `{"name":"Ben","iban":"DE1","city":"Paris"}`)
	h.project(t)
	hashes := func(...string) []byte { return []byte("no such hash") }
	now := time.Now().Add(time.Minute)

	ask := func(q readmodels.EntityQuery, filter readmodels.Filter) string {
		t.Helper()
		filter.Field = readmodels.AttributePrefix + filter.Field
		q.Filters, q.Count = append(q.Filters, filter), true
		page, _, err := h.reads.Entities(t.Context(), anybody("acme"), q)
		if p := problem.Of(err); p != nil {
			require.Empty(t, page.Items)
			require.Nil(t, page.Count)
			return p.Code
		}
		require.NoError(t, err)
		return fmt.Sprint(*page.Count)
	}
	equal := []readmodels.Filter{{Field: "iban", Value: "DE1"}, {Field: "iban", Operator: "in", Value: "DE1,DE2"}, {Field: "/iban", Value: "DE1"}, {Field: "/a.b", Value: "1"}}
	other := []readmodels.Filter{
		{Field: "iban", Operator: "ne", Value: "DE1"}, {Field: "iban", Operator: "gt", Value: "A"}, {Field: "iban", Operator: "lte", Value: "Z"},
		{Field: "iban.country", Value: "DE"}, {Field: "/iban/0", Value: "D"}, {Field: "/a.b/c", Operator: "in", Value: "1,2"},
	}
	for name, q := range map[string]readmodels.EntityQuery{
		"list": {}, "of the type": {Type: "patient"}, "search": {Search: "ana"}, "with other filters": {Filters: attr("city", "nowhere"), Status: "all"},
		"by key": {Sort: "key"}, "past": {AsOf: &now}, "past of the type": {AsOf: &now, Type: "patient"}, "past by update": {AsOf: &now, Sort: "updated_at"},
	} {
		for _, filter := range equal {
			require.Equal(t, "privacy_required", ask(q, filter), "%s: %v", name, filter)
			q.Clear = hashes
			want := "sealed_attribute"
			if q.AsOf == nil {
				want = map[bool]string{true: "1", false: "0"}[filter.Field != "/a.b" && (name == "list" || name == "by key")] // the customer, whose is not sealed
			}
			require.Equal(t, want, ask(q, filter), "%s: %v", name, filter)
			q.Clear = nil
		}
		for _, filter := range other {
			require.Equal(t, "sealed_attribute", ask(q, filter), "%s: %v", name, filter)
			q.Clear = hashes
			require.Equal(t, "sealed_attribute", ask(q, filter), "%s, privacy: %v", name, filter)
			q.Clear = nil
		}
	}
	// A type that does not name it is asked as ever, in the past, too.
	require.Equal(t, "1", ask(readmodels.EntityQuery{Type: "customer"}, equal[0]))
	require.Equal(t, "1", ask(readmodels.EntityQuery{Type: "customer", AsOf: &now}, equal[0]))
	require.Equal(t, "2", ask(readmodels.EntityQuery{AsOf: &now}, readmodels.Filter{Field: "city", Value: "Paris"}))
	// The mask in place of a sealed value is not found as one.
	_, err := h.projector.Exec(t.Context(), `UPDATE `+h.schema(t)+`.entities SET sealed = '{"iban":{"hash":"00"}}' WHERE type = 'patient'`)
	require.NoError(t, err)
	for _, filter := range []readmodels.Filter{{Field: "iban", Value: "***"}, {Field: "iban", Operator: "in", Value: "DE7,***"}} {
		for _, q := range []readmodels.EntityQuery{{}, {Type: "patient"}, {Search: "ana"}} {
			q.Clear = hashes
			require.Equal(t, "0", ask(q, filter), "%v", filter)
		}
	}
	_, _, err = h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Sort: "attr.iban"})
	requireProblem(t, problem.Invalid, "invalid_sort", err)
}
