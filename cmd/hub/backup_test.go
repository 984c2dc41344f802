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
// the views show what they showed, sealed values open, and a request from before is still
// answered as it was.
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
	patient := h.admit(token, "DE1")
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
	file, keys := filepath.Join(t.TempDir(), "hub.backup"), filepath.Join(t.TempDir(), "hub.keys")
	assert.Contains(t, h.command("backup", file, "--keys", keys), "Backed up: 1 keys, and 0 that are erased")
	close(w.stop)
	w.group.Wait()
	assert.Contains(t, h.command("restore", "--verify-only", file, "--keys", keys), "Intact: 1 keys")
	epoch := h.health()["epoch"]
	h.terminate()

	target := hubtest.Database(t, hubtest.LogAndViews())
	restored := newWhole(t, issuer, target)
	code, said := restored.tries("restore", file)
	assert.Equal(t, exitFailed, code, "without its keys")
	assert.Contains(t, said, "acme/"+patient)
	assert.Contains(t, restored.command("restore", file, "--keys", keys), "Restored: 1 keys")
	restored.start()
	assert.NotEqual(t, epoch, restored.health()["epoch"])
	events := restored.replay()
	head := int64(len(events))
	require.GreaterOrEqual(t, head, int64(69))
	assert.Equal(t, rowsUpTo(t, source, head), rowsUpTo(t, target, head), "ids, bytes and leaf hashes")

	live := restored.all(token, head)
	// Two events are the types', one the directory's, five are of archiving, and as many
	// entities are archived.
	assert.Equal(t, int(head)-3-5-5, len(live)) //nolint:testifylint // Len would print them all
	restored.command("projections", "verify")   // fails when the views are not what the log says

	again, response := restored.send(http.MethodPost, "/api/v1/entities", token, once, body)
	assert.Equal(t, first, again)
	assert.Equal(t, "true", response.Header.Get("Idempotency-Replayed"))
	next, _ := restored.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	assert.Equal(t, head+1, next.Position)
	require.Equal(t, http.StatusOK, restored.get("/api/v1/entities/"+next.ID, token, after(next.Position), nil))

	assert.Equal(t, "DE1", restored.ibanOf(patient, next.Position), "sealed values open")
	var found struct{ Items []struct{ ID string } }
	require.Equal(t, http.StatusOK, restored.get("/api/v1/entities?type=patient&attr.iban=DE1", restored.as("pia", "privacy"), nil, &found))
	require.Len(t, found.Items, 1, "hashes are made with the same secret")
	response, _, err := restored.do(t.Context(), http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "patient", "key": "DE1", "attributes": map[string]any{}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusConflict, response.StatusCode, "the key of a person is taken still")
	restored.command("projections", "verify")

	code, said = restored.tries("restore", file, "--keys", keys)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, said, "not empty")
}

// Keys that are older than the log: what they lack reads as erased, if that is asked for,
// and everything else opens.
func TestARestoreWithOlderKeys(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	h := newWhole(t, issuer, hubtest.Database(t, hubtest.LogAndViews())).start()
	token := h.token("acme", "admin")
	file, keys := filepath.Join(t.TempDir(), "hub.backup"), filepath.Join(t.TempDir(), "hub.keys")
	known := h.admit(token, "DE1")
	assert.Contains(t, h.command("keys", "backup", keys), "Backed up: 1 keys")
	lost := h.admit(token, "DE2")
	assert.Contains(t, h.command("backup", file), "Left out: 2 keys")
	assert.Contains(t, h.command("restore", "--verify-only", file, "--keys", keys), "Older: ")
	h.terminate()

	restored := newWhole(t, issuer, hubtest.Database(t, hubtest.LogAndViews()))
	code, said := restored.tries("restore", file, "--keys", keys)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, said, "acme/"+lost)
	assert.NotContains(t, said, known)
	said = restored.command("restore", file, "--keys", keys, "--missing-as-erased")
	assert.Contains(t, said, "Erased: the sealed values of 1 subjects")
	restored.start()
	head := int64(len(restored.replay()))
	assert.Equal(t, "DE1", restored.ibanOf(known, head))
	assert.Nil(t, restored.ibanOf(lost, head))
	response, answer, err := restored.do(t.Context(), http.MethodPatch, "/api/v1/entities/"+lost, token, nil, map[string]any{"attributes": map[string]any{"iban": "DE3"}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusConflict, response.StatusCode)
	assert.Contains(t, string(answer), `"code":"subject_erased"`)
	restored.command("projections", "verify")
}

// admit makes a patient, whose attributes and key are sealed, and returns its id.
func (h *hub) admit(token, iban string) string {
	h.t.Helper()
	h.send(http.MethodPut, "/api/v1/entity-types/patient", token, nil, map[string]any{
		"title": "Patient", "schema": map[string]any{"type": "object"}, "data_subject": true, "sensitive": []string{"iban"},
	})
	created, _ := h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "patient", "key": iban, "attributes": map[string]any{"iban": iban}})
	return created.ID
}

// ibanOf is what somebody sees who may see it; nil is nothing.
func (h *hub) ibanOf(id string, position int64) any {
	h.t.Helper()
	var seen struct{ Attributes map[string]any }
	require.Equal(h.t, http.StatusOK, h.get("/api/v1/entities/"+id, h.as("pia", "privacy"), after(position), &seen))
	return seen.Attributes["iban"]
}

// tries runs another hub command, and returns its exit code and what it says.
func (h *hub) tries(args ...string) (code int, said string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), hubtest.Binary(h.t), args...)
	cmd.Env = h.environ()
	output, _ := cmd.CombinedOutput() // the exit code says it
	return cmd.ProcessState.ExitCode(), string(output)
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
