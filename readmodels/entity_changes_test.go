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

// changesOf are the changes of a version, as texts.
func changesOf(v readmodels.EntityVersion) []string {
	texts := []string{}
	for _, c := range v.Changes {
		texts = append(texts, fmt.Sprintf("%s %s→%s", c.Path, c.From, c.To))
	}
	return texts
}

func updates(attributes string) entity.Updated {
	var changed map[string]json.RawMessage
	_ = json.Unmarshal([]byte(attributes), &changed)
	return entity.Updated{Attributes: changed}
}

func TestHistoryTellsEveryChangeFromAndTo(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "C-1", `{"city":"Paris","a/b~c":1.50,"iban":"***"}`, "vip")
	stream := entity.Stream(id)
	h.append(t, "acme", stream, updates(`{"city":"Lyon","a/b~c":null,"iban":"***"}`))
	h.append(t, "acme", stream, entity.Updated{Tags: []string{}})
	h.append(t, "acme", stream, entity.Archived{})
	bare := h.create(t, "customer", "", `{}`)
	last := h.append(t, "acme", stream, entity.Restored{})
	h.project(t)

	page, at, err := h.reads.EntityVersions(t.Context(), anybody("acme"), id, readmodels.EntityVersionQuery{})
	require.NoError(t, err)
	require.Equal(t, last, at.Position)
	require.Nil(t, page.NextCursor)
	var types []string
	var changes [][]string
	for i, v := range page.Items {
		require.EqualValues(t, 5-i, v.Version)
		require.Equal(t, "ana", v.By)
		require.NotEqual(t, uuid.Nil, v.EventID)
		types, changes = append(types, v.Type), append(changes, changesOf(v))
	}
	require.Equal(t, []string{"entity.restored", "entity.archived", "entity.updated", "entity.updated", "entity.created"}, types)
	require.Equal(t, [][]string{
		{`/status "archived"→"active"`}, {`/status "active"→"archived"`}, {`/tags ["vip"]→[]`},
		{`/attributes/a~1b~0c 1.50→null`, `/attributes/city "Paris"→"Lyon"`, `/attributes/iban "***"→"***"`},
		{
			`/attributes/a~1b~0c null→1.50`, `/attributes/city null→"Paris"`, `/attributes/iban null→"***"`,
			`/key null→"C-1"`, `/status null→"active"`, `/tags null→["vip"]`, `/type null→"customer"`,
		},
	}, changes)
	require.Equal(t, "a/b~c", *page.Items[3].Changes[0].Attribute)
	require.Nil(t, page.Items[2].Changes[0].Attribute)

	page, _, err = h.reads.EntityVersions(t.Context(), anybody("acme"), id, readmodels.EntityVersionQuery{Attribute: "city", OldestFirst: true})
	require.NoError(t, err)
	require.Len(t, page.Items, 2)
	require.Equal(t, []string{`/attributes/city null→"Paris"`}, changesOf(page.Items[0]))
	require.Equal(t, []string{`/attributes/city "Paris"→"Lyon"`}, changesOf(page.Items[1]))

	page, _, err = h.reads.EntityVersions(t.Context(), anybody("acme"), bare, readmodels.EntityVersionQuery{})
	require.NoError(t, err)
	require.Equal(t, []string{`/status null→"active"`, `/type null→"customer"`}, changesOf(page.Items[0]))
	page, _, err = h.reads.EntityVersions(t.Context(), anybody("acme"), bare, readmodels.EntityVersionQuery{Attribute: "city"})
	require.NoError(t, err)
	require.Empty(t, page.Items, "it is there, and never changed that")
	_, _, err = h.reads.EntityVersions(t.Context(), anybody("acme"), uuid.New(), readmodels.EntityVersionQuery{})
	requireProblem(t, problem.NotFound, "not_found", err)
}

func TestHistoryIsPagedEitherWay(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "thing", "", `{}`)
	for i := range 6 {
		h.append(t, "acme", entity.Stream(id), updates(fmt.Sprintf(`{"n%d":%d}`, i%2, i)))
	}
	h.project(t)
	for _, test := range []struct {
		query readmodels.EntityVersionQuery
		want  []int64
	}{
		{readmodels.EntityVersionQuery{}, []int64{7, 6, 5, 4, 3, 2, 1}},
		{readmodels.EntityVersionQuery{OldestFirst: true}, []int64{1, 2, 3, 4, 5, 6, 7}},
		{readmodels.EntityVersionQuery{Attribute: "n0"}, []int64{6, 4, 2}},
		{readmodels.EntityVersionQuery{Attribute: "n1", OldestFirst: true}, []int64{3, 5, 7}},
	} {
		for limit := 1; limit <= 8; limit++ {
			var seen []int64
			q := test.query
			q.Limit = limit
			for {
				page, _, err := h.reads.EntityVersions(t.Context(), anybody("acme"), id, q)
				require.NoError(t, err)
				for _, v := range page.Items {
					seen = append(seen, v.Version)
				}
				if page.NextCursor == nil {
					break
				}
				q.Cursor = *page.NextCursor
			}
			require.Equal(t, test.want, seen, "%+v", q)
		}
	}
	page, _, err := h.reads.EntityVersions(t.Context(), anybody("acme"), id, readmodels.EntityVersionQuery{Page: readmodels.Page{Limit: 1}})
	require.NoError(t, err)
	for _, q := range []readmodels.EntityVersionQuery{{OldestFirst: true}, {Attribute: "n0"}, {Page: readmodels.Page{Limit: 501}}, {Attribute: "\x00"}} {
		q.Cursor = *page.NextCursor
		_, _, err := h.reads.EntityVersions(t.Context(), anybody("acme"), id, q)
		require.Error(t, err, "%+v", q)
	}
	_, _, err = h.reads.EntityVersions(t.Context(), anybody("acme"), uuid.New(), readmodels.EntityVersionQuery{Page: readmodels.Page{Cursor: *page.NextCursor}})
	requireProblem(t, problem.Malformed, "invalid_cursor", err)
}
