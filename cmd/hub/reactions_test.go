package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/reactions"
	"github.com/reactdjango-hub/backend/readmodels"
)

// hub reactions shows what is parked, asks for it again and gives it up.
func TestReactionsAreLookedAfter(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.LogAndViews())
	h := newServeHub(t, []string{"DATABASE_URL=" + url}, "reactor")
	list := func() []reactions.Listing {
		var listed []reactions.Listing
		require.NoError(t, json.Unmarshal([]byte(h.command("reactions", "list", "--output", "json")), &listed))
		return listed
	}
	assert.Empty(t, list())
	_, err := hubtest.Pool(t, url, "").Exec(t.Context(), `
		INSERT INTO reaction_checkpoints VALUES ('greeting', 17, gen_random_uuid(), now());
		INSERT INTO reaction_parked SELECT 'greeting', n, gen_random_uuid(), 'acme', 'note:1', 'h', 'note.noted', 'no idea', 5, false, now()
		  FROM generate_series(11, 13) n`)
	require.NoError(t, err)

	assert.Contains(t, h.command("reactions", "list"), "greeting  17        3")
	assert.Contains(t, h.command("reactions", "list"), "no idea")
	assert.Equal(t, "retry: 1 events\n", h.command("reactions", "retry", "greeting", "--position", "12"))
	listed := list()
	require.Len(t, listed, 1)
	assert.EqualValues(t, 17, listed[0].Position)
	require.Len(t, listed[0].Items, 3)
	assert.Equal(t, []bool{false, true, false}, []bool{listed[0].Items[0].Retry, listed[0].Items[1].Retry, listed[0].Items[2].Retry})

	assert.Equal(t, "drop: 1 events\n", h.command("reactions", "drop", "greeting", "--position", "11"))
	assert.Equal(t, "drop: 2 events\n", h.command("reactions", "drop", "greeting"))
	assert.Empty(t, list()[0].Items)
}

// seesMembers expects tokens to become the directory.
// Each attempt is another login: one that was told of before a reactor listened is told
// of again only after minutes.
func (h *hub) seesMembers() {
	h.t.Helper()
	deadline := time.After(startTimeout)
	for n := 0; ; n++ {
		login := fmt.Sprint("login-", n)
		token, err := identity.RequestToken(h.t.Context(), h.issuer, identity.TokenRequest{
			Sub: login, Org: "acme", Person: "person-" + login, Name: "Ana Name", Email: "ana@example.com", Roles: []string{"viewer"}, Groups: []string{"sales"},
		})
		require.NoError(h.t, err)
		require.Equal(h.t, http.StatusOK, h.get("/api/v1/entities", token, nil, nil))
		changed := h.command("events", "replay", "--type", "member.changed", "--tag", "member:"+login, "--output", "json")
		if changed != "[]\n" {
			assert.Contains(h.t, changed, `"data":{"person":"person-`+login+`","roles":["viewer"],"groups":["sales"],"issued_at":"`)
			assert.Contains(h.t, changed, `"actor":{"sub":"system:reactor","person":"system:reactor"}`)
			assert.NotContains(h.t, changed, "Ana Name")
			assert.NotContains(h.t, changed, "ana@example.com")
			admin := h.token("acme", "admin")
			h.eventually("the directory lists the member", func() bool {
				var found listOf[readmodels.Member]
				require.Equal(h.t, http.StatusOK, h.get("/api/v1/members?role=viewer&person=person-"+login, admin, nil, &found))
				return len(found.Items) == 1 && found.Items[0].Sub == login && *found.Items[0].Name == "***" && *found.Items[0].Email == "***"
			})
			h.showsNames(login)
			require.Equal(h.t, http.StatusForbidden, h.get("/api/v1/members", token, nil, nil))
			return
		}
		select {
		case <-deadline:
			h.t.Fatal("no token has become a member")
		default:
		}
	}
}

// showsNames expects that a member's name is shown to privacy and to the member's own person,
// and that it is recorded who has seen it.
func (h *hub) showsNames(login string) {
	h.t.Helper()
	seen := func(sub, person, path string, roles ...string) (names []string) {
		h.t.Helper()
		token, err := identity.RequestToken(h.t.Context(), h.issuer, identity.TokenRequest{Sub: sub, Org: "acme", Person: person, Roles: roles})
		require.NoError(h.t, err)
		var found listOf[readmodels.Member]
		require.Equal(h.t, http.StatusOK, h.get(path, token, nil, &found))
		require.Len(h.t, found.Items, 1)
		for _, text := range []*string{found.Items[0].Name, found.Items[0].Email} {
			if text != nil {
				names = append(names, *text)
			}
		}
		return names
	}
	// By role, as the second login of the person becomes a member, too, by asking.
	path := "/api/v1/members?role=viewer&person=person-" + login
	assert.Equal(h.t, []string{"***", "***"}, seen("otherwise", "", path, "admin"))
	assert.Equal(h.t, []string{"Ana Name", "ana@example.com"}, seen("pia", "", path, "admin", "privacy"))
	assert.Equal(h.t, []string{"Ana Name", "ana@example.com"}, seen("second-login", "person-"+login, path, "admin"))
	assert.Equal(h.t, []string{"***", "***"}, seen("otherwise", "", path, "admin"))
	records := h.answers(http.StatusOK, http.MethodGet, "/api/v1/audit/access?subject=member:"+login, h.token("acme", "auditor"), nil, nil)["items"].([]any)
	require.Len(h.t, records, 2)
	for i, actor := range []string{"second-login", "pia"} {
		assert.Equal(h.t, actor, records[i].(map[string]any)["actor"])
		assert.Equal(h.t, []any{"email", "name"}, records[i].(map[string]any)["attributes"])
	}
}
