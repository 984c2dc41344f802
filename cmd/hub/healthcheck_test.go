package main

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// healthcheck is the exit code of `hub healthcheck` on the environment of h.
func (h *hub) healthcheck(args ...string) int {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), hubtest.Binary(h.t), append([]string{"healthcheck"}, args...)...)
	cmd.Env = h.environ()
	output, _ := cmd.CombinedOutput() // the exit code says it
	h.t.Logf("hub healthcheck: %s", output)
	return cmd.ProcessState.ExitCode()
}

func TestHealthcheckTellsWhetherTheProcessServes(t *testing.T) {
	t.Parallel()
	h := newDevHub(t)
	assert.Equal(t, exitFailed, h.healthcheck(), "nothing runs")
	h.start()
	assert.Zero(t, h.healthcheck(), "on the main address")
	assert.Equal(t, exitFailed, h.healthcheck("--url", h.base+"/nowhere"))
	assert.Equal(t, exitFailed, h.healthcheck("--url", "://"))
	h.terminate()

	ops := hubtest.FreePort(t)
	h.env = append(h.env, fmt.Sprintf("HUB_OPS_ADDR=:%d", ops))
	h.start()
	assert.Zero(t, h.healthcheck(), "on the address for operators")
	onOps := &hub{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", ops)}
	for path, status := range map[string]int{
		"/livez": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusOK, "/log-level": http.StatusOK,
		"/debug/pprof/goroutine": http.StatusOK, "/api/v1/entities": http.StatusNotFound,
	} {
		assert.Equal(t, status, onOps.get(path, "", nil, nil), path)
	}
	response, text, err := h.do(t.Context(), http.MethodGet, "/metrics", "", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, response.StatusCode, "hub dev shows metrics on the main address")
	for _, metric := range []string{
		"hub_http_requests_in_flight", "hub_loop_queued_commands", "hub_relay_published_position", `hub_view_position{view="entities"}`,
		`hub_database_connections_limit{pool="commands"}`, "hub_reads_waiting", "go_goroutines", "process_cpu_seconds_total",
	} {
		assert.Contains(t, string(text), "\n"+metric+" ")
	}
}

// The issuer in a process of its own, known by another name than it listens on. Outside
// DEBUG it does not run.
func TestTheDevelopmentIssuerAlone(t *testing.T) {
	t.Parallel()
	outside := exec.CommandContext(t.Context(), hubtest.Binary(t), "dev-identity")
	outside.Env = []string{"HUB_DATA_DIR=" + t.TempDir()}
	said, _ := outside.CombinedOutput() // the exit code is looked at below
	assert.Equal(t, exitFailed, outside.ProcessState.ExitCode())
	assert.Contains(t, string(said), "\n  DEBUG must be true")

	address := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	const known = "http://identity-service:8001"
	h := &hub{t: t, args: []string{"dev-identity"}, base: "http://" + address, env: []string{
		"HUB_DATA_DIR=" + t.TempDir(), "HUB_DEV_IDENTITY_ADDR=" + address, "IDENTITY_SERVICE_URL=" + known, "DEBUG=true",
	}}
	h.launch()
	var discovery struct{ Issuer string }
	require.Equal(t, http.StatusOK, h.get("/.well-known/openid-configuration", "", nil, &discovery))
	assert.Equal(t, known, discovery.Issuer)
	for host, status := range map[string]int{
		"identity-service:8001": http.StatusOK, "localhost": http.StatusOK, "backend": http.StatusOK, "evil.test": http.StatusBadRequest, "127.0.0.1.evil.test": http.StatusBadRequest,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.base+"/token", strings.NewReader(`{"sub":"ana","org_id":"acme"}`))
		require.NoError(t, err)
		request.Host = host
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, status, response.StatusCode, "%s: %s", host, answer)
		assert.Equal(t, status == http.StatusBadRequest, strings.Contains(string(answer), `"code":"host_not_allowed"`), "%s: %s", host, answer)
	}
	_, err := identity.RequestToken(t.Context(), h.base, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: []string{"admin"}})
	require.NoError(t, err)
	assert.Zero(t, h.healthcheck("--url", h.base+"/.well-known/openid-configuration"))
	assert.Zero(t, h.terminate())
}

// Whoever is slow holds no connection of the issuer for longer than one of the API.
func TestTheDevelopmentIssuerHasTheLimitsOfTheAPI(t *testing.T) {
	t.Parallel()
	server, failed, err := serveIssuer(config.Config{DevIdentityAddr: "127.0.0.1:0"}, t.TempDir(), "http://127.0.0.1:8001")
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		assert.NoError(t, <-failed)
	})
	limits := httpapi.NewServer("", nil)
	for name, limit := range map[string][2]any{
		"the header": {limits.ReadHeaderTimeout, server.ReadHeaderTimeout}, "the request": {limits.ReadTimeout, server.ReadTimeout},
		"the answer": {limits.WriteTimeout, server.WriteTimeout}, "silence": {limits.IdleTimeout, server.IdleTimeout}, "room": {limits.MaxHeaderBytes, server.MaxHeaderBytes},
	} {
		assert.NotZero(t, limit[0], name)
		assert.Equal(t, limit[0], limit[1], name)
	}
}
