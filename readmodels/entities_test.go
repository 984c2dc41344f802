package readmodels_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/readmodels"
)

func TestEntityAsTheContractShowsIt(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "C-17", `{"city":"Paris","n":1.50}`, "vip")
	h.append(t, "acme", entity.Stream(id), entity.Updated{Attributes: map[string]json.RawMessage{"city": json.RawMessage(`"Lyon"`)}, TypeVersion: 2})
	bare := h.create(t, "customer", "", `{}`)
	last := h.append(t, "acme", entity.Stream(bare), entity.Archived{})
	h.project(t)
	_, epoch, err := h.command.Head(t.Context())
	require.NoError(t, err)

	e, at, err := h.reads.Entity(t.Context(), anybody("acme"), id, false)
	require.NoError(t, err)
	require.Equal(t, readmodels.Snapshot{Position: last, Epoch: epoch}, at)
	require.True(t, e.UpdatedAt.After(e.CreatedAt))
	text, err := json.Marshal(e)
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"id":%q,"type":"customer","key":"C-17","status":"active","attributes":{"city":"Lyon","n":1.50},"tags":["vip"],
		"version":2,"type_version":2,"created_at":%q,"created_by":"ana","updated_at":%q,"updated_by":"ana"}`,
		id, e.CreatedAt.Format(time.RFC3339Nano), e.UpdatedAt.Format(time.RFC3339Nano)), string(text))
	require.Contains(t, string(text), "1.50", "numbers keep their text")

	e, _, err = h.reads.Entity(t.Context(), anybody("acme"), bare, false)
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
		_, at, err := h.reads.Entity(t.Context(), anybody(org), id, false)
		requireProblem(t, problem.NotFound, "not_found", err)
		require.EqualValues(t, 2, at.Position, "it was not there at this position")
		_, _, err = h.reads.EntityType(t.Context(), org, "customer")
		requireProblem(t, problem.NotFound, "not_found", err)
		page, _, err := h.reads.Entities(t.Context(), anybody(org), readmodels.EntityQuery{Count: true})
		require.NoError(t, err)
		require.Empty(t, page.Items)
		require.EqualValues(t, 0, *page.Count)
		types, _, err := h.reads.EntityTypes(t.Context(), org, readmodels.Page{})
		require.NoError(t, err)
		require.Empty(t, types.Items)
	}
	_, _, err := h.reads.Entity(t.Context(), anybody("acme"), uuid.New(), false)
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
		"attribute":          {readmodels.EntityQuery{Filters: attr("city", "Paris")}, []uuid.UUID{paris, port}},
		"number or text":     {readmodels.EntityQuery{Filters: attr("age", "30")}, []uuid.UUID{paris, text, none}},
		"number by value":    {readmodels.EntityQuery{Filters: attr("age", "3e1")}, []uuid.UUID{paris, none}},
		"boolean or text":    {readmodels.EntityQuery{Filters: attr("vip", "true")}, []uuid.UUID{paris, text}},
		"nested":             {readmodels.EntityQuery{Filters: attr("address.zip", "75")}, []uuid.UUID{paris}},
		"nested number":      {readmodels.EntityQuery{Filters: attr("address.geo.lat", "1")}, []uuid.UUID{paris}},
		"both attributes":    {readmodels.EntityQuery{Filters: attr("city", "Paris", "age", "30")}, []uuid.UUID{paris}},
		"attribute and type": {readmodels.EntityQuery{Type: "airport", Filters: attr("city", "Paris")}, []uuid.UUID{port}},
		"null is no value":   {readmodels.EntityQuery{Filters: attr("city", "null")}, []uuid.UUID{}},
		"absent":             {readmodels.EntityQuery{Filters: attr("nothing", "x")}, []uuid.UUID{}},
		"beyond a double":    {readmodels.EntityQuery{Filters: attr("age", "1e999999999")}, []uuid.UUID{}},
		"quotes":             {readmodels.EntityQuery{Filters: attr("o'x", "'")}, []uuid.UUID{paris}},
		"an object":          {readmodels.EntityQuery{Filters: attr("address.geo", `{"lat":1.0}`)}, []uuid.UUID{}},
	} {
		t.Run(name, func(t *testing.T) {
			query := test.query
			query.Sort, query.Count = "created_at", true
			page, _, err := h.reads.Entities(t.Context(), anybody("acme"), query)
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
	var many []readmodels.Filter
	for i := range 21 {
		many = append(many, attr(fmt.Sprint("a", i), "x")...)
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
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: attr("a", "\x00")}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: attr("a..b", "x")}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: attr("", "x")}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: many}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: []readmodels.Filter{{Field: "attr.a", Operator: "like", Value: "x"}}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: []readmodels.Filter{{Field: "attr./", Value: "x"}}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: []readmodels.Filter{{Field: "attr.a", Operator: "in", Value: strings.Repeat(",", 500)}}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: []readmodels.Filter{{Field: "status", Value: "x"}}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: []readmodels.Filter{{Field: "created_at", Operator: "gt", Value: "yesterday"}}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{Filters: []readmodels.Filter{{Field: "version", Value: "1.5"}}}},
		{problem.Invalid, "invalid_filter", readmodels.EntityQuery{IDs: make([]uuid.UUID, 501)}},
		{problem.Invalid, "invalid_offset", readmodels.EntityQuery{Offset: -1}},
		{problem.Invalid, "invalid_offset", readmodels.EntityQuery{Offset: 10_001}},
		{problem.Invalid, "invalid_offset", readmodels.EntityQuery{Offset: 1, Cursor: "x"}},
		{problem.Malformed, "invalid_cursor", readmodels.EntityQuery{Cursor: "junk"}},
	} {
		_, _, err := h.reads.Entities(t.Context(), anybody("acme"), test.query)
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

// Comparisons are by value for numbers and times, byte by byte for texts, and a number
// is never compared with a text.
func TestComparisons(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	nine := h.create(t, "thing", "k-9", `{"n":9,"date":"2026-01-09","a.b":{"c/d":1},"name":"Zoe"}`)
	ten := h.create(t, "thing", "k-10", `{"n":10.5,"date":"2026-01-10","name":"ana"}`)
	text := h.create(t, "other", "", `{"n":"10","name":"Ätna","list":[1]}`)
	h.project(t)
	middle, _, err := h.reads.Entity(t.Context(), anybody("acme"), ten, false)
	require.NoError(t, err)
	created := middle.CreatedAt.Format(time.RFC3339Nano)
	filter := func(field, operator, value string) readmodels.EntityQuery {
		return readmodels.EntityQuery{Filters: []readmodels.Filter{{Field: field, Operator: operator, Value: value}}}
	}
	for name, test := range map[string]struct {
		query readmodels.EntityQuery
		want  []uuid.UUID
	}{
		"gte of numbers, and of texts": {filter("attr.n", "gte", "10"), []uuid.UUID{ten, text}},
		"gt of numbers":                {filter("attr.n", "gt", "10.5"), []uuid.UUID{}},
		"lt by value":                  {filter("attr.n", "lt", "1e1"), []uuid.UUID{nine, text}},
		"lte":                          {filter("attr.n", "lte", "9.0"), []uuid.UUID{nine, text}},
		"dates are texts":              {filter("attr.date", "gte", "2026-01-10"), []uuid.UUID{ten}},
		"texts by their bytes":         {filter("attr.name", "gt", "Zoe"), []uuid.UUID{ten, text}},
		"what is no scalar":            {filter("attr.list", "gt", ""), []uuid.UUID{}},
		"ne":                           {filter("attr.n", "ne", "9"), []uuid.UUID{ten, text}},
		"ne of what some lack":         {filter("attr.date", "ne", "2026-01-09"), []uuid.UUID{ten, text}},
		"in":                           {filter("attr.n", "in", "9,10,x"), []uuid.UUID{nine, text}},
		"a pointer to a dotted name":   {filter("attr./a.b/c~1d", "eq", "1"), []uuid.UUID{nine}},
		"created after":                {filter("created_at", "gt", created), []uuid.UUID{text}},
		"created at":                   {filter("created_at", "eq", created), []uuid.UUID{ten}},
		"created until":                {filter("created_at", "lte", created), []uuid.UUID{nine, ten}},
		"updated since a date":         {filter("updated_at", "gte", "2020-02-29"), []uuid.UUID{nine, ten, text}},
		"updated before a date":        {filter("updated_at", "lt", "2020-02-29"), []uuid.UUID{}},
		"types":                        {filter("type", "in", "other,ghost"), []uuid.UUID{text}},
		"another type":                 {filter("type", "ne", "other"), []uuid.UUID{nine, ten}},
		"keys in order":                {filter("key", "lt", "k-2"), []uuid.UUID{ten}},
		"no key is another key":        {filter("key", "ne", "k-9"), []uuid.UUID{ten, text}},
		"author":                       {filter("created_by", "eq", "ana"), []uuid.UUID{nine, ten, text}},
		"version":                      {filter("version", "gte", "2"), []uuid.UUID{}},
		"ids":                          {readmodels.EntityQuery{IDs: []uuid.UUID{text, nine, uuid.New(), nine}}, []uuid.UUID{nine, text}},
		"no ids":                       {readmodels.EntityQuery{IDs: []uuid.UUID{}}, []uuid.UUID{}},
		"offset":                       {readmodels.EntityQuery{Offset: 1}, []uuid.UUID{ten, text}},
		"offset beyond":                {readmodels.EntityQuery{Offset: 3}, []uuid.UUID{}},
	} {
		t.Run(name, func(t *testing.T) {
			query := test.query
			query.Sort, query.Count = "created_at", true
			page, _, err := h.reads.Entities(t.Context(), anybody("acme"), query)
			require.NoError(t, err)
			require.Equal(t, test.want, ids(page))
		})
	}
}

func TestOffsetSkipsAcrossRowsWithAndWithoutKey(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var want []uuid.UUID
	for _, key := range []string{"a", "b", "", ""} {
		want = append(want, h.create(t, "thing", key, `{}`))
	}
	h.project(t)
	for offset := range 5 {
		page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Sort: "key", Limit: 2, Offset: offset})
		require.NoError(t, err)
		require.Equal(t, want[min(offset, 4):min(offset+2, 4)], ids(page), offset)
		require.Equal(t, offset+2 < 4, page.NextCursor != nil, offset)
		if page.NextCursor != nil {
			rest, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Sort: "key", Cursor: *page.NextCursor})
			require.NoError(t, err)
			require.Equal(t, want[offset+2:], ids(rest), offset)
		}
	}
}

func TestTypesComeWithTheirEntities(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, "acme", entity.TypeStream("customer"), entity.TypeDefined{Name: "customer", Title: "Customer", Schema: json.RawMessage(`{}`)})
	h.append(t, "acme", entity.TypeStream("asset"), entity.TypeDefined{Name: "asset", Title: "Asset", Schema: json.RawMessage(`{}`)})
	first := h.create(t, "customer", "", `{}`)
	h.create(t, "asset", "", `{}`)
	h.create(t, "customer", "", `{}`)
	h.project(t)
	one, _, err := h.reads.Entity(t.Context(), anybody("acme"), first, true)
	require.NoError(t, err)
	require.Equal(t, "Customer", one.Definition.Title)
	for _, limit := range []int{1, 2, 500} {
		page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Limit: limit, Sort: "created_at", ExpandTypes: true})
		require.NoError(t, err)
		require.Len(t, page.Items, min(limit, 3))
		for _, item := range page.Items {
			require.Equal(t, item.Type, item.Definition.Name)
		}
	}
	plain, _, err := h.reads.Entity(t.Context(), anybody("acme"), first, false)
	require.NoError(t, err)
	require.Nil(t, plain.Definition)
	_, _, err = h.reads.Entity(t.Context(), anybody("acme"), uuid.New(), true)
	requireProblem(t, problem.NotFound, "not_found", err)
}

// Every query is one round trip once its statement is prepared on the connection.
func TestEveryQueryIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "C-1", `{"city":"Paris"}`, "vip")
	account := h.openAccount(t, "1000", ledger.Asset)
	h.create(t, "customer", "C-2", `{}`)
	h.append(t, "acme", entity.TypeStream("customer"), entity.TypeDefined{Name: "customer", Schema: json.RawMessage(`{}`), Search: []string{"city"}})
	h.project(t)
	page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Limit: 1, Sort: "-key"})
	require.NoError(t, err)
	for name, query := range map[string]func() error{
		"entity": func() error { _, _, err := h.reads.Entity(t.Context(), anybody("acme"), id, false); return err },
		"list": func() error {
			_, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{
				Type: "customer", Key: "C-1", Tag: "vip", Filters: attr("city", "Paris"), Count: true,
			})
			return err
		},
		"compared and expanded": func() error {
			_, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{
				IDs: []uuid.UUID{id}, ExpandTypes: true, Offset: 1,
				Filters: []readmodels.Filter{{Field: "attr.age", Operator: "gte", Value: "3"}, {Field: "updated_at", Operator: "lt", Value: "2030-01-01"}},
			})
			return err
		},
		"entity with its type": func() error { _, _, err := h.reads.Entity(t.Context(), anybody("acme"), id, true); return err },
		"next page": func() error {
			_, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Limit: 1, Sort: "-key", Cursor: *page.NextCursor})
			return err
		},
		"relationships": func() error {
			_, _, err := h.reads.Relationships(t.Context(), anybody("acme"), readmodels.RelationshipQuery{ID: id, Depth: 5, Expand: true})
			return err
		},
		"selection": func() error {
			_, _, err := h.reads.SelectEntities(t.Context(), anybody("acme"), readmodels.EntityQuery{Type: "customer", Filters: attr("city", "Paris")}, 10)
			return err
		},
		"jobs": func() error {
			_, _, err := h.reads.Jobs(t.Context(), readmodels.JobReader{Org: "acme", Kind: "bulk_update", All: true}, readmodels.Page{})
			return err
		},
		"account": func() error {
			_, _, err := h.reads.Account(t.Context(), "acme", account, readmodels.Point{})
			return err
		},
		"balance of the past": func() error {
			_, _, err := h.reads.Account(t.Context(), "acme", account, readmodels.Point{KnownAt: &page.Items[0].CreatedAt})
			return err
		},
		"accounts": func() error {
			_, _, err := h.reads.Accounts(t.Context(), "acme", readmodels.AccountQuery{})
			return err
		},
		"statement": func() error {
			_, _, err := h.reads.Entries(t.Context(), "acme", account, readmodels.EntryQuery{})
			return err
		},
		"transactions": func() error {
			_, _, err := h.reads.Transactions(t.Context(), "acme", readmodels.TransactionQuery{AccountID: &account})
			return err
		},
		"trial balance": func() error { _, _, err := h.reads.TrialBalance(t.Context(), "acme", readmodels.Point{}); return err },
		"policies":      func() error { _, _, err := h.reads.Policies(t.Context(), "acme", ""); return err },
		"periods":       func() error { _, _, err := h.reads.Periods(t.Context(), "acme"); return err },
		"examination": func() error {
			_, _, err := h.reads.Examine(t.Context(), "acme", "customer", nil, func(json.RawMessage) (yes, known bool) { return true, true })
			return err
		},
		"search": func() error {
			_, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Search: "paris", Type: "customer", Tag: "vip", Count: true})
			return err
		},
		"list of the past": func() error {
			_, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{AsOf: &page.Items[0].CreatedAt, Sort: "-key", Count: true})
			return err
		},
		"entity as of": func() error {
			_, _, err := h.reads.EntityAt(t.Context(), anybody("acme"), id, readmodels.Moment{AsOf: &page.Items[0].CreatedAt})
			return err
		},
		"entity at a version": func() error {
			_, _, err := h.reads.EntityAt(t.Context(), anybody("acme"), id, readmodels.Moment{Version: 1})
			return err
		},
		"history": func() error {
			_, _, err := h.reads.EntityVersions(t.Context(), anybody("acme"), id, readmodels.EntityVersionQuery{Attribute: "city"})
			return err
		},
		"ACL":               func() error { _, _, err := h.reads.EntityACL(t.Context(), "acme", id); return err },
		"ACL with a member": func() error { _, _, _, err := h.reads.EntityACLWith(t.Context(), "acme", id, "ana"); return err },
		"type":              func() error { _, _, err := h.reads.EntityType(t.Context(), "acme", "customer"); return err },
		"types":             func() error { _, _, err := h.reads.EntityTypes(t.Context(), "acme", readmodels.Page{}); return err },
	} {
		require.NoError(t, query(), name)
		h.trips.reset()
		require.NoError(t, query(), name)
		require.Equal(t, "1 batches, 0 queries, 0 prepares", h.trips.reset(), name)
	}
}

// All indexes of entities end with the id, so while there are few, each looks as good
// as the primary key. A session keeps the plan that it made then.
func TestOneEntityIsReadByItsPrimaryKeyHoweverFewThereWere(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "C-1", `{}`)
	h.project(t)
	pool, err := eventstore.OpenPool(t.Context(), h.url, eventstore.RoleQuery, 1)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reads := readmodels.New(readmodels.Options{Pool: pool, CursorKey: cursorKey})
	for range 10 { // PostgreSQL settles on a general plan after five
		_, _, err := reads.Entity(t.Context(), anybody("acme"), id, false)
		require.NoError(t, err)
	}
	var plans []string
	for _, conn := range pool.AcquireAllIdle(t.Context()) {
		plans = append(plans, planOf(t.Context(), conn.Conn(), id))
		conn.Release()
	}
	require.Contains(t, strings.Join(plans, "\n"), "using entities_pkey")
}

// planOf is the plan that the session has for reading one entity, or why not.
func planOf(ctx context.Context, conn *pgx.Conn, id uuid.UUID) string {
	var name string
	err := conn.QueryRow(ctx, `SELECT name FROM pg_prepared_statements WHERE statement LIKE '%entities e%'`).Scan(&name)
	if err != nil {
		return err.Error()
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(`EXPLAIN EXECUTE %s ('entities', 'acme', '%s', '{user:ana}')`, pgx.Identifier{name}.Sanitize(), id))
	if err != nil {
		return err.Error()
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err.Error()
	}
	return strings.Join(lines, "\n")
}
