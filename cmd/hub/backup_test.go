package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
)

// newWhole prepares all roles in one process on a database and a NATS of its own.
func newWhole(t *testing.T, issuer, database string) *hub {
	t.Helper()
	broker, err := local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	h := newServeHub(t, []string{
		"DATABASE_URL=" + database, "NATS_URL=" + broker.URL(), "IDENTITY_SERVICE_URL=" + issuer,
		fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t)),
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + t.TempDir(),
	}, "all")
	h.issuer = issuer
	return h
}

func (h *hub) health() map[string]any {
	h.t.Helper()
	var health map[string]any
	require.Equal(h.t, http.StatusOK, h.get("/api/health/", "", nil, &health))
	return health
}

// The drill of docs/operations.md: a backup of a hub at work, restored into a new
// database with a NATS and views that are empty. The events are the same to the byte,
// the views show what they showed, and a request from before is still answered as it was.
func TestBackupAndRestoreDrill(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	source := hubtest.Database(t, hubtest.LogAndViews())
	h := newWhole(t, issuer, source).start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	once := map[string]string{"Idempotency-Key": "once"}
	body := map[string]any{"type": "thing", "key": "once", "attributes": map[string]any{"n": 0}}
	first, _ := h.send(http.MethodPost, "/api/v1/entities", token, once, body)
	for n := range 50 {
		created, _ := h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{"n": n}})
		if n%10 == 0 {
			h.send(http.MethodDelete, "/api/v1/entities/"+created.ID, token, nil, nil)
		}
	}
	// Somebody writes all the while.
	w := &writers{acknowledged: map[string]bool{}, stop: make(chan struct{})}
	w.write(h, token, "meanwhile")
	w.untilAcknowledged(t, 10)
	file := filepath.Join(t.TempDir(), "hub.backup")
	assert.Contains(t, h.command("backup", file), "Backed up: ")
	close(w.stop)
	w.group.Wait()
	assert.Contains(t, h.command("restore", "--verify-only", file), "Intact: ")
	epoch := h.health()["epoch"]
	h.terminate()

	target := hubtest.Database(t, hubtest.LogAndViews())
	restored := newWhole(t, issuer, target)
	assert.Contains(t, restored.command("restore", file), "Restored: ")
	restored.start()
	assert.NotEqual(t, epoch, restored.health()["epoch"])
	events := restored.replay()
	head := int64(len(events))
	require.GreaterOrEqual(t, head, int64(67))
	assert.Equal(t, rowsUpTo(t, source, head), rowsUpTo(t, target, head), "ids, bytes and leaf hashes")

	live := restored.all(token, head)
	// One event is the type's, one the directory's, five are of archiving, and as many
	// entities are archived.
	assert.Equal(t, int(head)-2-5-5, len(live)) //nolint:testifylint // Len would print them all
	restored.command("projections", "verify")   // fails when the views are not what the log says

	again, response := restored.send(http.MethodPost, "/api/v1/entities", token, once, body)
	assert.Equal(t, first, again)
	assert.Equal(t, "true", response.Header.Get("Idempotency-Replayed"))
	next, _ := restored.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	assert.Equal(t, head+1, next.Position)
	require.Equal(t, http.StatusOK, restored.get("/api/v1/entities/"+next.ID, token, after(next.Position), nil))

	cmd := exec.CommandContext(t.Context(), hubtest.Binary(t), "restore", file)
	cmd.Env = restored.environ()
	said, _ := cmd.CombinedOutput() // the exit code is looked at
	assert.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
	assert.Contains(t, string(said), "not empty")
}

// rowsUpTo are the events of a log as text, every column.
func rowsUpTo(t *testing.T, url string, head int64) string {
	t.Helper()
	var text string
	require.NoError(t, hubtest.Pool(t, url, "").QueryRow(t.Context(),
		`SELECT string_agg(e::text, E'\n' ORDER BY position) FROM events e WHERE position <= $1`, head).Scan(&text))
	return text
}

func TestABackupThatFailsLeavesNoFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, c := range []struct {
		args []string
		exit int
	}{
		{[]string{"backup", filepath.Join(folder, "a")}, exitFailed},
		{[]string{"backup"}, exitMisuse},
		{[]string{"restore", filepath.Join(folder, "nowhere")}, exitFailed},
	} {
		cmd := exec.CommandContext(t.Context(), hubtest.Binary(t), c.args...)
		cmd.Env = []string{"DATABASE_URL=postgres://127.0.0.1:1/hub"}
		said, _ := cmd.CombinedOutput() // the exit code is looked at
		assert.Equal(t, c.exit, cmd.ProcessState.ExitCode(), "%s", said)
	}
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Empty(t, left)
}
