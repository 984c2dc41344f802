package readmodels_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

func TestEntityAsTheContractShowsIt(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "C-17", `{"city":"Paris","n":1.50}`, "vip")
	h.append(t, "acme", entity.Stream(id), entity.Updated{Attributes: map[string]json.RawMessage{"city": json.RawMessage(`"Lyon"`)}})
	bare := h.create(t, "customer", "", `{}`)
	last := h.append(t, "acme", entity.Stream(bare), entity.Archived{})
	h.project(t)
	_, epoch, err := h.command.Head(t.Context())
	require.NoError(t, err)

	e, at, err := h.reads.Entity(t.Context(), "acme", id)
	require.NoError(t, err)
	require.Equal(t, readmodels.Snapshot{Position: last, Epoch: epoch}, at)
	require.True(t, e.UpdatedAt.After(e.CreatedAt))
	text, err := json.Marshal(e)
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"id":%q,"type":"customer","key":"C-17","status":"active","attributes":{"city":"Lyon","n":1.50},"tags":["vip"],
		"version":2,"created_at":%q,"created_by":"ana","updated_at":%q,"updated_by":"ana"}`,
		id, e.CreatedAt.Format(time.RFC3339Nano), e.UpdatedAt.Format(time.RFC3339Nano)), string(text))
	require.Contains(t, string(text), "1.50", "numbers keep their text")

	e, _, err = h.reads.Entity(t.Context(), "acme", bare)
	require.NoError(t, err)
	text, err = json.Marshal(e)
	require.NoError(t, err)
	require.Contains(t, string(text), `"key":null,"status":"archived","attributes":{},"tags":[],"version":2`)
}

func TestWhatIsNotThereOrAnothersIsNotFound(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "", `{}`)
	h.append(t, "acme", entity.TypeStream("customer"), entity.TypeDefined{Name: "customer", Schema: json.RawMessage(`{}`)})
	h.project(t)
	for _, org := range []string{"other", ""} {
		_, at, err := h.reads.Entity(t.Context(), org, id)
		requireProblem(t, problem.NotFound, "not_found", err)
		require.EqualValues(t, 2, at.Position, "it was not there at this position")
		_, _, err = h.reads.EntityType(t.Context(), org, "customer")
		requireProblem(t, problem.NotFound, "not_found", err)
		page, _, err := h.reads.Entities(t.Context(), org, readmodels.EntityQuery{Count: true})
		require.NoError(t, err)
		require.Empty(t, page.Items)
		require.EqualValues(t, 0, *page.Count)
		types, _, err := h.reads.EntityTypes(t.Context(), org, readmodels.Page{})
		require.NoError(t, err)
		require.Empty(t, types.Items)
	}
	_, _, err := h.reads.Entity(t.Context(), "acme", uuid.New())
	requireProblem(t, problem.NotFound, "not_found", err)
	_, _, err = h.reads.EntityType(t.Context(), "acme", "no\x00thing")
	requireProblem(t, problem.NotFound, "not_found", err)
}

func TestFilters(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	paris := h.create(t, "customer", "C-1", `{"city":"Paris","age":30,"vip":true,"address":{"zip":"75","geo":{"lat":1.0}},"o'x":"'"}`, "vip", "eu")
	text := h.create(t, "customer", "C-2", `{"city":"Paris ","age":"30","vip":"true"}`, "eu")
	none := h.create(t, "customer", "", `{"city":null,"age":30.00,"address":["75"]}`)
	port := h.create(t, "airport", "C-1", `{"city":"Paris"}`)
	gone := h.create(t, "customer", "C-3", `{"city":"Paris"}`, "vip")
	h.append(t, "acme", entity.Stream(gone), entity.Archived{})
	h.project(t)
	attr := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for name, test := range map[string]struct {
		query readmodels.EntityQuery
		want  []uuid.UUID
	}{
		"active by default":  {readmodels.EntityQuery{}, []uuid.UUID{paris, text, none, port}},
		"archived":           {readmodels.EntityQuery{Status: "archived"}, []uuid.UUID{gone}},
		"all":                {readmodels.EntityQuery{Status: "all"}, []uuid.UUID{paris, text, none, port, gone}},
		"type":               {readmodels.EntityQuery{Type: "airport"}, []uuid.UUID{port}},
		"key":                {readmodels.EntityQuery{Key: "C-1"}, []uuid.UUID{paris, port}},
		"type and key":       {readmodels.EntityQuery{Type: "customer", Key: "C-1"}, []uuid.UUID{paris}},
		"tag":                {readmodels.EntityQuery{Tag: "eu"}, []uuid.UUID{paris, text}},
		"tag, all":           {readmodels.EntityQuery{Tag: "vip", Status: "all"}, []uuid.UUID{paris, gone}},
		"attribute":          {readmodels.EntityQuery{Attributes: attr("city", "Paris")}, []uuid.UUID{paris, port}},
		"number or text":     {readmodels.EntityQuery{Attributes: attr("age", "30")}, []uuid.UUID{paris, text, none}},
		"number by value":    {readmodels.EntityQuery{Attributes: attr("age", "3e1")}, []uuid.UUID{paris, none}},
		"boolean or text":    {readmodels.EntityQuery{Attributes: attr("vip", "true")}, []uuid.UUID{paris, text}},
		"nested":             {readmodels.EntityQuery{Attributes: attr("address.zip", "75")}, []uuid.UUID{paris}},
		"nested number":      {readmodels.EntityQuery{Attributes: attr("address.geo.lat", "1")}, []uuid.UUID{paris}},
		"both attributes":    {readmodels.EntityQuery{Attributes: attr("city", "Paris", "age", "30")}, []uuid.UUID{paris}},
		"attribute and type": {readmodels.EntityQuery{Type: "airport", Attributes: attr("city", "Paris")}, []uuid.UUID{port}},
		"null is no value":   {readmodels.EntityQuery{Attributes: attr("city", "null")}, []uuid.UUID{}},
		"absent":             {readmodels.EntityQuery{Attributes: attr("nothing", "x")}, []uuid.UUID{}},
		"beyond a double":    {readmodels.EntityQuery{Attributes: attr("age", "1e999999999")}, []uuid.UUID{}},
		"quotes":             {readmodels.EntityQuery{Attributes: attr("o'x", "'")}, []uuid.UUID{paris}},
		"an object":          {readmodels.EntityQuery{Attributes: attr("address.geo", `{"lat":1.0}`)}, []uuid.UUID{}},
	} {
		t.Run(name, func(t *testing.T) {
			query := test.query
			query.Sort, query.Count = "created_at", true
			page, _, err := h.reads.Entities(t.Context(), "acme", query)
			require.NoError(t, err)
			require.Equal(t, test.want, ids(page))
			require.EqualValues(t, len(test.want), *page.Count)
			require.Nil(t, page.NextCursor)
		})
	}
}

func TestWhatCannotBeAskedIsRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	many := map[string]string{}
	for i := range 21 {
		many[fmt.Sprint("a", i)] = "x"
	}
	for _, test := range []struct {
		kind  problem.Kind
		code  string
		query readmodels.EntityQuery
	}{
		{problem.Invalid, "invalid_sort", readmodels.EntityQuery{Sort: "type"}},
		{problem.Invalid, "invalid_sort", readmodels.EntityQuery{Sort: "--key"}},
		{problem.Invalid, "invalid_limit", readmodels.EntityQuery{Limit: 501}},
		{problem.Invalid, "invalid_limit", readmodels.EntityQuery{Limit: -1}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Status: "gone"}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Type: "a\x00"}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Key: "\xff"}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Tag: "a\x00"}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Attributes: map[string]string{"a": "\x00"}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Attributes: map[string]string{"a..b": "x"}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Attributes: map[string]string{"": "x"}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Attributes: many}},
		{problem.Malformed, "invalid_cursor", readmodels.EntityQuery{Cursor: "junk"}},
	} {
		_, _, err := h.reads.Entities(t.Context(), "acme", test.query)
		requireProblem(t, test.kind, test.code, err)
	}
	_, _, err := h.reads.EntityTypes(t.Context(), "acme", readmodels.Page{Cursor: "junk"})
	requireProblem(t, problem.Malformed, "invalid_cursor", err)
	_, _, err = h.reads.EntityTypes(t.Context(), "acme", readmodels.Page{Limit: 1000})
	requireProblem(t, problem.Invalid, "invalid_limit", err)
}

func TestEntityTypes(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, name := range []string{"b", "c", "a", "b"} {
		h.append(t, "acme", entity.TypeStream(name), entity.TypeDefined{Name: name, Title: "T " + name, Schema: json.RawMessage(`{"z":1.0,"a":2}`)})
	}
	h.project(t)
	b, at, err := h.reads.EntityType(t.Context(), "acme", "b")
	require.NoError(t, err)
	require.EqualValues(t, 4, at.Position)
	require.EqualValues(t, 2, b.Version)
	require.Equal(t, "T b", b.Title)
	require.Equal(t, `{"z":1.0,"a":2}`, string(b.Schema), "its exact text")

	var names []string
	page := readmodels.Page{Limit: 2}
	for {
		found, _, err := h.reads.EntityTypes(t.Context(), "acme", page)
		require.NoError(t, err)
		for _, entityType := range found.Items {
			names = append(names, entityType.Name)
		}
		if found.NextCursor == nil {
			break
		}
		page.Cursor = *found.NextCursor
	}
	require.Equal(t, []string{"a", "b", "c"}, names)
}

// Every query is one round trip once its statement is prepared on the connection.
func TestEveryQueryIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "C-1", `{"city":"Paris"}`, "vip")
	h.create(t, "customer", "C-2", `{}`)
	h.append(t, "acme", entity.TypeStream("customer"), entity.TypeDefined{Name: "customer", Schema: json.RawMessage(`{}`)})
	h.project(t)
	page, _, err := h.reads.Entities(t.Context(), "acme", readmodels.EntityQuery{Limit: 1, Sort: "-key"})
	require.NoError(t, err)
	for name, query := range map[string]func() error{
		"entity": func() error { _, _, err := h.reads.Entity(t.Context(), "acme", id); return err },
		"list": func() error {
			_, _, err := h.reads.Entities(t.Context(), "acme", readmodels.EntityQuery{
				Type: "customer", Key: "C-1", Tag: "vip", Attributes: map[string]string{"city": "Paris"}, Count: true,
			})
			return err
		},
		"next page": func() error {
			_, _, err := h.reads.Entities(t.Context(), "acme", readmodels.EntityQuery{Limit: 1, Sort: "-key", Cursor: *page.NextCursor})
			return err
		},
		"type":  func() error { _, _, err := h.reads.EntityType(t.Context(), "acme", "customer"); return err },
		"types": func() error { _, _, err := h.reads.EntityTypes(t.Context(), "acme", readmodels.Page{}); return err },
	} {
		require.NoError(t, query(), name)
		h.trips.reset()
		require.NoError(t, query(), name)
		require.Equal(t, "1 batches, 0 queries, 0 prepares", h.trips.reset(), name)
	}
}
