package readmodels_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// A selection is what a list of all pages has, by the same filters and rights, each entity
// in its version.
func TestASelectionIsTheWholeList(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, "acme", entity.TypeStream("person"), entity.TypeDefined{Name: "person", Schema: json.RawMessage(`{}`), Sensitive: []string{"iban"}})
	h.searchable(t, "customer", "name")
	var all []uuid.UUID
	for n := range 30 {
		all = append(all, h.create(t, "customer", fmt.Sprint("C-", n), fmt.Sprintf(`{"age":%d,"name":"Ana %d"}`, n, n), []string{"odd", "even"}[n%2]))
	}
	h.append(t, "acme", entity.Stream(all[3]), entity.Updated{Tags: []string{"even"}})
	h.append(t, "acme", entity.Stream(all[4]), entity.Archived{})
	h.share(t, all[5], "user:bob")
	h.share(t, all[6], "group:sales")
	h.project(t)
	for name, q := range map[string]readmodels.EntityQuery{
		"all": {}, "archived": {Status: "archived"}, "both": {Status: "all"}, "type": {Type: "customer", Tag: "even"}, "key": {Key: "C-7"}, "none": {Type: "ghost"},
		"ids":      {IDs: []uuid.UUID{all[1], all[5], uuid.New()}},
		"compared": {Filters: []readmodels.Filter{{Field: "attr.age", Operator: "gte", Value: "20"}, {Field: "key", Operator: "ne", Value: "C-25"}}},
		"search":   {Search: "ana", Type: "customer"},
	} {
		q.Sort, q.Limit = "created_at", readmodels.MaxLimit
		page, at, err := h.reads.Entities(t.Context(), anybody("acme"), q)
		require.NoError(t, err, name)
		want := map[uuid.UUID]int64{}
		for _, e := range page.Items {
			want[e.ID] = e.Version
		}
		selected, from, err := h.reads.SelectEntities(t.Context(), anybody("acme"), q, 30)
		require.NoError(t, err, name)
		require.Equal(t, at, from)
		got, last := map[uuid.UUID]int64{}, ""
		for _, one := range selected {
			require.Greater(t, one.ID.String(), last, name)
			got[one.ID], last = one.Version, one.ID.String()
		}
		require.Equal(t, want, got, name)
		require.NotContains(t, got, all[5], "what is hidden is not selected")
		require.Equal(t, name == "none", len(got) == 0, name)
	}
	everybody := readmodels.Reader{Org: "acme", Principals: []string{"role:admin"}}
	selected, _, err := h.reads.SelectEntities(t.Context(), everybody, readmodels.EntityQuery{}, 29)
	require.NoError(t, err)
	require.Len(t, selected, 29)
	_, _, err = h.reads.SelectEntities(t.Context(), everybody, readmodels.EntityQuery{}, 28)
	requireProblem(t, problem.Invalid, "too_many_entities", err)
	for code, q := range map[string]readmodels.EntityQuery{
		"invalid_filter": {Status: "asleep"}, "not_searchable": {Search: "ana", Type: "ghost"}, "sealed_attribute": {Filters: []readmodels.Filter{{Field: "attr.iban", Operator: "gt", Value: "1"}}},
	} {
		_, _, err = h.reads.SelectEntities(t.Context(), anybody("acme"), q, 30)
		requireProblem(t, problem.Invalid, code, err)
	}
	_, _, err = h.reads.SelectEntities(t.Context(), anybody("acme"), readmodels.EntityQuery{Filters: attr("iban", "1")}, 30)
	requireProblem(t, problem.Forbidden, "privacy_required", err)
	none, _, err := h.reads.SelectEntities(t.Context(), anybody("other"), readmodels.EntityQuery{}, 30)
	require.NoError(t, err)
	require.Empty(t, none)
}
