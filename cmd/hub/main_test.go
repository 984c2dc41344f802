package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// startTimeout only ends a test that has failed: a cold start under the race
// detector's other tests can take tens of seconds.
const startTimeout = 2 * time.Minute

// hub is a real hub process, used from outside.
type hub struct {
	t       testing.TB
	env     []string
	args    []string
	base    string
	issuer  string
	process *hubtest.Hub
	// client sends the requests; nil is http.DefaultClient.
	client *http.Client
}

// newDevHub prepares `hub dev` on a data directory and ports of its own.
func newDevHub(t testing.TB) *hub {
	t.Helper()
	h := &hub{t: t, args: []string{"dev"}}
	h.base = fmt.Sprintf("http://127.0.0.1:%d", hubtest.FreePort(t))
	h.issuer = fmt.Sprintf("http://127.0.0.1:%d", hubtest.FreePort(t))
	h.env = []string{
		"HUB_DATA_DIR=" + hubtest.TempDir(t), "HUB_HTTP_ADDR=" + strings.TrimPrefix(h.base, "http://"),
		"HUB_DEV_IDENTITY_ADDR=" + strings.TrimPrefix(h.issuer, "http://"),
		fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t)),
	}
	return h
}

// start runs the process and waits until it is healthy.
func (h *hub) start() *hub {
	h.t.Helper()
	h.launch()
	var health struct{ Status string }
	require.Equal(h.t, http.StatusOK, h.get("/api/health/", "", nil, &health))
	require.Equal(h.t, "healthy", health.Status)
	return h
}

// launch runs the process and waits until it says that it runs.
func (h *hub) launch() {
	h.t.Helper()
	h.process = hubtest.StartHub(h.t, h.env, h.args...)
}

func (h *hub) kill() {
	h.t.Helper()
	h.process.Kill()
}

// terminate stops the process as an operator does, and returns its exit code.
func (h *hub) terminate() int {
	h.t.Helper()
	return h.process.Terminate()
}

// environ is what commands run beside h get.
func (h *hub) environ() []string { return hubtest.HubEnvironment(h.env) }

func (h *hub) token(org string, roles ...string) string {
	h.t.Helper()
	token, err := identity.RequestToken(h.t.Context(), h.issuer, identity.TokenRequest{Sub: "ana", Org: org, Roles: roles})
	require.NoError(h.t, err)
	return token
}

// do sends a request and returns the answer, or an error when there was none.
func (h *hub) do(ctx context.Context, method, path, token string, header map[string]string, body any) (*http.Response, []byte, error) {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, h.base+path, sent)
	if err != nil {
		return nil, nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	client := h.client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	return response, answer, err
}

func (h *hub) get(path, token string, header map[string]string, into any) int {
	h.t.Helper()
	response, body, err := h.do(h.t.Context(), http.MethodGet, path, token, header, nil)
	require.NoError(h.t, err)
	if into != nil {
		require.NoError(h.t, json.Unmarshal(body, into), "%s", body)
	}
	return response.StatusCode
}

type receipt struct {
	ID       string `json:"id"`
	Version  int64  `json:"version"`
	Position int64  `json:"position"`
}

// send is a command that must be accepted.
func (h *hub) send(method, path, token string, header map[string]string, body any) (receipt, *http.Response) {
	h.t.Helper()
	response, answer, err := h.do(h.t.Context(), method, path, token, header, body)
	require.NoError(h.t, err)
	require.Less(h.t, response.StatusCode, 300, "%s", answer)
	var r receipt
	require.NoError(h.t, json.Unmarshal(answer, &r))
	return r, response
}

// command runs another hub command on the same environment.
func (h *hub) command(args ...string) string {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), hubtest.Binary(h.t), args...)
	cmd.Env = h.environ()
	cmd.Stderr = h.t.Output()
	output, err := cmd.Output()
	require.NoError(h.t, err)
	return string(output)
}

func (h *hub) defineType(token, name string) {
	h.t.Helper()
	h.send(http.MethodPut, "/api/v1/entity-types/"+name, token, nil, map[string]any{
		"title": name, "schema": map[string]any{"type": "object"},
	})
}

func after(position int64) map[string]string {
	return map[string]string{"Hub-Min-Position": strconv.FormatInt(position, 10), "Prefer": "wait=30"}
}

// airports are the rows of the airports file as bodies of POST /entities.
func airports(t testing.TB) []map[string]any {
	t.Helper()
	file, err := os.Open("../../testdata/airports.csv")
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	var bodies []map[string]any
	for _, row := range rows[1:] {
		attributes := map[string]any{}
		for i, name := range rows[0] {
			attributes[name] = row[i]
		}
		for _, name := range []string{"latitude", "longitude"} {
			attributes[name] = json.Number(attributes[name].(string))
		}
		bodies = append(bodies, map[string]any{"type": "airport", "key": row[0], "attributes": attributes})
	}
	return bodies
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		exit int
	}{
		{[]string{"version"}, 0},
		{[]string{"--help"}, 0},
		{[]string{"events", "tail", "--help"}, 0},
		{[]string{"openapi"}, 0},
		{[]string{}, 2},
		{[]string{"nonsense"}, 2},
		{[]string{"serve"}, 2},
		{[]string{"serve", "nonsense"}, 2},
		{[]string{"token", "--sub", "ana"}, 2},
		{[]string{"events", "replay", "--output", "xml"}, 2},
		{[]string{"migrate", "up", "now"}, 2},
		{[]string{"migrate", "up"}, 1},                                // no database named
		{[]string{"token", "--sub=a", "--org=b", "--role=viewer"}, 1}, // no issuer there
	} {
		cmd := exec.CommandContext(t.Context(), hubtest.Binary(t), c.args...)
		cmd.Env = []string{"HUB_DEV_IDENTITY_ADDR=127.0.0.1:1"}
		output, _ := cmd.CombinedOutput() // the exit code is looked at below
		assert.Equal(t, c.exit, cmd.ProcessState.ExitCode(), "hub %v\n%s", c.args, output)
	}
}

// Every command explains itself, and lists as JSON what it lists.
func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var explain func(command *cobra.Command)
	explain = func(command *cobra.Command) {
		path := strings.TrimPrefix(command.CommandPath(), "hub")
		seen[strings.TrimSpace(path)] = true
		assert.NotEmpty(t, command.Short, path)
		root, out := newRoot(), new(bytes.Buffer)
		root.SetOut(out)
		root.SetArgs(append(strings.Fields(path), "--help"))
		assert.NoError(t, root.ExecuteContext(t.Context()), path)
		assert.Contains(t, out.String(), "Usage:", path)
		for _, sub := range command.Commands() {
			explain(sub)
		}
		if command.Name() == "list" {
			assert.NotNil(t, command.Flags().Lookup("output"), path)
		}
	}
	explain(newRoot())
	for _, path := range []string{
		"dev", "serve", "migrate up", "migrate down", "migrate status", "config check", "healthcheck", "token", "events tail", "events replay",
		"projections list", "projections rebuild", "projections verify", "projections parked", "projections retry", "reactions list", "reactions retry",
		"reactions drop", "keys rotate", "keys list", "backup", "restore", "openapi", "version",
	} {
		assert.True(t, seen[path], "hub %s", path)
	}
}
