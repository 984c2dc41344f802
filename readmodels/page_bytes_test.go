package readmodels_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/readmodels"
)

// maxPage is what docs/http.md says of the bytes of a page.
const maxPage = 4 << 20

// large is a JSON object of 150 KiB. Of those that are random PostgreSQL cannot make less.
func large(random bool) string {
	var text strings.Builder
	for text.Len() < 150<<10 {
		if random {
			text.WriteString(uuid.NewString())
		} else {
			text.WriteString("the same again, ")
		}
	}
	return fmt.Sprintf(`{"name":"mole","text":%q}`, text.String())
}

// listing reads a page and returns what names its items, in order, and how to go on.
type listing func(limit int, cursor string) (page any, names []string, next *string, err error)

// read goes through all pages of a list.
func (l listing) read(t *testing.T, limit int) (all []string, pages int) {
	t.Helper()
	for cursor := ""; ; {
		page, names, next, err := l(limit, cursor)
		require.NoError(t, err)
		require.NotEmpty(t, names, "a list goes on")
		text, err := json.Marshal(page)
		require.NoError(t, err)
		// In the answer there are names beside the values.
		require.True(t, len(names) == 1 || len(text) < maxPage+maxPage/10, "%d items are %d bytes", len(names), len(text))
		all, pages = append(all, names...), pages+1
		if next == nil {
			return all, pages
		}
		cursor = *next
	}
}

// However large items are, a page is bounded, and all pages together are the whole list.
func TestPagesAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	const items = 30
	for n := range items {
		h.append(t, "acme", entity.TypeStream(fmt.Sprintf("type%02d", n)), entity.TypeDefined{
			Name: fmt.Sprintf("type%02d", n), Title: "Large", Schema: json.RawMessage(`{"description":` + large(true)[len(`{"name":"mole","text":`):]), Search: []string{"name"},
		})
	}
	bank, rent := h.openAccount(t, "1000", ledger.Asset), h.openAccount(t, "6000", ledger.Expense)
	hub := h.create(t, "type00", "", `{"name":"mole"}`)
	var ids []uuid.UUID
	for n := range items {
		ids = append(ids, h.create(t, fmt.Sprintf("type%02d", n%2), fmt.Sprintf("K-%02d", n), large(n%2 == 0)))
		if n%2 == 0 { // of each version there is what it was before, too
			h.append(t, "acme", entity.Stream(hub), updates(large(true)))
		}
	}
	for n, id := range ids {
		h.relate(t, "acme", hub, "knows", id)
		var names []string
		for range 300 {
			names = append(names, strings.Repeat("x", 255))
		}
		h.append(t, "acme", member.Stream(fmt.Sprintf("m%02d", n)), member.Changed{Person: "p", Roles: names, Groups: names})
		h.begin(t, ledger.Drafted{Content: ledger.Content{Movement: pay(bank, rent, dated(t, "2026-01-31"), 5), Metadata: map[string]json.RawMessage{"text": json.RawMessage(large(true))}}, By: by("ana")})
	}
	h.project(t)
	at := time.Now().UTC()

	entities := func(q readmodels.EntityQuery) listing {
		return func(limit int, cursor string) (any, []string, *string, error) {
			q.Limit, q.Cursor = limit, cursor
			page, _, err := h.reads.Entities(t.Context(), anybody("acme"), q)
			var names []string
			for _, e := range page.Items {
				names = append(names, e.ID.String())
			}
			if q.ExpandTypes {
				return []any{page, definitions(page)}, names, page.NextCursor, err
			}
			return page, names, page.NextCursor, err
		}
	}
	for name, test := range map[string]struct {
		list listing
		of   int
	}{
		"entities":         {entities(readmodels.EntityQuery{}), items + 1},
		"by key":           {entities(readmodels.EntityQuery{Sort: "-key"}), items + 1},
		"named":            {entities(readmodels.EntityQuery{IDs: ids, Sort: "updated_at"}), items},
		"searched":         {entities(readmodels.EntityQuery{Search: "mole"}), items + 1},
		"with their types": {entities(readmodels.EntityQuery{ExpandTypes: true}), items + 1},
		"of the past":      {entities(readmodels.EntityQuery{AsOf: &at}), items + 1},
		"types": {func(limit int, cursor string) (any, []string, *string, error) {
			page, _, err := h.reads.EntityTypes(t.Context(), "acme", readmodels.Page{Limit: limit, Cursor: cursor})
			return page, namesOf(page.Items, func(e readmodels.EntityType) string { return e.Name }), page.NextCursor, err
		}, items},
		"members": {func(limit int, cursor string) (any, []string, *string, error) {
			page, _, err := h.reads.Members(t.Context(), "acme", readmodels.MemberQuery{Page: readmodels.Page{Limit: limit, Cursor: cursor}})
			return page, namesOf(page.Items, func(m readmodels.Member) string { return m.Sub }), page.NextCursor, err
		}, items},
		"versions": {func(limit int, cursor string) (any, []string, *string, error) {
			page, _, err := h.reads.EntityVersions(t.Context(), anybody("acme"), hub, readmodels.EntityVersionQuery{Page: readmodels.Page{Limit: limit, Cursor: cursor}})
			return page, namesOf(page.Items, func(v readmodels.EntityVersion) string { return fmt.Sprint(v.Version) }), page.NextCursor, err
		}, items + items/2 + 1},
		"transactions": {func(limit int, cursor string) (any, []string, *string, error) {
			page, _, err := h.reads.Transactions(t.Context(), "acme", readmodels.TransactionQuery{Selection: readmodels.Selection{Page: readmodels.Page{Limit: limit, Cursor: cursor}}})
			return page, namesOf(page.Items, func(x readmodels.Transaction) string { return x.ID.String() }), page.NextCursor, err
		}, items},
		"relationships": {func(limit int, cursor string) (any, []string, *string, error) {
			page, _, err := h.reads.Relationships(t.Context(), anybody("acme"), readmodels.RelationshipQuery{ID: hub, Depth: 1, Page: readmodels.Page{Limit: limit, Cursor: cursor}, Expand: true})
			var far []any
			for _, r := range page.Items {
				far = append(far, r.Far)
			}
			return []any{page, far}, namesOf(page.Items, func(r readmodels.Relationship) string { return r.Target.String() }), page.NextCursor, err
		}, items},
	} {
		t.Run(name, func(t *testing.T) {
			whole, pages := test.list.read(t, 500)
			require.Len(t, whole, test.of)
			require.Greater(t, pages, 1)
			single, _ := test.list.read(t, 8)
			require.Equal(t, single, whole, "in the same order, none twice")
		})
	}
	far, _, err := h.reads.Relationships(t.Context(), anybody("acme"), readmodels.RelationshipQuery{ID: hub, Page: readmodels.Page{Limit: 500}, Depth: 2, Expand: true})
	require.NoError(t, err)
	require.True(t, far.Truncated, "where no cursor leads on, the page says so")
	require.Less(t, len(far.Items), items)
}

func namesOf[T any](items []T, name func(T) string) (names []string) {
	for _, item := range items {
		names = append(names, name(item))
	}
	return names
}

func definitions(page readmodels.EntityPage) (all []any) {
	for _, e := range page.Items {
		all = append(all, e.Definition)
	}
	return all
}

// What there is no room for is not even sent: the database knows how much is stored.
func TestTheDatabaseSendsLittleMoreThanAPage(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.create(t, "thing", "", `{}`)
	h.project(t)
	_, err := h.projector.Exec(t.Context(), `INSERT INTO `+h.schema(t)+`.entities
		(org, id, type, key, status, attributes, tags, version, created_at, created_by, updated_at, updated_by, position, event_id, type_version)
		SELECT 'acme', gen_random_uuid(), 'thing', n, 'active', jsonb_build_object('text', (SELECT string_agg(md5(random()::text || n || m), '') FROM generate_series(1, 6000) m)),
		       '{}', 1, now(), 'ana', now(), 'ana', 1, gen_random_uuid(), 1 FROM generate_series(1, 60) n`)
	require.NoError(t, err)
	var received atomic.Int64
	config, err := pgxpool.ParseConfig(h.url)
	require.NoError(t, err)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &counted{conn, &received}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reads := readmodels.New(readmodels.Options{Pool: pool, CursorKey: cursorKey})
	for _, sort := range []string{"created_at", "key"} {
		received.Store(0)
		page, _, err := reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Limit: 500, Sort: sort})
		require.NoError(t, err)
		require.NotNil(t, page.NextCursor)
		require.Greater(t, received.Load(), int64(maxPage*3/4))
		require.Less(t, received.Load(), int64(maxPage*5/4), "of 11 MB")
	}
}

// counted counts what comes.
type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *counted) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	c.bytes.Add(int64(n))
	return n, err
}
