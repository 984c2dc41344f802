package main

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/identity"
)

// person is a token of a login that belongs to a human.
func (h *hub) person(sub, person string, roles ...string) string {
	h.t.Helper()
	token, err := identity.RequestToken(h.t.Context(), h.issuer, identity.TokenRequest{Sub: sub, Person: person, Org: "acme", Roles: roles})
	require.NoError(h.t, err)
	return token
}

// sees waits until the directory of members has a login with these roles. Each time round the
// login comes with a token that was issued since.
func (h *hub) sees(admin, sub, person string, roles ...string) {
	h.t.Helper()
	deadline, again := time.After(time.Minute), time.NewTicker(100*time.Millisecond)
	defer again.Stop()
	for {
		require.Equal(h.t, http.StatusOK, h.get("/api/v1/me", h.person(sub, person, roles...), nil, nil))
		var members struct {
			Items []struct {
				Sub   string
				Roles []string
			}
		}
		require.Equal(h.t, http.StatusOK, h.get("/api/v1/members", admin, nil, &members))
		for _, m := range members.Items {
			if m.Sub == sub && slices.Equal(m.Roles, roles) {
				return
			}
		}
		select {
		case <-deadline:
			h.t.Fatalf("the directory never had %s as %v: %v", sub, roles, members)
		case <-again.C:
		}
	}
}

// Approval on the real program: it is persons who count, however many logins they have, and
// they count while they may approve.
func TestApprovalsCountPersonsWhileTheyMay(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	admin := h.person("root", "p-root", "admin")
	var lines []map[string]any
	for i, kind := range []string{"asset", "income"} {
		account := h.answers(201, http.MethodPost, "/api/v1/accounts", admin, nil, map[string]any{"code": kind, "name": kind, "kind": kind, "currency": "EUR"})
		lines = append(lines, map[string]any{"account_id": account["id"], "side": []string{"debit", "credit"}[i], "amount": "500.00"})
	}
	h.answers(200, http.MethodPut, "/api/v1/transactions/policy", admin, nil, map[string]any{"currency": "EUR", "approval_above": "100.00", "approvals_needed": 2})
	maker := h.person("ana", "p-ana", "editor")
	made := h.answers(201, http.MethodPost, "/api/v1/transactions", maker, nil, map[string]any{"date": "2026-01-31", "action": "submit", "lines": lines})
	path := "/api/v1/transactions/" + made["id"].(string)
	act := func(status int, action, token, code string) {
		t.Helper()
		answer := h.answers(status, http.MethodPost, path+"/"+action, token, nil, nil)
		if code != "" {
			assert.Equal(t, code, answer["code"])
		}
	}
	act(403, "approve", h.person("ana-boss", "p-ana", "approver"), "self_approval")
	bob := h.person("bob", "p-bob", "approver")
	act(200, "approve", bob, "")
	act(200, "approve", h.person("bob-2", "p-bob", "approver"), "") // who has approved already
	act(409, "post", bob, "approval_required")
	h.sees(admin, "carl", "p-carl", "approver")
	act(200, "approve", h.person("carl", "p-carl", "approver"), "")
	act(403, "post", maker, "forbidden") // it is approved, and above what an editor posts

	h.sees(admin, "carl", "p-carl", "viewer")
	act(409, "post", bob, "approval_required")
	h.sees(admin, "carl", "p-carl", "approver", "viewer")
	act(200, "post", bob, "")
	head := int64(len(h.replay()))
	assert.Equal(t, "posted", h.answers(200, http.MethodGet, path, admin, after(head), nil)["status"])
}
