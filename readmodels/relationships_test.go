package readmodels_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

func (h *hub) relate(t testing.TB, org string, source uuid.UUID, kind string, target uuid.UUID) {
	t.Helper()
	h.append(t, org, entity.Stream(source), entity.RelationshipAdded{Kind: kind, TargetID: target, SourceType: "thing", TargetType: "thing"})
}

// edge is a relationship as a reader sees it.
type edge struct {
	depth          int
	kind           string
	source, target uuid.UUID
}

// walked is what a walk sees by definition: the relationships of each entity that was
// not met before, level by level.
func walked(all []edge, from uuid.UUID, incoming bool, depth int, kind string) (found []edge) {
	met, level := map[uuid.UUID]bool{from: true}, []uuid.UUID{from}
	for d := 1; d <= depth; d++ {
		var next []uuid.UUID
		for _, e := range all {
			near, far := e.source, e.target
			if incoming {
				near, far = far, near
			}
			if !slices.Contains(level, near) || kind != "" && e.kind != kind {
				continue
			}
			found = append(found, edge{d, e.kind, e.source, e.target})
			if !met[far] {
				met[far] = true
				next = append(next, far)
			}
		}
		level = next
	}
	return found
}

// Whatever the graph is, circles included: a walk is what it is by definition, cut where
// it is said to be, and the pages of one step are all of it.
func TestRelationshipsAreWalked(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	const schema = "entities_v1_2"
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		org := fmt.Sprint("org", n)
		ids := make([]uuid.UUID, rapid.IntRange(1, 6).Draw(r, "entities"))
		for i := range ids {
			ids[i] = uuid.New()
			h.insert(r, schema, org, row{id: ids[i]})
		}
		var all []edge
		for range rapid.IntRange(0, 12).Draw(r, "relationships") {
			e := edge{0, rapid.SampledFrom([]string{"a", "b"}).Draw(r, "kind"), rapid.SampledFrom(ids).Draw(r, "source"), rapid.SampledFrom(ids).Draw(r, "target")}
			if slices.Contains(all, e) {
				continue
			}
			all = append(all, e)
			_, err := h.projector.Exec(context.Background(), `INSERT INTO `+schema+`.relationships VALUES ($1, $2, $3, $4, 'thing', 'thing', now(), 'ana', 1)`, org, e.source, e.kind, e.target)
			require.NoError(r, err)
		}
		q := readmodels.RelationshipQuery{
			ID: rapid.SampledFrom(ids).Draw(r, "from"), Incoming: rapid.Bool().Draw(r, "incoming"), Depth: rapid.IntRange(1, 5).Draw(r, "depth"),
			Kind: rapid.SampledFrom([]string{"", "a"}).Draw(r, "only"), Page: readmodels.Page{Limit: rapid.IntRange(1, 12).Draw(r, "limit")},
		}
		q.Count = q.Depth == 1
		want := walked(all, q.ID, q.Incoming, q.Depth, q.Kind)
		var got []edge
		for {
			page, _, err := h.reads.Relationships(t.Context(), anybody(org), q)
			require.NoError(r, err)
			for _, found := range page.Items {
				got = append(got, edge{found.Depth, found.Kind, found.Source, found.Target})
			}
			require.Equal(r, q.Depth > 1 && len(want) > q.Limit, page.Truncated)
			if q.Count {
				require.EqualValues(r, len(want), *page.Count)
			}
			if page.NextCursor == nil {
				break
			}
			q.Cursor = *page.NextCursor
		}
		require.True(r, slices.IsSortedFunc(got, func(a, b edge) int { return a.depth - b.depth }))
		if q.Depth > 1 && len(want) > q.Limit {
			require.Len(r, got, q.Limit)
			require.Subset(r, want, got)
			return
		}
		require.ElementsMatch(r, want, got)
	})
}

func TestRelationshipsOfOneOrganisation(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	mine, friend := h.create(t, "thing", "", `{}`), h.create(t, "thing", "", `{"name":"Bob"}`)
	h.relate(t, "acme", mine, "friend", friend)
	h.project(t)
	q := readmodels.RelationshipQuery{ID: mine, Depth: 5, Expand: true}
	page, _, err := h.reads.Relationships(t.Context(), anybody("acme"), q)
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	require.JSONEq(t, `{"name":"Bob"}`, string(page.Items[0].Far.Attributes))
	_, _, err = h.reads.Relationships(t.Context(), anybody("other"), q)
	requireProblem(t, problem.NotFound, "not_found", err)
}

func TestRelationshipQueriesThatCannotBe(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for code, q := range map[string]readmodels.RelationshipQuery{
		"invalid_depth":  {Depth: 6},
		"invalid_filter": {Depth: 1, Status: "gone"},
		"invalid_limit":  {Depth: 1, Page: readmodels.Page{Limit: 501}},
	} {
		_, _, err := h.reads.Relationships(t.Context(), anybody("acme"), q)
		requireProblem(t, problem.Invalid, code, err)
	}
	_, _, err := h.reads.Relationships(t.Context(), anybody("acme"), readmodels.RelationshipQuery{Depth: 1, Kind: "\x00"})
	requireProblem(t, problem.Invalid, "invalid_filter", err)
	_, _, err = h.reads.Relationships(t.Context(), anybody("acme"), readmodels.RelationshipQuery{Depth: 2, Page: readmodels.Page{Count: true}})
	requireProblem(t, problem.Invalid, "invalid_depth", err)
	_, _, err = h.reads.Relationships(t.Context(), anybody("acme"), readmodels.RelationshipQuery{Depth: 1, Page: readmodels.Page{Cursor: "x"}})
	requireProblem(t, problem.Malformed, "invalid_cursor", err)
}

// Both directions are read by an index that begins with the organisation and the end that
// is known.
func TestRelationshipsAreReadByAnIndex(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	const schema = "entities_v1_2"
	hot := uuid.New()
	h.insert(t, schema, "acme", row{id: hot})
	_, err := h.projector.Exec(t.Context(), `
		INSERT INTO `+schema+`.entities SELECT 'acme', md5(n::text)::uuid, 'thing', NULL, 'active', '{}', '{}', 1, now(), 'ana', now(), 'ana', 1, md5(n::text)::uuid, 1
		  FROM generate_series(1, 3000) n`)
	require.NoError(t, err)
	_, err = h.projector.Exec(t.Context(), `
		INSERT INTO `+schema+`.relationships SELECT 'acme', md5(n::text)::uuid, 'k', CASE WHEN n % 3 = 0 THEN $1 ELSE md5((n / 2)::text)::uuid END, 'thing', 'thing', now(), 'ana', 1
		  FROM generate_series(2, 3000) n`, hot)
	require.NoError(t, err)
	for _, incoming := range []bool{true, false} {
		page, _, err := h.reads.Relationships(t.Context(), anybody("acme"), readmodels.RelationshipQuery{ID: hot, Depth: 3, Incoming: incoming, Page: readmodels.Page{Limit: 20}})
		require.NoError(t, err)
		require.Equal(t, incoming, page.Truncated)
	}
	conn, err := pgx.Connect(t.Context(), h.url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	_, err = conn.Exec(t.Context(), `ANALYZE; SET enable_seqscan = off; SET ROLE hub_query; SET hub.org = 'acme'`)
	require.NoError(t, err)
	for column, index := range map[string]string{"source": "relationships_pkey", "target": "relationships_incoming"} {
		rows, err := conn.Query(t.Context(), `EXPLAIN SELECT * FROM `+schema+`.relationships r WHERE r.org = 'acme' AND r.`+column+` = '`+hot.String()+`' ORDER BY r.kind LIMIT 20`)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.Contains(t, strings.Join(plan, "\n"), index)
		require.NotContains(t, strings.Join(plan, "\n"), "Seq Scan")
	}
}
