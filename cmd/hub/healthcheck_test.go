package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

// The issuer in a process of its own, known by another name than it listens on.
func TestTheDevelopmentIssuerAlone(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	const known = "http://identity-service:8001"
	h := &hub{t: t, args: []string{"dev-identity"}, base: "http://" + address, env: []string{
		"HUB_DATA_DIR=" + t.TempDir(), "HUB_DEV_IDENTITY_ADDR=" + address, "IDENTITY_SERVICE_URL=" + known,
	}}
	h.launch()
	var discovery struct{ Issuer string }
	require.Equal(t, http.StatusOK, h.get("/.well-known/openid-configuration", "", nil, &discovery))
	assert.Equal(t, known, discovery.Issuer)
	_, err := identity.RequestToken(t.Context(), h.base, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: []string{"admin"}})
	require.NoError(t, err)
	assert.Zero(t, h.healthcheck("--url", h.base+"/.well-known/openid-configuration"))
	assert.Zero(t, h.terminate())
}
