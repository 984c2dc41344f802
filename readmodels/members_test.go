package readmodels_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

func TestMembers(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var at int64
	for n := range 7 {
		role := []string{"editor", "approver"}[n%2]
		at = h.append(t, "acme", member.Stream(fmt.Sprint("m", n)), member.Changed{
			Person: fmt.Sprint("p", n/2), Roles: []string{role, "viewer"}, Groups: []string{fmt.Sprint("g", n%3)},
		})
	}
	at = max(at, h.append(t, "other", member.Stream("eve"), member.Changed{Person: "eve", Roles: []string{"editor"}, Groups: []string{}}))
	h.project(t)
	h.trips.reset()
	list := func(q readmodels.MemberQuery) (subs []string, next *string) {
		t.Helper()
		page, snapshot, err := h.reads.Members(t.Context(), "acme", q)
		require.NoError(t, err)
		require.Equal(t, at, snapshot.Position)
		for _, m := range page.Items {
			subs = append(subs, m.Sub)
		}
		return subs, page.NextCursor
	}
	for _, c := range []struct {
		query readmodels.MemberQuery
		want  []string
	}{
		{readmodels.MemberQuery{}, []string{"m0", "m1", "m2", "m3", "m4", "m5", "m6"}},
		{readmodels.MemberQuery{Role: "approver"}, []string{"m1", "m3", "m5"}},
		{readmodels.MemberQuery{Group: "g0"}, []string{"m0", "m3", "m6"}},
		{readmodels.MemberQuery{Role: "approver", Group: "g0"}, []string{"m3"}},
		{readmodels.MemberQuery{Person: "p1"}, []string{"m2", "m3"}},
		{readmodels.MemberQuery{Role: "admin"}, nil},
	} {
		got, next := list(c.query)
		require.Equal(t, c.want, got)
		require.Nil(t, next)
	}

	counted, _, err := h.reads.Members(t.Context(), "acme", readmodels.MemberQuery{Role: "approver", Page: readmodels.Page{Limit: 1, Count: true}})
	require.NoError(t, err)
	require.EqualValues(t, 3, *counted.Count)

	first, next := list(readmodels.MemberQuery{Role: "approver", Page: readmodels.Page{Limit: 2}})
	require.Equal(t, []string{"m1", "m3"}, first)
	rest, end := list(readmodels.MemberQuery{Role: "approver", Page: readmodels.Page{Limit: 2, Cursor: *next}})
	require.Equal(t, []string{"m5"}, rest)
	require.Nil(t, end)
	_, _, err = h.reads.Members(t.Context(), "acme", readmodels.MemberQuery{Page: readmodels.Page{Cursor: *next}})
	require.Equal(t, "invalid_cursor", problem.Of(err).Code, "a cursor of another list")
	_, _, err = h.reads.Members(t.Context(), "acme", readmodels.MemberQuery{Page: readmodels.Page{Limit: 501}})
	require.Equal(t, "invalid_limit", problem.Of(err).Code)

	page, _, err := h.reads.Members(t.Context(), "other", readmodels.MemberQuery{})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	require.Equal(t, []any{"eve", []string{"editor"}, []string{}, int64(1)},
		[]any{page.Items[0].Person, page.Items[0].Roles, page.Items[0].Groups, page.Items[0].Version})
}
