package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// Planted: a sensitive value may be in no file and no log line, a personal one neither in
// what NATS stores nor in a log line; read tables may have it.
const (
	plantedSensitive = "planted-sensitive-4711"
	plantedPersonal  = "planted-personal-4712"
	plantedReason    = "planted-reason-4713"
	plantedName      = "planted-name-4714"
)

// listening is a test that keeps what its processes log.
type listening struct {
	testing.TB
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *listening) Output() io.Writer { return l }

func (l *listening) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *listening) logged() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// files that hold the text.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	read := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return nil
	}))
	require.Positive(t, read, "nothing was looked at in %s", dir)
	return found
}

func (h *hub) as(sub string, roles ...string) string {
	h.t.Helper()
	token, err := identity.RequestToken(h.t.Context(), h.issuer, identity.TokenRequest{
		Sub: sub, Org: "acme", Roles: roles, Name: plantedName, Email: plantedName + "@example.com",
	})
	require.NoError(h.t, err)
	return token
}

// answers sends a request and expects a status.
func (h *hub) answers(status int, method, path, token string, header map[string]string, body any) map[string]any {
	h.t.Helper()
	response, text, err := h.do(h.t.Context(), method, path, token, header, body)
	require.NoError(h.t, err)
	require.Equal(h.t, status, response.StatusCode, "%s %s: %s", method, path, text)
	var found map[string]any
	require.NoError(h.t, json.Unmarshal(text, &found), "%s", text)
	return found
}

func attributesOf(t *testing.T, answer map[string]any) map[string]any {
	t.Helper()
	found, ok := answer["attributes"].(map[string]any)
	require.True(t, ok, "%v", answer)
	return found
}

// The promise as a whole, on the real program: what is planted through every way in is
// found in clear by nobody who searches the disks, backups, Redis, traces or logs, is shown to who may see it, and that is
// recorded.
func TestSealedValuesStaySecret(t *testing.T) {
	t.Parallel()
	told := &listening{TB: t}
	h := newDevHub(told)
	traces, redis := hubtest.ReceiveTraces(t), watchRedis(t)
	h.env = append(h.env, "HUB_LOG_LEVEL=debug", "OTEL_EXPORTER_OTLP_ENDPOINT="+traces.URL, "REDIS_URL=redis://"+redis.Address(), "HUB_RATE_LIMIT=100000")
	h.start()
	admin := h.as("ana", "admin")
	schema := map[string]any{"type": "object", "properties": map[string]any{"age": map[string]any{"type": "integer"}}}
	for name, dataSubject := range map[string]bool{"patient": true, "customer": false} {
		typ := map[string]any{"title": name, "schema": schema, "sensitive": []string{"diagnosis"}, "data_subject": dataSubject}
		h.answers(201, http.MethodPut, "/api/v1/entity-types/"+name, admin, nil, typ)
	}
	h.answers(422, http.MethodPut, "/api/v1/entity-types/file", admin, nil, map[string]any{"title": "f", "audit_reads": "some"})
	h.answers(201, http.MethodPut, "/api/v1/entity-types/file", admin, nil, map[string]any{"title": "f", "audit_reads": "all"})

	personal := map[string]any{"name": plantedPersonal, "diagnosis": plantedSensitive, "age": 7}
	body := map[string]any{"type": "patient", "key": plantedPersonal, "attributes": personal}
	once := map[string]string{"Idempotency-Key": "kept-with-the-receipt", "Prefer": "return=representation"}
	created := h.answers(201, http.MethodPost, "/api/v1/entities", admin, once, body)
	again := h.answers(201, http.MethodPost, "/api/v1/entities", admin, once, body)
	for _, answer := range []map[string]any{created, again} {
		shown := attributesOf(t, answer["resource"].(map[string]any))
		assert.Equal(t, map[string]any{"name": plantedPersonal, "diagnosis": "***", "age": 7.0}, shown)
	}
	id := created["id"].(string)
	path := "/api/v1/entities/" + id
	h.answers(409, http.MethodPost, "/api/v1/entities", admin, map[string]string{"Idempotency-Key": "taken"}, body)
	h.answers(422, http.MethodPost, "/api/v1/entities", admin, map[string]string{"Idempotency-Key": "wrong"}, map[string]any{
		"type": "patient", "key": "P-2", "attributes": map[string]any{"age": plantedSensitive, "diagnosis": plantedSensitive},
	})
	h.answers(200, http.MethodPost, "/api/v1/entities?dry_run=true", admin, nil, map[string]any{"type": "patient", "attributes": personal})
	h.answers(422, http.MethodPatch, path, admin, nil, map[string]any{"attributes": map[string]any{"diagnosis": "***"}})
	because := map[string]string{"Hub-Reason": plantedReason}
	h.answers(422, http.MethodPatch, path, admin, map[string]string{"Hub-Reason": `{"$sealed":"x"}`}, map[string]any{"tags": []string{"x"}})
	patched := h.answers(200, http.MethodPatch, path, admin, because, map[string]any{"attributes": map[string]any{"city": plantedPersonal, "age": 8}})
	customer := h.answers(201, http.MethodPost, "/api/v1/entities", admin, nil, map[string]any{
		"type": "customer", "key": "C-1", "attributes": map[string]any{"name": "Ben", "diagnosis": plantedSensitive},
	})
	h.answers(409, http.MethodPut, "/api/v1/entity-types/customer", admin, nil, map[string]any{"title": "c", "schema": schema, "sensitive": []string{"diagnosis", "name"}})
	h.answers(409, http.MethodPut, "/api/v1/entity-types/customer", admin, nil, map[string]any{"title": "c", "schema": schema, "sensitive": []string{"diagnosis"}, "data_subject": true})

	// Everybody but privacy sees masks, in every read.
	fresh := after(int64(customer["position"].(float64)))
	assert.Greater(t, customer["position"], patched["position"])
	masked := map[string]any{"name": plantedPersonal, "diagnosis": "***", "age": 8.0, "city": plantedPersonal}
	for _, role := range []string{"viewer", "admin", "auditor"} {
		one := h.answers(200, http.MethodGet, path, h.as("vera", role), fresh, nil)
		assert.Equal(t, masked, attributesOf(t, one), role)
		assert.Equal(t, plantedPersonal, one["key"])
	}
	viewer := h.as("vera", "viewer")
	assert.Equal(t, masked, attributesOf(t, h.answers(200, http.MethodGet, path+"?at_version=2", viewer, fresh, nil)))
	history, err := json.Marshal(h.answers(200, http.MethodGet, path+"/history", viewer, fresh, nil))
	require.NoError(t, err)
	assert.NotContains(t, string(history), plantedSensitive)
	assert.NotContains(t, string(history), plantedReason)
	assert.Contains(t, string(history), `"reason":"***"`)
	found := h.answers(200, http.MethodGet, "/api/v1/entities?type=patient&key="+plantedPersonal, viewer, fresh, nil)
	assert.Len(t, found["items"], 1)
	equal := "/api/v1/entities?attr.diagnosis=" + url.QueryEscape(plantedSensitive)
	assert.Equal(t, "privacy_required", h.answers(403, http.MethodGet, equal, viewer, nil, nil)["code"])
	assert.Equal(t, "sealed_attribute", h.answers(422, http.MethodGet, "/api/v1/entities?attr.diagnosis[gt]=a", viewer, nil, nil)["code"])

	assert.Equal(t, "privacy_required", h.answers(403, http.MethodGet, equal+"&as_of=2026-01-01", viewer, nil, nil)["code"])

	// Every read of a file is recorded, whoever reads.
	file := h.answers(201, http.MethodPost, "/api/v1/entities", admin, nil, map[string]any{"type": "file", "attributes": map[string]any{"name": "f"}})
	filed := file["id"].(string)
	h.answers(200, http.MethodGet, "/api/v1/entities/"+filed, viewer, after(int64(file["position"].(float64))), nil)
	h.answers(200, http.MethodGet, "/api/v1/entities?type=file", viewer, nil, nil)
	for _, record := range h.answers(200, http.MethodGet, "/api/v1/audit/access?actor=vera", h.as("otto", "auditor"), nil, nil)["items"].([]any) {
		assert.Equal(t, []any{filed}, record.(map[string]any)["subjects"])
		assert.Empty(t, record.(map[string]any)["attributes"])
		assert.Equal(t, "vera", record.(map[string]any)["actor"])
	}
	assert.Len(t, h.answers(200, http.MethodGet, "/api/v1/audit/access?subject="+filed, h.as("otto", "auditor"), nil, nil)["items"], 2)

	// Nobody has seen anything yet; then privacy sees it, and that is recorded.
	auditor, privacy := h.as("otto", "auditor"), h.as("pia", "privacy")
	assert.Empty(t, h.answers(200, http.MethodGet, "/api/v1/audit/access?subject="+id, auditor, nil, nil)["items"])
	assert.Equal(t, plantedSensitive, attributesOf(t, h.answers(200, http.MethodGet, path, privacy, fresh, nil))["diagnosis"])
	seen := h.answers(200, http.MethodGet, "/api/v1/audit/access?subject="+id, auditor, nil, nil)["items"].([]any)
	require.Len(t, seen, 1)
	record := seen[0].(map[string]any)
	assert.Equal(t, "pia", record["actor"])
	assert.Equal(t, []any{"diagnosis"}, record["attributes"])
	assert.Equal(t, []any{id}, record["subjects"])
	h.answers(200, http.MethodGet, path+"?fields=id,attributes.name", privacy, nil, nil)
	h.answers(200, http.MethodGet, path+"/history?fields=version,by", privacy, nil, nil)
	matches := h.answers(200, http.MethodGet, equal+"&type=customer", privacy, nil, nil)["items"].([]any)
	require.Len(t, matches, 1, "found by equality")
	assert.Equal(t, plantedSensitive, attributesOf(t, matches[0].(map[string]any))["diagnosis"])
	assert.Empty(t, h.answers(200, http.MethodGet, "/api/v1/entities?attr.diagnosis=another", privacy, nil, nil)["items"])
	assert.Equal(t, "sealed_attribute", h.answers(422, http.MethodGet, "/api/v1/entities?attr.diagnosis[ne]=a", privacy, nil, nil)["code"])
	assert.Len(t, h.answers(200, http.MethodGet, "/api/v1/audit/access?actor=pia", auditor, nil, nil)["items"], 2, "what was not shown is not recorded")
	explained, err := json.Marshal(h.answers(200, http.MethodGet, path+"/history", privacy, nil, nil))
	require.NoError(t, err)
	assert.Contains(t, string(explained), `"reason":"`+plantedReason+`"`)
	shown := h.answers(200, http.MethodGet, "/api/v1/audit/access?actor=pia&limit=1", auditor, nil, nil)["items"].([]any)[0].(map[string]any)
	assert.Equal(t, []any{id}, shown["subjects"])
	assert.Empty(t, shown["attributes"])
	assert.Equal(t, true, shown["reasons"])
	first := h.answers(200, http.MethodGet, "/api/v1/audit/access?actor=pia&limit=1", auditor, nil, nil)
	second := h.answers(200, http.MethodGet, "/api/v1/audit/access?actor=pia&limit=1&cursor="+first["next_cursor"].(string), auditor, nil, nil)
	third := h.answers(200, http.MethodGet, "/api/v1/audit/access?actor=pia&limit=1&cursor="+second["next_cursor"].(string), auditor, nil, nil)
	assert.Equal(t, seen, third["items"])
	assert.Nil(t, third["next_cursor"])
	h.answers(400, http.MethodGet, "/api/v1/audit/access?actor=pia&cursor=x", auditor, nil, nil)
	h.answers(403, http.MethodGet, "/api/v1/audit/access?actor=pia", admin, nil, nil)
	h.answers(422, http.MethodGet, "/api/v1/audit/access", auditor, nil, nil)

	h.plantInBulk(t, id)
	h.plantInTransactions(t, id, customer["id"].(string))
	h.command("projections", "verify")
	assert.Contains(t, h.command("keys", "list"), "acme")
	backup, keys := filepath.Join(t.TempDir(), "hub.backup"), filepath.Join(t.TempDir(), "hub.keys")
	h.command("backup", backup, "--keys", keys)
	dir := dataDir(h)
	require.Equal(t, 0, h.terminate())
	elsewhere := map[string]string{
		"backup": unpacked(t, backup), "backup of keys": unpacked(t, keys), "Redis": redis.said(), "traces": string(traces.Bytes()), "logs": told.logged(),
	}
	require.Contains(t, elsewhere["backup"], "kept-with-the-receipt", "receipts are in it")
	require.Contains(t, elsewhere["backup"], "$sealed")
	require.Contains(t, elsewhere["backup of keys"], id)
	require.Contains(t, elsewhere["Redis"], "evalsha")
	require.NotEmpty(t, traces.Spans())
	require.NotEmpty(t, elsewhere["logs"])
	for where, text := range elsewhere {
		for _, planted := range []string{plantedSensitive, plantedPersonal, plantedReason, plantedName} {
			assert.NotContains(t, text, planted, where)
		}
	}
	require.NotEmpty(t, filesWith(t, dir, plantedPersonal), "read tables have it, so the search can find something")
	assert.Empty(t, filesWith(t, dir, plantedSensitive))
	assert.Empty(t, filesWith(t, dir, plantedReason))
	assert.Empty(t, filesWith(t, dir, plantedName))
	assert.Empty(t, filesWith(t, filepath.Join(dir, natsDir), plantedPersonal))
}

// plantInBulk changes a person by a bulk update, and holds what is seen of why.
func (h *hub) plantInBulk(t *testing.T, patient string) {
	t.Helper()
	admin, because := h.as("ana", "admin"), map[string]string{"Hub-Reason": plantedReason, "Idempotency-Key": "bulk"}
	body := map[string]any{"filter": map[string]any{"type": "patient", "attr.name": plantedPersonal}, "attributes": map[string]any{"diagnosis": plantedSensitive + "!"}}
	h.answers(200, http.MethodPost, "/api/v1/entities/bulk?dry_run=true", admin, because, body)
	started := h.answers(202, http.MethodPost, "/api/v1/entities/bulk", admin, because, body)
	job := "/api/v1/entities/bulk/" + started["job_id"].(string)
	h.eventually("the job is done", func() bool {
		response, text, err := h.do(t.Context(), http.MethodGet, job, admin, nil, nil)
		return err == nil && response.StatusCode == http.StatusOK && strings.Contains(string(text), `"state":"completed"`)
	})
	done := h.answers(200, http.MethodGet, job, admin, nil, nil)
	assert.EqualValues(t, 1, done["updated"])
	changed := h.answers(200, http.MethodGet, "/api/v1/entities/"+patient+"/history?limit=1", h.as("pia", "privacy"), after(int64(done["selected_at"].(float64))+1), nil)
	assert.Equal(t, plantedReason, changed["items"].([]any)[0].(map[string]any)["reason"])
}

// plantInTransactions makes transactions about two entities through every way in, and holds
// what is seen of them.
func (h *hub) plantInTransactions(t *testing.T, patient, customer string) {
	t.Helper()
	admin, viewer, auditor, privacy := h.as("ana", "admin"), h.as("vera", "viewer"), h.as("otto", "auditor"), h.as("pia", "privacy")
	var lines []map[string]any
	for i, kind := range []string{"asset", "income"} {
		account := h.answers(201, http.MethodPost, "/api/v1/accounts", admin, nil, map[string]any{"code": kind, "name": kind, "kind": kind, "currency": "EUR"})
		lines = append(lines, map[string]any{"account_id": account["id"], "side": []string{"debit", "credit"}[i], "amount": "5.00"})
	}
	private := map[string]any{"case": plantedSensitive}
	body := map[string]any{
		"date": "2026-01-31", "lines": lines, "action": "submit", "description": plantedPersonal, "private": private,
		"subjects": []string{patient, customer}, "external_ref": "r-1",
	}
	once := map[string]string{"Idempotency-Key": "transaction", "Prefer": "return=representation"}
	created := h.answers(201, http.MethodPost, "/api/v1/transactions", admin, once, body)
	again := h.answers(201, http.MethodPost, "/api/v1/transactions", admin, once, body)
	for _, answer := range []map[string]any{created, again} {
		shown := answer["resource"].(map[string]any)
		assert.Equal(t, plantedPersonal, shown["description"])
		assert.Equal(t, "***", shown["private"])
	}
	path := "/api/v1/transactions/" + created["id"].(string)
	assert.Equal(t, created["id"], h.answers(200, http.MethodPost, "/api/v1/transactions", admin, nil, body)["id"], "the same external_ref")
	body["external_ref"], body["action"] = "r-2", "post"
	bulk := h.answers(200, http.MethodPost, "/api/v1/transactions/bulk", admin, nil, []any{body})
	posted := bulk["results"].([]any)[0].(map[string]any)["id"].(string)
	h.answers(200, http.MethodPost, "/api/v1/transactions/bulk?atomic=true", admin, nil, []any{body})
	body["external_ref"], body["date"] = "r-3", "never"
	h.answers(422, http.MethodPost, "/api/v1/transactions", admin, map[string]string{"Idempotency-Key": "refused"}, body)
	h.answers(200, http.MethodPatch, path, admin, nil, map[string]any{"private": map[string]any{"more": plantedSensitive}, "description": plantedPersonal + "!"})
	reversal := h.answers(201, http.MethodPost, "/api/v1/transactions/"+posted+"/reverse", admin, map[string]string{"Hub-Reason": plantedSensitive}, map[string]any{})
	fresh := after(int64(reversal["position"].(float64)))

	read := h.answers(200, http.MethodGet, path, viewer, fresh, nil)
	assert.Equal(t, plantedPersonal+"!", read["description"])
	assert.Equal(t, "***", read["private"])
	assert.Equal(t, []any{patient, customer}, read["subjects"])
	for _, target := range []string{"/api/v1/transactions", path + "/explain", "/api/v1/transactions?q=" + plantedPersonal} {
		for _, token := range []string{viewer, admin, privacy} {
			text, err := json.Marshal(h.answers(200, http.MethodGet, target, token, nil, nil))
			require.NoError(t, err)
			assert.NotContains(t, string(text), plantedSensitive, target)
		}
	}
	assert.Empty(t, h.answers(200, http.MethodGet, "/api/v1/transactions?q="+plantedSensitive, privacy, nil, nil)["items"])
	reversed := h.answers(200, http.MethodGet, "/api/v1/transactions/"+reversal["id"].(string), viewer, nil, nil)
	assert.Equal(t, plantedPersonal, reversed["description"])
	assert.Equal(t, map[string]any{}, reversed["private"])
	assert.Equal(t, map[string]any{"case": plantedSensitive, "more": plantedSensitive}, h.answers(200, http.MethodGet, path, privacy, nil, nil)["private"])
	for _, subject := range []string{patient, customer} {
		seen := h.answers(200, http.MethodGet, "/api/v1/audit/access?limit=1&subject="+subject, auditor, nil, nil)["items"].([]any)[0].(map[string]any)
		assert.Equal(t, []any{"private"}, seen["attributes"])
		assert.Equal(t, []any{patient, customer}, seen["subjects"])
	}
	_, feed, err := h.do(t.Context(), http.MethodGet, "/api/v1/events?limit=500&types=transaction.*&tag=subject:"+customer, admin, nil, nil)
	require.NoError(t, err)
	assert.Equal(t, 5, strings.Count(string(feed), `"type":"transaction.`), "%s", feed)
	assert.NotContains(t, string(feed), plantedPersonal)
	assert.NotContains(t, string(feed), plantedSensitive)
}

func dataDir(h *hub) string {
	h.t.Helper()
	for _, entry := range h.env {
		if dir, found := strings.CutPrefix(entry, "HUB_DATA_DIR="); found {
			return dir
		}
	}
	h.t.Fatal("the hub has no data directory")
	return ""
}

// watchedRedis is a Redis, and all that it is told.
type watchedRedis struct {
	*hubtest.Proxy
	mu   sync.Mutex
	told strings.Builder
}

func watchRedis(t *testing.T) *watchedRedis {
	t.Helper()
	w := &watchedRedis{Proxy: hubtest.Redis(t)}
	w.CatchReply(func(asked string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told.WriteString(asked)
		return false
	})
	return w
}

func (w *watchedRedis) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told.String()
}

// unpacked is all that a backup holds, as text.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	packed, err := gzip.NewReader(file)
	require.NoError(t, err)
	text, err := io.ReadAll(packed)
	require.NoError(t, err)
	return string(text)
}

// A sensitive value that somebody moves within the read tables, to another attribute, person
// or organisation, or whose place he rewrites, is shown to nobody: the read fails, or finds
// nothing there.
func TestMovedCiphertextIsNotShown(t *testing.T) {
	t.Parallel()
	database := hubtest.Database(t, hubtest.LogAndViews())
	h := newWhole(t, newIssuer(t), database).start()
	token, privacy := h.as("ana", "admin"), h.as("pia", "privacy")
	h.answers(201, http.MethodPut, "/api/v1/entity-types/patient", token, nil, map[string]any{"title": "P", "data_subject": true, "sensitive": []string{"iban", "diagnosis"}})
	made := func(iban string) (id string, position int64) {
		created := h.answers(201, http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "patient", "attributes": map[string]any{"iban": iban, "diagnosis": "none"}})
		return created["id"].(string), int64(created["position"].(float64))
	}
	victim, _ := made(plantedSensitive)
	other, position := made("DE2")
	read := func(id, token string, header map[string]string) (status int, text string) {
		t.Helper()
		response, body, err := h.do(t.Context(), http.MethodGet, "/api/v1/entities/"+id, token, header, nil)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	status, text := read(victim, privacy, after(position))
	require.Equal(t, 200, status)
	require.Contains(t, text, plantedSensitive)

	admin := hubtest.Pool(t, database, "")
	var original string
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT sealed::text FROM entities_v1.entities WHERE id = $1`, victim).Scan(&original))
	for name, moved := range map[string]struct{ id, sealed string }{
		"to another attribute":          {victim, `jsonb_build_object('diagnosis', $2::jsonb->'iban', 'iban', $2::jsonb->'diagnosis')`},
		"with its place rewritten":      {victim, `jsonb_build_object('diagnosis', jsonb_set($2::jsonb->'iban', '{pointer}', '"/attributes/diagnosis"'))`},
		"to another person":             {other, `$2::jsonb`},
		"with its person rewritten":     {other, `jsonb_build_object('iban', jsonb_set($2::jsonb->'iban', '{subject}', to_jsonb($1::uuid::text)))`},
		"of another event":              {victim, `jsonb_build_object('iban', jsonb_set($2::jsonb->'iban', '{event}', to_jsonb(gen_random_uuid()::text)))`},
		"about more persons than it is": {victim, `jsonb_build_object('iban', jsonb_set($2::jsonb->'iban', '{within}', jsonb_build_array('` + other + `')))`},
	} {
		_, err := admin.Exec(t.Context(), `UPDATE entities_v1.entities SET sealed = `+moved.sealed+` WHERE id = $1`, moved.id, original)
		require.NoError(t, err, name)
		status, text := read(moved.id, privacy, nil)
		assert.Equal(t, http.StatusServiceUnavailable, status, "%s: %s", name, text)
		assert.Contains(t, text, "clear_reads_unavailable", name)
		assert.NotContains(t, text, plantedSensitive, name)
		_, err = admin.Exec(t.Context(), `UPDATE entities_v1.entities SET sealed = $2::jsonb WHERE id = $1`, victim, original)
		require.NoError(t, err)
	}
	// Its whole row in another organisation has nobody's key there.
	_, err := admin.Exec(t.Context(), `UPDATE entities_v1.entities SET org = 'elsewhere' WHERE id = $1`, victim)
	require.NoError(t, err)
	stranger, err := identity.RequestToken(t.Context(), h.issuer, identity.TokenRequest{Sub: "eve", Org: "elsewhere", Roles: []string{"privacy"}})
	require.NoError(t, err)
	status, text = read(victim, stranger, nil)
	assert.Equal(t, 200, status, text)
	assert.NotContains(t, text, plantedSensitive)
	status, _ = read(victim, privacy, nil)
	assert.Equal(t, 404, status)
}
