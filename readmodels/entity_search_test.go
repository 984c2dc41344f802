package readmodels_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/readmodels"
)

// searchable defines a type of acme whose attributes of these names are searched.
func (h *hub) searchable(t testing.TB, kind string, names ...string) {
	t.Helper()
	h.append(t, "acme", entity.TypeStream(kind), entity.TypeDefined{Name: kind, Schema: json.RawMessage(`{}`), Search: names})
}

// names are those of the page's items, by the attribute name.
func names(t testing.TB, page readmodels.EntityPage) []string {
	t.Helper()
	found := []string{}
	for _, e := range page.Items {
		var attributes struct{ Name string }
		require.NoError(t, json.Unmarshal(e.Attributes, &attributes))
		found = append(found, attributes.Name)
	}
	return found
}

func TestSearch(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.searchable(t, "customer", "name", "city", "codes")
	h.searchable(t, "asset", "name")
	h.append(t, "acme", entity.TypeStream("note"), entity.TypeDefined{Name: "note", Schema: json.RawMessage(`{}`)})
	for _, attributes := range []string{
		`{"name":"Jürgen Müller & Søn","city":"Köln","codes":["A-17",42,{"x":"hidden"}],"other":"unseen"}`,
		`{"name":"Anna Miller","city":"Paris"}`, `{"name":"Annabel O'Brien","city":"New York"}`,
		`{"name":"Привет Мир"}`, `{"name":"東京都庁"}`, `{"name":"ΑΘΗΝΑ Straße"}`, `{"name":"100% _under\\score"}`,
		`{"name":"Kainmowi"}`, `{"name":"***","city":"Oslo"}`, `{"name":"Jones","city":"Lima"}`, `{"name":"Jonas"}`,
	} {
		h.create(t, "customer", "", attributes, "eu")
	}
	h.create(t, "asset", "", `{"name":"Müller drill","city":"Paris"}`)
	h.create(t, "note", "", `{"name":"Müller"}`)
	h.project(t)
	for q, want := range map[string][]string{
		"müller":         {"Müller drill", "Jürgen Müller & Søn"},
		"MULLER":         {"Müller drill", "Jürgen Müller & Søn"},
		"mull koln":      {"Jürgen Müller & Søn"},
		"son jurgen":     {"Jürgen Müller & Søn"},
		"anna":           {"Anna Miller", "Annabel O'Brien"},
		"o'brien":        {"Annabel O'Brien"},
		"brien new":      {"Annabel O'Brien"},
		"a-17":           {"Jürgen Müller & Søn"},
		"42":             {"Jürgen Müller & Søn"},
		"ПРИВЕТ":         {"Привет Мир"},
		"прив":           {"Привет Мир"},
		"превет":         {"Привет Мир"}, // similar
		"東京":             {"東京都庁"},
		"京都":             {"東京都庁"},
		"αθηνα strasse":  {"ΑΘΗΝΑ Straße"},
		"ｓｔｒａ":           {"ΑΘΗΝΑ Straße"},
		"kaimnowi":       {"Kainmowi"},
		"jurgn mueler":   {"Jürgen Müller & Søn"},
		"jnoes":          {"Jones"}, // two letters swapped, which is closer than what is only similar
		"joens lmia":     {"Jones"},
		"ojne":           {"Jones"},
		"pairs mill":     {"Anna Miller"},
		"привте":         {"Привет Мир"},
		"ller":           {"Müller drill", "Anna Miller", "Jürgen Müller & Søn"}, // nothing begins so, these are like it
		"unseen":         {},
		"hidden":         {},
		"paris":          {"Anna Miller"},
		"%":              nil,
		"100%":           {"100% _under\\score"},
		"under_score":    {"100% _under\\score"},
		"' OR true --":   {},
		"müller xyzzyqw": {},
	} {
		page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: q, Count: true})
		if want == nil {
			requireProblem(t, problem.Invalid, "invalid_search", err)
			continue
		}
		require.NoError(t, err, q)
		if q == "anna" || strings.EqualFold(q, "müller") || q == "MULLER" {
			require.Equal(t, want, names(t, page), "the best first: %q", q)
		} else {
			require.ElementsMatch(t, want, names(t, page), q)
		}
		require.EqualValues(t, len(want), *page.Count, q)
		require.False(t, page.Truncated, q)
	}
}

func TestSearchWithFiltersSortsAndPages(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.searchable(t, "customer", "name")
	h.searchable(t, "asset", "name")
	var all []uuid.UUID
	for i := range 25 {
		all = append(all, h.create(t, []string{"customer", "asset"}[i%2], "", fmt.Sprintf(`{"name":"Ana %s","n":%d}`, strings.Repeat("x", i%5), i%3), []string{"a", "b"}[i%2]))
	}
	h.append(t, "acme", entity.Stream(all[0]), updates(`{"name":"Ana Annamari"}`))
	gone := h.create(t, "customer", "", `{"name":"Ana Annamaria"}`)
	h.append(t, "acme", entity.Stream(gone), entity.Archived{})
	h.project(t)
	pages := func(q readmodels.EntityQuery) []uuid.UUID {
		var seen []uuid.UUID
		for {
			page, _, err := h.reads.Entities(t.Context(), anybody("acme"), q)
			require.NoError(t, err)
			seen = append(seen, ids(page)...)
			if page.NextCursor == nil {
				return seen
			}
			q.Cursor = *page.NextCursor
		}
	}
	whole := pages(readmodels.EntityQuery{Search: "ana"})
	require.ElementsMatch(t, all, whole)
	for limit := range 7 {
		require.Equal(t, whole, pages(readmodels.EntityQuery{Search: "ana", Limit: limit + 1}), "each once, and in one order")
	}
	require.Equal(t, all, pages(readmodels.EntityQuery{Search: "ana", Sort: "created_at", Limit: 4}))
	require.Equal(t, []uuid.UUID{gone}, pages(readmodels.EntityQuery{Search: "ana", Status: "archived"}))
	require.Len(t, pages(readmodels.EntityQuery{Search: "ana", Status: "all"}), 26)
	require.ElementsMatch(t, all[:1], pages(readmodels.EntityQuery{Search: "annamaria"}), "what is archived does not stand for what is like it")
	require.Len(t, pages(readmodels.EntityQuery{Search: "ana", Type: "asset", Tag: "b", Filters: attr("n", "1")}), 4)
	page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: "ana", Offset: 20, ExpandTypes: true, Count: true})
	require.NoError(t, err)
	require.Equal(t, whole[20:], ids(page))
	require.EqualValues(t, 25, *page.Count)
	require.Equal(t, page.Items[0].Type, page.Items[0].Definition.Name)

	page, _, err = h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: "ana", Limit: 1})
	require.NoError(t, err)
	for _, q := range []readmodels.EntityQuery{{}, {Search: "an"}, {Search: "ana", Sort: "created_at"}, {Search: "ana", Type: "asset"}} {
		q.Cursor = *page.NextCursor
		_, _, err := h.reads.Entities(t.Context(), anybody("acme"), q)
		requireProblem(t, problem.Malformed, "invalid_cursor", err)
	}
	now := time.Now()
	for _, q := range []readmodels.EntityQuery{
		{Search: "a\x00"}, {Search: "\xff"}, {Search: "- ,"}, {Search: strings.Repeat("a", 201)}, {Search: "ana", AsOf: &now},
	} {
		_, _, err := h.reads.Entities(t.Context(), anybody("acme"), q)
		requireProblem(t, problem.Invalid, "invalid_search", err)
	}
	_, _, err = h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Sort: "rank"})
	requireProblem(t, problem.Invalid, "invalid_sort", err)
	for _, q := range []readmodels.EntityQuery{{Search: "ana", Type: "ghost"}} {
		_, _, err := h.reads.Entities(t.Context(), anybody("acme"), q)
		requireProblem(t, problem.Invalid, "not_searchable", err)
	}
}

// What a type names now is what is searched, of its old entities too, and until that is so
// the answer says it.
func TestSearchFollowsItsTypes(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.searchable(t, "customer", "name")
	ana := h.create(t, "customer", "", `{"name":"Ana","city":"Paris"}`)
	h.create(t, "customer", "", `{"name":"Bob","city":"Rome"}`)
	h.project(t)
	find := func(q string) ([]uuid.UUID, bool) {
		page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: q})
		require.NoError(t, err)
		return ids(page), page.Truncated
	}
	found, _ := find("paris")
	require.Empty(t, found)
	h.searchable(t, "customer", "name", "city")
	h.append(t, "acme", entity.Stream(ana), updates(`{"city":"Lyon"}`))
	h.project(t)
	for q, want := range map[string][]uuid.UUID{"lyon": {ana}, "ana": {ana}, "paris": {}} {
		found, truncated := find(q)
		require.Equal(t, want, found, q)
		require.False(t, truncated)
	}
	_, err := h.projector.Exec(t.Context(), `INSERT INTO `+h.schema(t)+`.search_backlog VALUES ('acme', 'customer', $1)`, uuid.Nil)
	require.NoError(t, err)
	found, truncated := find("lyon")
	require.Equal(t, []uuid.UUID{ana}, found)
	require.True(t, truncated, "the index of the type is being made")
	h.searchable(t, "customer")
	h.project(t)
	_, _, err = h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: "ana"})
	requireProblem(t, problem.Invalid, "not_searchable", err)
}

// schema is the entities view's.
func (h *hub) schema(t testing.TB) (schema string) {
	t.Helper()
	require.NoError(t, h.projector.QueryRow(t.Context(), `SELECT schema FROM view_pointers WHERE name = 'entities'`).Scan(&schema))
	return schema
}

// The function that searches looks past row-level security. Whatever a session sets, it
// gives the rows of the organisation in hub.org and no others.
func TestASearchStaysInItsOrganisation(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.searchable(t, "customer", "name")
	ours := h.create(t, "customer", "", `{"name":"Ana ours"}`)
	delete(h.versions, entity.TypeStream("customer")) // of another organisation it is another stream
	h.append(t, "other", entity.TypeStream("customer"), entity.TypeDefined{Name: "customer", Schema: json.RawMessage(`{}`), Search: []string{"name"}})
	theirs := uuid.Must(uuid.NewV7())
	h.append(t, "other", entity.Stream(theirs), entity.Created{Type: "customer", Attributes: map[string]json.RawMessage{"name": json.RawMessage(`"Ana theirs"`)}})
	h.project(t)
	schema := h.schema(t)
	pool, searcher := hubtest.Pool(t, h.url, string(eventstore.RoleQuery)), hubtest.Pool(t, h.url, "hub_search")
	for org, want := range map[string][]uuid.UUID{"acme": {ours}, "other": {theirs}, "": {}, "ghost": {}} {
		page, _, err := h.reads.Entities(t.Context(), anybody(org), readmodels.EntityQuery{Search: "ana"})
		if len(want) > 0 {
			require.NoError(t, err)
			require.Equal(t, want, ids(page))
		} else {
			requireProblem(t, problem.Invalid, "not_searchable", err)
		}
		for _, hostile := range []string{
			``, `SET search_path = pg_temp, ` + schema, `SET enable_indexscan = off`, `SET pg_trgm.word_similarity_threshold = 0`,
			`SET row_security = off`, `SET plan_cache_mode = force_generic_plan`,
			`CREATE TEMP TABLE entity_types AS SELECT 'other'::text AS org, 'customer'::text AS name, '{name}'::text[] AS search`,
			`CREATE FUNCTION pg_temp.nullif(text, text) RETURNS text LANGUAGE sql AS 'SELECT ''other''::text'`,
		} {
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			_, _ = conn.Exec(t.Context(), hostile) // what is refused does no harm
			_, err = conn.Exec(t.Context(), `SELECT set_config('hub.org', $1, false)`, org)
			require.NoError(t, err)
			for _, q := range []string{"ana", "anna", "theirs", "%", "' OR true OR d.text LIKE '", "x' || (SELECT org FROM entity_search) || '"} {
				rows, err := conn.Query(t.Context(), `SELECT id FROM `+schema+`.search($1, '', 'all', 1000000, true, NULL)`, q)
				require.NoError(t, err)
				for rows.Next() {
					var id uuid.UUID
					require.NoError(t, rows.Scan(&id))
					require.Contains(t, want, id, "%q under %q", q, hostile)
				}
				require.NoError(t, rows.Err())
			}
			require.NoError(t, conn.Conn().Close(t.Context()))
			conn.Release()
		}
	}
	// The role that owns it may read what is searched, and do nothing else.
	for _, statement := range []string{
		`SELECT attributes FROM ` + schema + `.entities`, `INSERT INTO ` + schema + `.entity_search SELECT * FROM ` + schema + `.entity_search`,
		`DELETE FROM ` + schema + `.entity_search`, `CREATE TABLE ` + schema + `.t ()`, `SELECT FROM events`, `SELECT FROM view_pointers`,
	} {
		_, err := searcher.Exec(t.Context(), statement)
		require.Error(t, err, statement)
	}
	var functions []string
	require.NoError(t, hubtest.Pool(t, h.url, "").QueryRow(t.Context(), `SELECT array_agg(proname::text) FROM pg_proc
		WHERE proowner = 'hub_search'::regrole AND prosecdef AND proconfig @> '{"search_path=pg_catalog, public, pg_temp"}'`).Scan(&functions))
	require.Equal(t, []string{"search"}, slices.Compact(functions))
}

// A search uses the index, which row-level security would forbid the caller: what it reads
// does not grow with what there is.
func TestASearchReadsWhatItFinds(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.searchable(t, "customer", "name")
	h.project(t)
	schema := h.schema(t)
	pool, err := eventstore.OpenPool(t.Context(), h.url, eventstore.RoleQuery, 1)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reads := readmodels.New(readmodels.Options{Pool: pool, CursorKey: cursorKey})
	find := func(q string) int {
		page, _, err := reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: q, Sort: "created_at"})
		require.NoError(t, err)
		return len(page.Items)
	}
	for range 8 { // PostgreSQL settles on a general plan after five
		require.Zero(t, find("zoe"))
	}
	_, err = h.projector.Exec(t.Context(), `
		WITH made AS (
			INSERT INTO `+schema+`.entities (org, id, type, key, status, attributes, tags, version, type_version, created_at, created_by, updated_at, updated_by, position, event_id)
			SELECT 'acme', gen_random_uuid(), 'customer', NULL, 'active', json_build_object('name', 'Ana ' || CASE WHEN n % 1000 = 0 THEN 'Zoe' ELSE 'b' || n % 97 END), '{}', 1, 1,
			       now(), 'ana', now(), 'ana', 1, gen_random_uuid()
			  FROM generate_series(1, 5000) n RETURNING *
		)
		INSERT INTO `+schema+`.entity_search SELECT org, id, type, status, `+schema+`.document(attributes, '{name}') FROM made`)
	require.NoError(t, err)
	_, err = h.projector.Exec(t.Context(), `ANALYZE `+schema+`.entity_search, `+schema+`.entities`)
	require.NoError(t, err)
	for q, most := range map[string]int64{"zoe": 300, "zoey": 500, "ana zoe": 300} {
		before := rowsRead(t, h, pool, schema)
		require.Equal(t, 5, find(q), q)
		read := rowsRead(t, h, pool, schema) - before
		require.Positive(t, read)
		require.LessOrEqual(t, read, most, q)
	}
	page, _, err := reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: "ana", Limit: 1})
	require.NoError(t, err)
	require.False(t, page.Truncated, "five thousand are ranked")
	_, err = h.projector.Exec(t.Context(), `INSERT INTO `+schema+`.entity_search VALUES ('acme', gen_random_uuid(), 'customer', 'active', ' ana ')`)
	require.NoError(t, err)
	page, _, err = reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: "ana", Limit: 1})
	require.NoError(t, err)
	require.True(t, page.Truncated, "and no more")
}
