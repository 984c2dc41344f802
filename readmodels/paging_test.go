package readmodels_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// row is what decides a row's place in a list.
type row struct {
	id               uuid.UUID
	key              string
	created, updated time.Time
}

// insert writes rows as the projector does.
func (h *hub) insert(t require.TestingT, schema, org string, rows ...row) {
	for _, r := range rows {
		_, err := h.projector.Exec(context.Background(), `INSERT INTO `+schema+`.entities
			(org, id, type, key, status, attributes, tags, version, created_at, created_by, updated_at, updated_by, position, event_id, type_version)
			VALUES ($1, $2, 'thing', nullif($3, ''), 'active', '{}', '{}', 1, $4, 'ana', $5, 'ana', 1, $2, 1)`,
			org, r.id, r.key, r.created, r.updated)
		require.NoError(t, err)
	}
}

func drawRows(t *rapid.T, label string) []row {
	start := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
		// Few different values, so that there are many equals.
		at := start.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "created")) * time.Microsecond)
		return row{
			id: uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), created: at,
			key:     rapid.SampledFrom([]string{"", "", "a", "B", "ä", "a'\x01"}).Draw(t, "key"),
			updated: at.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "updated")) * time.Second),
		}
	}), 0, 12).Draw(t, label)
}

// expected is the whole list in the order asked for.
func expected(rows []row, sort string) []uuid.UUID {
	name, descending := sort, 1
	if sort[0] == '-' {
		name, descending = sort[1:], -1
	}
	sorted := slices.Clone(rows)
	slices.SortFunc(sorted, func(a, b row) int {
		byID := descending * slices.Compare(a.id[:], b.id[:])
		switch name {
		case "key":
			if (a.key == "") != (b.key == "") {
				return cmp.Compare(len(b.key), len(a.key)) // one of them is 0: nulls last
			}
			return cmp.Or(descending*cmp.Compare(a.key, b.key), byID)
		case "updated_at":
			return cmp.Or(descending*a.updated.Compare(b.updated), byID)
		}
		return cmp.Or(descending*a.created.Compare(b.created), byID)
	})
	ids := []uuid.UUID{}
	for _, r := range sorted {
		ids = append(ids, r.id)
	}
	return ids
}

// All pages one after the other are the whole list, each row once and in order; rows
// that come in meanwhile are seen or not, and change nothing about the others.
func TestPagesAreTheWholeListAlsoUnderInserts(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	const schema = "entities_v1_2"
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		org := fmt.Sprint("org", n)
		before := drawRows(r, "before")
		sort := rapid.SampledFrom([]string{"created_at", "-created_at", "updated_at", "-updated_at", "key", "-key"}).Draw(r, "sort")
		limit := rapid.IntRange(1, 5).Draw(r, "limit")
		all := distinct(nil, before)
		before = slices.Clone(all)
		h.insert(r, schema, org, before...)
		inserting := rapid.Bool().Draw(r, "inserting")

		seen := []uuid.UUID{}
		query := readmodels.EntityQuery{Sort: sort, Limit: limit}
		for {
			page, _, err := h.reads.Entities(context.Background(), anybody(org), query)
			require.NoError(r, err)
			require.LessOrEqual(r, len(page.Items), limit)
			seen = append(seen, ids(page)...)
			if page.NextCursor == nil {
				break
			}
			query.Cursor = *page.NextCursor
			if inserting && len(all) < 40 {
				more := distinct(all, drawRows(r, "more"))
				h.insert(r, schema, org, more...)
				all = append(all, more...)
			}
		}
		old := map[uuid.UUID]bool{}
		for _, b := range before {
			old[b.id] = true
		}
		once := map[uuid.UUID]bool{}
		for _, id := range seen {
			require.False(r, once[id], "seen twice")
			once[id] = true
		}
		ofBefore := slices.DeleteFunc(slices.Clone(seen), func(id uuid.UUID) bool { return !old[id] })
		require.Equal(r, expected(before, sort), ofBefore)
		inOrder := slices.DeleteFunc(expected(all, sort), func(id uuid.UUID) bool { return !once[id] })
		require.Equal(r, inOrder, seen)
	})
}

// distinct are the rows whose ids are neither taken nor repeated.
func distinct(taken, rows []row) []row {
	used := map[uuid.UUID]bool{}
	for _, r := range taken {
		used[r.id] = true
	}
	var kept []row
	for _, r := range rows {
		if !used[r.id] {
			used[r.id] = true
			kept = append(kept, r)
		}
	}
	return kept
}

func TestCursorOfAnotherListIsRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for i := range 3 {
		h.create(t, "thing", fmt.Sprint("k", i), `{"a":1}`)
	}
	h.project(t)
	page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Limit: 1, Type: "thing"})
	require.NoError(t, err)
	require.NotNil(t, page.NextCursor)
	next, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Limit: 2, Type: "thing", Cursor: *page.NextCursor})
	require.NoError(t, err, "another limit is the same list")
	require.Len(t, next.Items, 2)
	for _, q := range []readmodels.EntityQuery{
		{Limit: 1}, {Limit: 1, Type: "thing", Sort: "created_at"}, {Limit: 1, Type: "thing", Status: "all"},
		{Limit: 1, Type: "thing", Filters: attr("a", "1")}, {Limit: 1, Key: "thing"},
	} {
		q.Cursor = *page.NextCursor
		_, _, err := h.reads.Entities(t.Context(), anybody("acme"), q)
		requireProblem(t, problem.Malformed, "invalid_cursor", err)
	}
	_, _, err = h.reads.Entities(t.Context(), anybody("other"), readmodels.EntityQuery{Limit: 1, Type: "thing", Cursor: *page.NextCursor})
	requireProblem(t, problem.Malformed, "invalid_cursor", err)

	// After a restore of the log to an earlier state the list has to begin again.
	_, err = h.projector.Exec(t.Context(), `UPDATE view_checkpoints SET epoch = gen_random_uuid()`)
	require.NoError(t, err)
	_, _, err = h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{Limit: 1, Type: "thing", Cursor: *page.NextCursor})
	requireProblem(t, problem.Conflict, "epoch_changed", err)
}
