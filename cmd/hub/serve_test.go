package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/local"
)

// newServeHub prepares one process of `hub serve roles…` on shared servers.
func newServeHub(t testing.TB, shared []string, roles ...string) *hub {
	t.Helper()
	h := &hub{t: t, args: append([]string{"serve"}, roles...)}
	h.base = fmt.Sprintf("http://127.0.0.1:%d", hubtest.FreePort(t))
	h.env = append([]string{"HUB_HTTP_ADDR=" + strings.TrimPrefix(h.base, "http://")}, shared...)
	return h
}

// asService answers as the issuer does, but for saying that it is one for development:
// so tests run `hub serve` as it runs elsewhere, without DEBUG.
func asService(issuer *identity.DevIssuer) http.Handler {
	inner := issuer.Handler(nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid-configuration" {
			inner.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		inner.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.Replace(answer.Body.String(), `"hub_development_issuer":true`, `"hub_development_issuer":false`, 1)) // the hub may break off
	})
}

// newIssuer runs an issuer for processes of `hub serve`.
func newIssuer(t testing.TB) string {
	t.Helper()
	// Whole before it serves: somebody may still look here for an issuer that had the port.
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String()
	issuer, err := identity.NewDevIssuer(t.TempDir(), url)
	require.NoError(t, err)
	server.Config.Handler = asService(issuer)
	server.Start()
	t.Cleanup(server.Close)
	return url
}

// startRoles runs every role in a process of its own and returns the front door. The
// views have a database of their own.
func startRoles(t *testing.T, more ...string) *hub {
	t.Helper()
	broker, err := local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	issuer := newIssuer(t)
	query := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	views := hubtest.Database(t, hubtest.Migration{})
	shared := append([]string{
		"DATABASE_URL=" + hubtest.Database(t, hubtest.Migration{}), "NATS_URL=" + broker.URL(),
		"PROJECTION_DATABASE_URL=" + views, "QUERY_DATABASE_URL=" + views,
		"IDENTITY_SERVICE_URL=" + issuer, "SECRET_KEY=of-a-test-and-long-enough-for-anyone",
		"HUB_QUERY_ADDR=" + query, "QUERY_API_URL=http://" + query, "HUB_DATA_DIR=" + t.TempDir(),
	}, more...)
	front := newServeHub(t, shared, "command-api")
	front.issuer = issuer
	assert.Contains(t, front.command("migrate", "up"), "")
	for _, role := range []string{"relay", "projector", "query-api", "reactor"} {
		newServeHub(t, shared, role).launch()
	}
	return front.start()
}

// Every role in a process of its own: a command through the front door comes back
// through it from the query API, and hub events and hub projections see it.
func TestEachRoleInAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	query := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	front := startRoles(t, "HUB_QUERY_ADDR="+query, "QUERY_API_URL=http://"+query)
	token := front.token("acme", "admin")
	front.defineType(token, "thing")
	for n := range 20 {
		created, response := front.send(http.MethodPost, "/api/v1/entities", token, nil,
			map[string]any{"type": "thing", "attributes": map[string]any{"n": n}})
		require.Equal(t, http.StatusCreated, response.StatusCode)
		var found struct {
			Attributes struct{ N int }
		}
		require.Equal(t, http.StatusOK, front.get("/api/v1/entities/"+created.ID, token, after(created.Position), &found))
		require.Equal(t, n, found.Attributes.N)
	}
	// What a definition does to them the command API reads from the views.
	narrower := map[string]any{"title": "thing", "schema": map[string]any{"required": []string{"missing"}}}
	response, answer, err := front.do(t.Context(), http.MethodPut, "/api/v1/entity-types/thing", token, nil, narrower)
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, response.StatusCode)
	require.Contains(t, string(answer), `"impact":{"entities":20,"examined":20,"invalid":20,`)
	var health map[string]any
	require.Equal(t, http.StatusOK, (&hub{t: t, base: "http://" + query}).get("/api/health/", "", nil, &health))
	assert.Equal(t, "healthy", health["status"], "the query API without the log's database: %v", health)
	assert.NotEmpty(t, health["epoch"])
	assert.Len(t, front.decided(), 21)
	front.seesMembers()
	assert.Contains(t, front.command("projections", "list"), "entities_v1")
	assert.Contains(t, front.command("migrate", "status", "--output", "json"), `"version": 1`)
}
