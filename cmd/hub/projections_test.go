package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
	"github.com/reactdjango-hub/backend/projections"
)

// outcome runs a command that may fail.
func (h *hub) outcome(args ...string) (code int, output, errors string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), hubtest.Binary(h.t), args...)
	cmd.Env = h.environ()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	_ = cmd.Run() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// listed is what a command lists as JSON.
func listed[T any](h *hub, args ...string) []T {
	h.t.Helper()
	var rows []T
	require.NoError(h.t, json.Unmarshal([]byte(h.command(append(args, "--output", "json")...)), &rows))
	return rows
}

func TestProjectionsCommands(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	h.send("POST", "/api/v1/entities", token, nil, map[string]any{"type": "thing", "key": "a", "attributes": map[string]any{"secret": "xyzzy"}})
	h.all(token, 3) // the third is the directory's

	code, _, progress := h.outcome("projections", "rebuild", "entities")
	require.Zero(t, code)
	require.Contains(t, progress, "rebuild entities: completed, 3 of 3 positions\n", "no terminal, so plain lines")
	jobs := listed[projections.Job](h, "projections", "jobs")
	require.Len(t, jobs, 1)
	require.Equal(t, projections.StateCompleted, jobs[0].State)
	views := listed[projections.Listing](h, "projections", "list")
	require.Len(t, views, len(projections.All()))
	require.Equal(t, []any{"entities_v1_2", "entities_v1", int64(3)}, []any{views[0].Schema, views[0].Previous, views[0].Position})
	require.Empty(t, listed[projections.Parked](h, "projections", "parked"))
	require.Contains(t, listed[projections.Retried](h, "projections", "retry"), projections.Retried{View: "entities"})
	reports := listed[projections.Report](h, "projections", "verify")
	require.Contains(t, reports, projections.Report{View: "entities", Schema: "entities_v1_2", Position: 3, Rows: 2})

	_, err := hubtest.Pool(t, h.postgres(), "").Exec(t.Context(), `UPDATE entities_v1_2.entities SET key = 'b'`)
	require.NoError(t, err)
	code, output, _ := h.outcome("projections", "verify", "entities")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, output, "2 rows, 1 differences")
	assert.Contains(t, output, "changed")
	assert.Contains(t, output, "org=acme")
	assert.NotContains(t, output, "xyzzy")

	require.Contains(t, h.command("projections", "rollback", "entities"), "answered by entities_v1\n")
	require.Contains(t, h.command("projections", "prune"), "dropped entities_v1_2\n")
	require.Empty(t, listed[projections.Report](h, "projections", "verify", "entities")[0].Details, "what was damaged is gone")
	for want, args := range map[int][]string{
		exitMisuse: {"projections", "rebuild"},
		exitFailed: {"projections", "rebuild", "nothing"},
	} {
		code, _, errors := h.outcome(args...)
		assert.Equal(t, want, code, errors)
		assert.NotEmpty(t, errors)
	}
	code, _, errors := h.outcome("projections", "cancel", "entities")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errors, "no job is under way")
	require.Len(t, h.all(token, 2), 1)
}

// postgres is the URL of the private database of a hub dev that runs.
func (h *hub) postgres() string {
	h.t.Helper()
	dir := ""
	for _, entry := range h.env {
		if value, ok := strings.CutPrefix(entry, "HUB_DATA_DIR="); ok {
			dir = value
		}
	}
	url, err := local.RunningPostgres(filepath.Join(dir, postgresDir), databaseName)
	require.NoError(h.t, err)
	return url
}

// eventually asks again and again; only a failure ends it otherwise.
func (h *hub) eventually(what string, condition func() bool) {
	h.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(startTimeout)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			h.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestProgressBar(t *testing.T) {
	t.Parallel()
	left := 3.0
	j := projections.Job{Kind: "rebuild", View: "entities", State: projections.StateRunning, Done: 250, Total: 1000, Rate: 250, ETASeconds: &left}
	require.Equal(t, "rebuild entities [██████░░░░░░░░░░░░░░░░░░]  25 % 250/s 3 s left", progressBar(j))
	require.Contains(t, progressBar(projections.Job{}), "  0 %")
	require.Contains(t, progressBar(projections.Job{State: projections.StateCompleted}), "100 %")
}
