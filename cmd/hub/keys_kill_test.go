package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/local"
)

// sealedLoad has callers who make persons, each with a key of its own, and who all give
// the same customers their first sensitive value, whose key only one of them can make.
type sealedLoad struct {
	*hub
	token string

	mu sync.Mutex
	// ibans are those of persons and customers that were acknowledged, by id; of a customer
	// any of them may be the last.
	ibans map[string][]string
	// left is how many are to be acknowledged before the process is killed.
	left    int
	reached chan struct{}
}

func (l *sealedLoad) acknowledged(id, iban string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ibans[id] = append(l.ibans[id], iban)
	if l.left--; l.left == 0 {
		close(l.reached)
	}
}

// write sends a command with a sealed value, and reports whether it was acknowledged.
func (l *sealedLoad) write(method, path, iban string, body map[string]any) bool {
	response, answer, err := l.do(l.t.Context(), method, path, l.token, nil, body)
	if err != nil || response.StatusCode >= 300 {
		return false // killed
	}
	var r receipt
	if json.Unmarshal(answer, &r) != nil {
		return false
	}
	l.acknowledged(r.ID, iban)
	return true
}

// untilKilled loads the hub and kills it in the middle.
func (l *sealedLoad) untilKilled(round, enough int) {
	l.t.Helper()
	const callers, shared = 8, 200
	customers := make([]string, shared)
	for n := range customers {
		created, _ := l.send(http.MethodPost, "/api/v1/entities", l.token, nil, map[string]any{"type": "customer", "attributes": map[string]any{"n": n}})
		customers[n] = created.ID
	}
	l.left, l.reached = enough, make(chan struct{})
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for n := 0; ; n++ {
				iban := fmt.Sprintf("IBAN-%d-%d-%d", round, caller, n)
				person := map[string]any{"type": "patient", "key": iban, "attributes": map[string]any{"iban": iban}}
				customer := map[string]any{"attributes": map[string]any{"iban": iban}}
				if !l.write(http.MethodPost, "/api/v1/entities", iban, person) || !l.write(http.MethodPatch, "/api/v1/entities/"+customers[n%shared], iban, customer) {
					return
				}
			}
		})
	}
	<-l.reached
	l.kill()
	group.Wait()
}

// Whenever a hub is killed that makes keys: every sealed value that was acknowledged opens,
// and there is a key, and a token, exactly where something is sealed by it.
func TestKilledWhileKeysAreMade(t *testing.T) {
	t.Parallel()
	l := &sealedLoad{hub: newDevHub(t).start(), ibans: map[string][]string{}}
	l.token = l.hub.token("acme", "admin")
	for name, personal := range map[string]bool{"patient": true, "customer": false} {
		l.send(http.MethodPut, "/api/v1/entity-types/"+name, l.token, nil, map[string]any{
			"title": name, "schema": map[string]any{"type": "object"}, "data_subject": personal, "sensitive": []string{"iban"},
		})
	}
	for round, enough := range []int{1, 30, 100, 170} {
		l.untilKilled(round, enough)
		l.start()
		l.token = l.hub.token("acme", "admin")
	}
	require.GreaterOrEqual(t, len(l.ibans), 50)

	head := int64(len(l.replay()))
	persons := 0
	for _, item := range l.all(l.as("pia", "privacy"), head) {
		id := item["id"].(string)
		ibans, seen := l.ibans[id], attributesOf(t, item)["iban"]
		switch {
		case len(ibans) == 0: // nothing of it was acknowledged, though it may be there
		case item["type"] == "patient":
			persons++
			assert.Equal(t, ibans[0], seen, "the person %s", id)
		default:
			// What was not acknowledged may have come after what was.
			assert.Regexp(t, `^IBAN-\d+-\d+-\d+$`, seen, "the customer %s", id)
		}
		delete(l.ibans, id)
	}
	assert.Empty(t, l.ibans, "acknowledged and not there")
	assert.Positive(t, persons)
	// Each stream of every view: a value that does not open parks it.
	l.command("projections", "rebuild", "entities")
	l.command("projections", "verify")
	assert.NotContains(t, l.command("projections", "parked"), "entity")
	l.keysAreThoseOfTheLog()
}

// keysAreThoseOfTheLog compares the key store with what is sealed in the log.
func (l *sealedLoad) keysAreThoseOfTheLog() {
	l.t.Helper()
	dir := strings.TrimPrefix(l.env[0], "HUB_DATA_DIR=")
	url, err := local.RunningPostgres(filepath.Join(dir, postgresDir), databaseName)
	require.NoError(l.t, err)
	conn, err := pgx.Connect(l.t.Context(), url)
	require.NoError(l.t, err)
	defer func() { assert.NoError(l.t, conn.Close(l.t.Context())) }()
	count := func(sql string) (n int) {
		l.t.Helper()
		require.NoError(l.t, conn.QueryRow(l.t.Context(), sql).Scan(&n))
		return n
	}
	// The values themselves say by whose key they are sealed; nothing here is about several.
	const sealing = `SELECT DISTINCT e.org, v.sealed->>'subject' FROM events e
		 CROSS JOIN LATERAL jsonb_path_query(convert_from(e.data, 'UTF8')::jsonb, '$.** ? (exists(@."$sealed"))') AS v(sealed)`
	assert.Positive(l.t, count(`SELECT count(*) FROM hub_keys.subject_keys`))
	assert.Zero(l.t, count(`SELECT count(*) FROM (`+sealing+` EXCEPT SELECT org, subject FROM hub_keys.subject_keys) x`), "sealed without a key")
	assert.Zero(l.t, count(`SELECT count(*) FROM (SELECT org, subject FROM hub_keys.subject_keys EXCEPT `+sealing+`) x`), "keys of which nothing is sealed")
	assert.Zero(l.t, count(`SELECT count(*) FROM hub_keys.subject_keys WHERE wrapped IS NULL`))
	const named = `SELECT DISTINCT org, split_part(tag, '/', 2) FROM event_tags WHERE tag LIKE 'key:patient/%'`
	assert.Positive(l.t, count(`SELECT count(*) FROM hub_keys.tokens`))
	assert.Zero(l.t, count(`SELECT count(*) FROM (`+named+` EXCEPT SELECT org, token::text FROM hub_keys.tokens) x`), "names without a token")
	assert.Zero(l.t, count(`SELECT count(*) FROM (SELECT org, token::text FROM hub_keys.tokens EXCEPT `+named+`) x`), "tokens that stand for nothing")
}
