package readmodels_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/projections"
	"github.com/reactdjango-hub/backend/readmodels"
)

// share gives an entity of acme entries, each "user:ana" or "-user:ana" for what is denied.
func (h *hub) share(t testing.TB, id uuid.UUID, principals ...string) int64 {
	t.Helper()
	changed := entity.AccessChanged{Entries: []entity.ACLEntry{}}
	for _, name := range principals {
		entry := entity.ACLEntry{Principal: name, Rights: []entity.Right{entity.MayRead}}
		if name[0] == '-' {
			entry.Principal, entry.Deny = name[1:], true
		}
		changed.Entries = append(changed.Entries, entry)
	}
	return h.append(t, "acme", entity.Stream(id), changed)
}

func keys(page readmodels.EntityPage) []string {
	found := []string{}
	for _, e := range page.Items {
		found = append(found, *e.Key)
	}
	return found
}

// Neither in lists and pages nor in what is counted and sorted is there a trace of what
// somebody may not see, now or as it was.
func TestWhatIsHiddenLeavesNoTrace(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	all := map[string]uuid.UUID{}
	for _, name := range []string{"open", "ana", "sales", "bob", "denied", "reopened", "nobody"} {
		all[name] = h.create(t, "thing", name, `{}`)
	}
	h.share(t, all["ana"], "user:ana")
	h.share(t, all["sales"], "group:sales", "user:bob")
	h.share(t, all["bob"], "user:bob")
	h.share(t, all["denied"], "user:ana", "-group:sales")
	h.share(t, all["reopened"], "user:bob")
	h.share(t, all["reopened"])
	h.share(t, all["nobody"], "-user:bob")
	// A group of this name is not the user, and another organisation's ana is another.
	h.share(t, h.create(t, "thing", "twin", `{}`), "group:user:ana")
	other := uuid.Must(uuid.NewV7())
	h.append(t, "other", entity.Stream(other), entity.Created{Type: "thing", Key: "other", Attributes: nil, Tags: []string{}})
	h.append(t, "other", entity.Stream(other), entity.AccessChanged{Entries: []entity.ACLEntry{{Principal: "user:bob", Rights: entity.Rights()}}})
	h.project(t)
	now := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		by   readmodels.Reader
		want []string
	}{
		"ana":    {readmodels.Reader{Org: "acme", Principals: entity.Principals("ana", []string{"editor"}, nil)}, []string{"ana", "denied", "open", "reopened"}},
		"sales":  {readmodels.Reader{Org: "acme", Principals: entity.Principals("ana", []string{"editor"}, []string{"sales"})}, []string{"ana", "open", "reopened", "sales"}},
		"nobody": {readmodels.Reader{Org: "acme"}, []string{"open", "reopened"}},
		"admin":  {readmodels.Reader{Org: "acme", Principals: entity.Principals("eve", []string{"admin"}, nil)}, []string{"ana", "bob", "denied", "nobody", "open", "reopened", "sales", "twin"}},
		"other":  {readmodels.Reader{Org: "other", Principals: entity.Principals("ana", nil, nil)}, []string{}},
	} {
		for _, q := range []readmodels.EntityQuery{{}, {Type: "thing"}, {AsOf: &now}, {AsOf: &now, Type: "thing"}} {
			q.Sort, q.Count = "key", true
			whole, _, err := h.reads.Entities(t.Context(), test.by, q)
			require.NoError(t, err)
			require.Equal(t, test.want, keys(whole), name)
			require.EqualValues(t, len(test.want), *whole.Count, name)
			var paged []string
			for q.Limit = 1; ; {
				page, _, err := h.reads.Entities(t.Context(), test.by, q)
				require.NoError(t, err)
				paged = append(paged, keys(page)...)
				require.LessOrEqual(t, len(page.Items), 1)
				if page.NextCursor == nil {
					break
				}
				require.NotEmpty(t, page.Items, "an empty page tells that something is hidden")
				q.Cursor = *page.NextCursor
			}
			require.ElementsMatch(t, test.want, paged, name)
		}
		for key, id := range all {
			_, _, one := h.reads.Entity(t.Context(), test.by, id, true)
			_, _, past := h.reads.EntityAt(t.Context(), test.by, id, readmodels.Moment{Version: 1})
			_, _, asOf := h.reads.EntityAt(t.Context(), test.by, id, readmodels.Moment{AsOf: &now})
			_, _, versions := h.reads.EntityVersions(t.Context(), test.by, id, readmodels.EntityVersionQuery{})
			for _, err := range []error{one, past, asOf, versions} {
				if slices.Contains(test.want, key) {
					require.NoError(t, err, "%s of %s", key, name)
				} else {
					requireProblem(t, problem.NotFound, "not_found", err)
				}
			}
		}
	}
}

// In whatever order, what somebody sees is what an admin sees without the rest: nothing is
// shifted, and no offset lands elsewhere, for what is between.
func TestWhatIsHiddenDoesNotShowInTheOrder(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	open := map[uuid.UUID]bool{}
	var made []uuid.UUID
	for n := range 12 {
		id := h.create(t, "thing", string(rune('a'+(n*5)%12)), `{"n":`+strconv.Itoa(n%3)+`}`)
		made = append(made, id)
		if open[id] = n%3 != 1; !open[id] {
			h.share(t, id, "user:bob")
		}
	}
	for n := range made { // in another order than they were made in
		h.append(t, "acme", entity.Stream(made[(n*7)%12]), entity.Updated{Tags: []string{"x"}})
	}
	h.project(t)
	now := time.Now().Add(time.Hour)
	admin, ana := readmodels.Reader{Org: "acme", Principals: []string{"role:admin"}}, readmodels.Reader{Org: "acme", Principals: []string{"user:ana"}}
	for _, sort := range []string{"created_at", "-created_at", "updated_at", "-updated_at", "key", "-key"} {
		for _, asOf := range []*time.Time{nil, &now} {
			q := readmodels.EntityQuery{Sort: sort, AsOf: asOf, Count: true}
			all, _, err := h.reads.Entities(t.Context(), admin, q)
			require.NoError(t, err)
			want := slices.DeleteFunc(ids(all), func(id uuid.UUID) bool { return !open[id] })
			require.Len(t, want, 8)
			for offset := range len(want) + 2 {
				q.Offset = offset
				page, _, err := h.reads.Entities(t.Context(), ana, q)
				require.NoError(t, err)
				require.Equal(t, want[min(offset, len(want)):], ids(page), "%s from %d", sort, offset)
				require.EqualValues(t, len(want), *page.Count)
			}
		}
	}
}

// Who is let in sees what was before that, and who is shut out sees nothing of it.
func TestThePastIsForThoseWhoSeeThePresent(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "thing", "K", `{"n":1}`)
	h.share(t, id, "user:bob")
	h.append(t, "acme", entity.Stream(id), entity.Archived{})
	h.project(t)
	for sub, want := range map[string]int{"bob": 3, "ana": 0} {
		by := readmodels.Reader{Org: "acme", Principals: entity.Principals(sub, []string{"editor"}, nil)}
		page, _, err := h.reads.EntityVersions(t.Context(), by, id, readmodels.EntityVersionQuery{})
		require.Equal(t, want > 0, err == nil)
		require.Len(t, page.Items, want)
	}
}

func TestEntityACL(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id, bare := h.create(t, "thing", "", `{}`), h.create(t, "thing", "", `{}`)
	h.share(t, id, "user:bob")
	last := h.append(t, "acme", member.Stream("bob"), member.Changed{Person: "b", Roles: []string{"viewer"}, Groups: []string{"sales"}})
	h.project(t)
	acl, at, err := h.reads.EntityACL(t.Context(), "acme", id)
	require.NoError(t, err)
	require.Equal(t, last, at.Position)
	require.Equal(t, readmodels.EntityACL{Version: 2, Entries: []entity.ACLEntry{{Principal: "user:bob", Rights: []entity.Right{entity.MayRead}}}}, acl)
	acl, _, err = h.reads.EntityACL(t.Context(), "acme", bare)
	require.NoError(t, err)
	require.Equal(t, readmodels.EntityACL{Version: 1}, acl)
	for org, id := range map[string]uuid.UUID{"other": id, "acme": uuid.New()} {
		_, at, err = h.reads.EntityACL(t.Context(), org, id)
		requireProblem(t, problem.NotFound, "not_found", err)
		require.Equal(t, last, at.Position)
		_, _, at, err = h.reads.EntityACLWith(t.Context(), org, id, "bob")
		requireProblem(t, problem.NotFound, "not_found", err)
		require.Equal(t, last, at.Position)
	}
	acl, bob, at, err := h.reads.EntityACLWith(t.Context(), "acme", id, "bob")
	require.NoError(t, err)
	require.Equal(t, last, at.Position)
	require.Len(t, acl.Entries, 1)
	require.Equal(t, readmodels.Membership{Known: true, Roles: []string{"viewer"}, Groups: []string{"sales"}}, bob)
	_, eve, _, err := h.reads.EntityACLWith(t.Context(), "acme", bare, "eve")
	require.NoError(t, err)
	require.Equal(t, readmodels.Membership{}, eve)
	// Either view may be swapped for a newly built one, and the other is still of use.
	for _, view := range []string{"members", "entities"} {
		require.NoError(t, projections.Rebuild(t.Context(), h.options, view, nil))
		_, bob, _, err = h.reads.EntityACLWith(t.Context(), "acme", id, "bob")
		require.NoError(t, err, view)
		require.True(t, bob.Known)
	}
}

// What is hidden neither takes a place among what is found nor keeps words that are only
// similar from being looked for.
func TestSearchDoesNotFindWhatIsHidden(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, "acme", entity.TypeStream("thing"), entity.TypeDefined{
		Name: "thing", Schema: json.RawMessage(`{"properties":{"name":{"type":"string"}}}`), Search: []string{"name"},
	})
	hidden, similar := h.create(t, "thing", "hidden", `{"name":"Meyerbeer"}`), h.create(t, "thing", "similar", `{"name":"Meierbeer"}`)
	h.share(t, hidden, "user:bob")
	h.project(t)
	for sub, want := range map[string][]uuid.UUID{"ana": {similar}, "bob": {hidden}} {
		by := readmodels.Reader{Org: "acme", Principals: entity.Principals(sub, []string{"viewer"}, nil)}
		page, _, err := h.reads.Entities(t.Context(), by, readmodels.EntityQuery{Search: "Meyerbeer", Count: true})
		require.NoError(t, err)
		require.Equal(t, want, ids(page), sub)
		require.EqualValues(t, 1, *page.Count)
		require.False(t, page.Truncated)
	}
	page, _, err := h.reads.Entities(t.Context(), readmodels.Reader{Org: "acme"}, readmodels.EntityQuery{Search: "Meyerbeer"})
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{similar}, ids(page), "nobody")
}
