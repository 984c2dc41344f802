package readmodels_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/readmodels"
)

// fill adds entities to the view, past the log: attributes is SQL of the number n.
func (h *hub) fill(t testing.TB, org, kind string, from, to int, attributes string) {
	t.Helper()
	schema := h.schema(t)
	_, err := h.projector.Exec(t.Context(), `
		INSERT INTO `+schema+`.entities (org, id, type, key, status, attributes, tags, version, type_version, created_at, created_by, updated_at, updated_by, position, event_id, terms, signature)
		SELECT $1::text, md5($1::text || $2::text || n)::uuid, $2::text, CASE WHEN n % 3 > 0 THEN 'k' || lpad(n::text, 6, '0') END, CASE WHEN n % 11 = 0 THEN 'archived' ELSE 'active' END,
		       a.attributes, '{}', 1, 1, '2100-01-01'::timestamptz + n * interval '1 second', 'ana', '2100-01-01'::timestamptz + n % 997 * interval '1 second', 'ana', 1, gen_random_uuid(),
		       t.terms, (SELECT coalesce(bit_or(`+schema+`.bits(b)), 0) FROM unnest(t.terms) b)
		  FROM generate_series($3::integer, $4::integer) n CROSS JOIN LATERAL (SELECT `+attributes+` AS attributes) a
		 CROSS JOIN LATERAL (SELECT `+schema+`.terms($1::text, $2::text, a.attributes, '{}', '{}') AS terms) t`, org, kind, from, to)
	require.NoError(t, err)
	_, err = h.projector.Exec(t.Context(), `VACUUM (ANALYZE) `+schema+`.entities`)
	require.NoError(t, err)
}

// Values of every kind are found where nothing that comes first in the list has them, so
// that they are asked for by their terms.
func TestWhatFewHaveIsFoundByItsTerms(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	long := strings.Repeat("long ünïcode ", 500)
	wide := map[string]json.RawMessage{}
	for n := range 300 {
		wide[fmt.Sprint("w", n)] = json.RawMessage(fmt.Sprint(n))
	}
	wideText, err := json.Marshal(wide)
	require.NoError(t, err)
	one := h.create(t, "thing", "", `{"n":1,"text":"1","yes":true,"nil":null,"list":[1,2],"o":{"a":{"b":"deep"},"3":"three","list":[{"x":7}]},"a.b":{"c/d":"dotted"},"o'\"x":"q'\"","":"empty"}`, "vip")
	same := h.create(t, "thing", "", `{"n":1.00,"yes":"true","long":`+encoded(t, long)+`,"uni":"日本 Ätna \u2028","-1":"minus","big":1e300}`, "eu", "vip")
	broad := h.create(t, "thing", "", string(wideText))
	other := h.create(t, "other", "", `{"n":1}`, "vip")
	changed := h.create(t, "thing", "", `{"city":"Paris","keep":"k"}`, "old")
	h.append(t, "acme", entity.Stream(changed), entity.Updated{Attributes: map[string]json.RawMessage{"city": json.RawMessage(`"Lyon"`), "keep": nil}, Tags: []string{"new"}})
	h.append(t, "acme", entity.Stream(same), entity.Archived{})
	h.project(t)
	h.append(t, "acme", entity.Stream(changed), entity.Updated{Attributes: map[string]json.RawMessage{"later": json.RawMessage(`{"in":"time"}`)}})
	h.append(t, "acme", entity.Stream(same), entity.Restored{})
	h.project(t)

	in := func(path, values string) []readmodels.Filter {
		return []readmodels.Filter{{Field: readmodels.AttributePrefix + path, Operator: "in", Value: values}}
	}
	type filtered struct {
		query readmodels.EntityQuery
		want  []uuid.UUID
	}
	cases := map[string]filtered{
		"a number by value":           {readmodels.EntityQuery{Filters: attr("n", "1.0")}, []uuid.UUID{one, same, other}},
		"a number by its text":        {readmodels.EntityQuery{Filters: attr("text", "1")}, []uuid.UUID{one}},
		"no number like a text":       {readmodels.EntityQuery{Filters: attr("text", "1.0")}, nil},
		"a large number":              {readmodels.EntityQuery{Filters: attr("big", "1000e297")}, []uuid.UUID{same}},
		"true, and the text":          {readmodels.EntityQuery{Filters: attr("yes", "true")}, []uuid.UUID{one, same}},
		"null is no value":            {readmodels.EntityQuery{Filters: attr("nil", "null")}, nil},
		"a list is no value":          {readmodels.EntityQuery{Filters: attr("list", "[1, 2]")}, nil},
		"a member of a list":          {readmodels.EntityQuery{Filters: attr("list.0", "1")}, []uuid.UUID{one}},
		"the last member of a list":   {readmodels.EntityQuery{Filters: attr("list.-1", "2")}, []uuid.UUID{one}},
		"a member within a list":      {readmodels.EntityQuery{Filters: attr("o.list.0.x", "7")}, []uuid.UUID{one}},
		"a name that is a number":     {readmodels.EntityQuery{Filters: attr("o.3", "three")}, []uuid.UUID{one}},
		"a first name like that":      {readmodels.EntityQuery{Filters: attr("-1", "minus")}, []uuid.UUID{same}},
		"deep":                        {readmodels.EntityQuery{Filters: attr("o.a.b", "deep")}, []uuid.UUID{one}},
		"not so deep":                 {readmodels.EntityQuery{Filters: attr("o.a", "deep")}, nil},
		"names with dots and slashes": {readmodels.EntityQuery{Filters: attr("/a.b/c~1d", "dotted")}, []uuid.UUID{one}},
		"quotes":                      {readmodels.EntityQuery{Filters: attr(`o'"x`, `q'"`)}, []uuid.UUID{one}},
		"a long text":                 {readmodels.EntityQuery{Filters: attr("long", long)}, []uuid.UUID{same}},
		"nearly that text":            {readmodels.EntityQuery{Filters: attr("long", long+" ")}, nil},
		"letters of all kinds":        {readmodels.EntityQuery{Filters: attr("uni", "日本 Ätna \u2028")}, []uuid.UUID{same}},
		"one of many values":          {readmodels.EntityQuery{Filters: attr("w299", "299")}, []uuid.UUID{broad}},
		"some of several":             {readmodels.EntityQuery{Filters: in("city", "Paris,Lyon,")}, []uuid.UUID{changed}},
		"what it was":                 {readmodels.EntityQuery{Filters: attr("city", "Paris")}, nil},
		"what was removed":            {readmodels.EntityQuery{Filters: attr("keep", "k")}, nil},
		"what was added later":        {readmodels.EntityQuery{Filters: attr("later.in", "time")}, []uuid.UUID{changed}},
		"a tag":                       {readmodels.EntityQuery{Tag: "vip"}, []uuid.UUID{one, same, other}},
		"a tag that it had":           {readmodels.EntityQuery{Tag: "old"}, nil},
		"a tag that it has now":       {readmodels.EntityQuery{Tag: "new"}, []uuid.UUID{changed}},
		"a tag is no attribute":       {readmodels.EntityQuery{Filters: attr("vip", "vip")}, nil},
		"two attributes and a tag":    {readmodels.EntityQuery{Filters: attr("n", "1", "yes", "true"), Tag: "eu"}, []uuid.UUID{same}},
		"with a comparison":           {readmodels.EntityQuery{Filters: append(attr("n", "1"), readmodels.Filter{Field: "attr.big", Operator: "gte", Value: "5"})}, []uuid.UUID{same}},
		"of a type":                   {readmodels.EntityQuery{Type: "other", Filters: attr("n", "1")}, []uuid.UUID{other}},
		"of no type":                  {readmodels.EntityQuery{Type: "ghost", Filters: attr("n", "1")}, nil},
	}
	ofThings := map[string]filtered{}
	for name, test := range cases {
		if test.query.Type == "" {
			test.query.Type = "thing"
			test.want = slices.DeleteFunc(slices.Clone(test.want), func(id uuid.UUID) bool { return id == other })
			ofThings[name+", of a type"] = test
		}
	}
	maps.Copy(cases, ofThings)
	check := func() {
		for name, test := range cases {
			for _, sort := range []string{"-created_at", "created_at", "-updated_at", "key", "-key"} {
				query := test.query
				query.Sort, query.Count = sort, true
				page, _, err := h.reads.Entities(t.Context(), anybody("acme"), query)
				require.NoError(t, err, name)
				require.ElementsMatch(t, test.want, ids(page), "%s by %s", name, sort)
				require.EqualValues(t, len(test.want), *page.Count, "%s by %s", name, sort)
			}
			page, _, err := h.reads.Entities(t.Context(), anybody("else"), test.query)
			require.NoError(t, err)
			require.Empty(t, page.Items, name)
		}
	}
	check() // so few are walked, past those whose signatures tell
	for _, kind := range []string{"thing", "other"} {
		h.fill(t, "acme", kind, 1, 250, `'{"filler":true}'::jsonb`)
	}
	check()
	h.append(t, "acme", entity.Stream(one), entity.AccessChanged{Entries: []entity.ACLEntry{{Principal: "user:zoe", Rights: []entity.Right{entity.MayRead}}}})
	h.project(t)
	h.fill(t, "acme", "thing", 1, 250, `'{"filler":true}'::jsonb`)
	page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Type: "thing", Filters: attr("n", "1"), Count: true})
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{same}, ids(page))
	require.EqualValues(t, 1, *page.Count)
}

// item is a row of fill as the test knows it.
type item struct {
	id             uuid.UUID
	n, updated     int
	key            string
	active, wanted bool
}

// Whichever way a list is read, by page and with its count: what is wanted comes first in
// the list or last, is rare, common, or more than the index is asked for.
func TestEveryWayToReadAListGivesTheSame(t *testing.T) {
	t.Parallel()
	const rows = 12_000
	h := newHub(t)
	h.project(t)
	h.fill(t, "acme", "thing", 1, rows, `jsonb_build_object('half', n % 2, 'some', n % 70, 'few', n % 2000, 'first', n < 5, 'last', n > 11990, 'most', n > 5500, 'most first', n <= 6500,
		'none', CASE WHEN n = 0 THEN 1 END, 'both', CASE WHEN n = 3 OR n > 11995 THEN 1 ELSE n END, 'n', n)`)
	h.fill(t, "acme", "other", 1, 300, `jsonb_build_object('few', n % 10, 'n', n)`)
	h.fill(t, "else", "thing", 1, 300, `jsonb_build_object('few', n % 10, 'n', n)`)
	for name, test := range map[string]struct {
		filters []readmodels.Filter
		wanted  func(n int) bool
	}{
		"half":            {attr("half", "1"), func(n int) bool { return n%2 == 1 }},
		"one in seventy":  {attr("some", "3"), func(n int) bool { return n%70 == 3 }},
		"a few":           {attr("few", "7"), func(n int) bool { return n%2000 == 7 }},
		"the first":       {attr("first", "true"), func(n int) bool { return n < 5 }},
		"the last":        {attr("last", "true"), func(n int) bool { return n > 11990 }},
		"most at the end": {attr("most", "true"), func(n int) bool { return n > 5500 }},
		"most at first":   {attr("most first", "true"), func(n int) bool { return n <= 6500 }},
		"none":            {attr("none", "1"), func(int) bool { return false }},
		"at both ends":    {attr("both", "1"), func(n int) bool { return n == 1 || n == 3 || n > 11995 }},
		"exactly one":     {attr("n", "6000"), func(n int) bool { return n == 6000 }},
		"of both":         {attr("half", "1", "some", "3"), func(n int) bool { return n%2 == 1 && n%70 == 3 }},
	} {
		var all []item
		for n := 1; n <= rows; n++ {
			if one := (item{n: n, updated: n % 997, active: n%11 != 0, wanted: test.wanted(n)}); one.active && one.wanted {
				if n%3 > 0 {
					one.key = fmt.Sprintf("k%06d", n)
				}
				all = append(all, one)
			}
		}
		rowsOf, err := h.projector.Query(t.Context(), `SELECT md5('acmething' || n)::uuid FROM unnest($1::integer[]) WITH ORDINALITY AS u(n, nth) ORDER BY nth`, numbers(all))
		require.NoError(t, err)
		for i := range all {
			require.True(t, rowsOf.Next())
			require.NoError(t, rowsOf.Scan(&all[i].id))
		}
		rowsOf.Close()
		for _, sort := range []string{"created_at", "-created_at", "updated_at", "-updated_at", "key", "-key"} {
			want := inOrder(all, sort)
			query := readmodels.EntityQuery{Type: "thing", Filters: test.filters, Sort: sort, Count: true}
			page, _, err := h.reads.Entities(t.Context(), anybody("acme"), query)
			require.NoError(t, err)
			require.Equal(t, want[:min(50, len(want))], ids(page), "%s by %s", name, sort)
			require.EqualValues(t, len(want), *page.Count, "%s by %s", name, sort)

			query.Offset, query.Count = 3, false
			page, _, err = h.reads.Entities(t.Context(), anybody("acme"), query)
			require.NoError(t, err)
			require.Equal(t, want[min(3, len(want)):min(53, len(want))], ids(page), "%s by %s", name, sort)

			query.Offset, query.Limit = 0, 500
			got := []uuid.UUID{}
			for {
				page, _, err := h.reads.Entities(t.Context(), anybody("acme"), query)
				require.NoError(t, err)
				got = append(got, ids(page)...)
				if page.NextCursor == nil {
					break
				}
				query.Cursor = *page.NextCursor
			}
			require.Equal(t, want, got, "%s by %s", name, sort)
		}
	}
}

func numbers(all []item) []int {
	found := make([]int, len(all))
	for i, one := range all {
		found[i] = one.n
	}
	return found
}

// inOrder sorts as the lists do.
func inOrder(all []item, sort string) []uuid.UUID {
	sorted := slices.Clone(all)
	column, down := strings.CutPrefix(sort, "-")
	slices.SortFunc(sorted, func(a, b item) int {
		var order int
		switch column {
		case "created_at":
			order = cmp.Compare(a.n, b.n)
		case "updated_at":
			order = cmp.Compare(a.updated, b.updated)
		case "key":
			if (a.key == "") != (b.key == "") { // without a key last, in either order
				return cmp.Compare(b.key, a.key)
			}
			order = cmp.Compare(a.key, b.key)
		}
		order = cmp.Or(order, slices.Compare(a.id[:], b.id[:]))
		if down {
			return -order
		}
		return order
	})
	found := []uuid.UUID{}
	for _, one := range sorted {
		found = append(found, one.id)
	}
	return found
}

// What a filter reads does not grow with what there is, also by a plan that was made while
// there was nothing.
func TestAFilterReadsWhatItFinds(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	schema := h.schema(t)
	pool, err := eventstore.OpenPool(t.Context(), h.url, eventstore.RoleQuery, 1)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reads := readmodels.New(readmodels.Options{Pool: pool, CursorKey: cursorKey})
	list := func(sort string, filters []readmodels.Filter) int {
		page, _, err := reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Type: "thing", Sort: sort, Filters: filters})
		require.NoError(t, err)
		return len(page.Items)
	}
	sorts := []string{"created_at", "-updated_at", "key"}
	for _, sort := range sorts {
		for range 8 { // PostgreSQL settles on a general plan after five
			require.Zero(t, list(sort, attr("n", "6000")))
			require.Zero(t, list(sort, nil))
		}
	}
	h.fill(t, "acme", "thing", 1, 20_000, `jsonb_build_object('n', n, 'half', n % 2)`)
	for _, sort := range sorts {
		for _, test := range []struct {
			filters []readmodels.Filter
			want    int
			most    int64
		}{
			{attr("n", "6000"), 1, 650}, // two samples and the size of one, and what has the term by chance
			{attr("n", "no"), 0, 650},
			{attr("half", "1"), 50, 600},
			{nil, 50, 100},
		} {
			before := rowsRead(t, h, pool, schema)
			require.Equal(t, test.want, list(sort, test.filters), "%v by %s", test.filters, sort)
			require.LessOrEqual(t, rowsRead(t, h, pool, schema)-before, test.most, "%v by %s", test.filters, sort)
		}
	}
}

// The function that looks past row-level security gives ids of the session's organisation
// and of no other, whatever the session has set; its owner may read what it needs alone.
func TestHoldersStayInTheirOrganisation(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	for _, org := range []string{"acme", "else"} {
		h.fill(t, org, "thing", 1, 20, `'{"city":"Paris"}'::jsonb`)
	}
	schema := h.schema(t)
	var own []uuid.UUID
	rows, err := h.projector.Query(t.Context(), `SELECT id FROM `+schema+`.entities WHERE org = 'acme'`)
	require.NoError(t, err)
	for rows.Next() {
		var id uuid.UUID
		require.NoError(t, rows.Scan(&id))
		own = append(own, id)
	}
	require.NoError(t, rows.Err())
	pool := h.queryPool(t)
	for _, hostile := range []string{
		``, `SET search_path = pg_temp, ` + schema, `SET row_security = off`, `SET enable_indexscan = off`,
		`CREATE TEMP TABLE entities AS SELECT 'acme'::text AS org, gen_random_uuid() AS id, 'thing'::text AS type, '{1}'::integer[] AS terms`,
		`CREATE FUNCTION pg_temp.nullif(text, text) RETURNS text LANGUAGE sql AS 'SELECT ''else''::text'`,
	} {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		_, _ = conn.Exec(t.Context(), hostile) // what is refused does no harm
		for org, want := range map[string][]uuid.UUID{"acme": own, "": nil, "ghost": {}} {
			_, err = conn.Exec(t.Context(), `SELECT set_config('hub.org', $1, false)`, org)
			require.NoError(t, err)
			for _, kind := range []string{"thing", ""} {
				for _, wanted := range []string{`[{"path":["city"],"values":["Paris"]}]`, `[{"path":["city"],"values":["' OR true --","Paris"],"hashes":["%L"]}]`} {
					var found []uuid.UUID
					require.NoError(t, conn.QueryRow(t.Context(), `SELECT `+schema+`.holders($1, $2, 1000)`, kind, wanted).Scan(&found))
					require.ElementsMatch(t, want, found, hostile)
				}
			}
		}
		require.NoError(t, conn.Conn().Close(t.Context()))
		conn.Release()
	}
	searcher := hubtest.Pool(t, h.url, "hub_search")
	for _, statement := range []string{`SELECT attributes FROM ` + schema + `.entities`, `UPDATE ` + schema + `.entities SET terms = '{}'`} {
		_, err := searcher.Exec(t.Context(), statement)
		require.Error(t, err, statement)
	}
	requireDefiner(t, h, schema)
}

// requireDefiner holds that the function is its owner's and finds nothing of a session's.
func requireDefiner(t *testing.T, h *hub, schema string) {
	t.Helper()
	var guarded bool
	require.NoError(t, hubtest.Pool(t, h.url, "").QueryRow(t.Context(), `SELECT prosecdef AND proowner = 'hub_search'::regrole
		AND proconfig @> '{"search_path=pg_catalog, pg_temp",row_security=on}' FROM pg_proc WHERE proname = 'holders' AND pronamespace = $1::regnamespace`, schema).Scan(&guarded))
	require.True(t, guarded)
}
