package projections

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/member"
)

func TestTheDirectoryHasTheLastWordOnEachMember(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	seen := func(org, sub string, roles ...string) happening {
		return happening{org, member.Stream(sub), member.Changed{Person: "p-" + sub, Roles: append([]string{}, roles...), Groups: []string{"sales"}}}
	}
	h.append(t, seen("acme", "ana", "viewer"), seen("other", "ana", "viewer"), seen("acme", "bob:17"), seen("acme", "ana", "admin", "editor"))
	require.NoError(t, Rebuild(t.Context(), h.with(Members()), "members", nil))
	h.append(t, seen("other", "ana"))
	h.run(t, New(h.with(Members())))
	rows := func() (found []string) {
		var schema string
		require.NoError(t, h.options.Pool.QueryRow(context.Background(), `SELECT schema FROM view_pointers WHERE name = 'members'`).Scan(&schema))
		all, err := h.options.Pool.Query(context.Background(), `SELECT concat_ws(' ', org, sub, person, roles, groups, version) FROM `+schema+`.members ORDER BY org, sub`)
		require.NoError(t, err)
		for all.Next() {
			var row string
			require.NoError(t, all.Scan(&row))
			found = append(found, row)
		}
		require.NoError(t, all.Err())
		return found
	}
	h.until(t, "the last word", func() bool { return len(rows()) == 3 && rows()[2] == "other ana p-ana {} {sales} 2" })
	require.Equal(t, []string{"acme ana p-ana {admin,editor} {sales} 2", "acme bob:17 p-bob:17 {} {sales} 1"}, rows()[:2])
}
