package eventstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// receipts writes n receipts with keys from a prefix, that many days old, past the log.
func (l log) receipts(t *testing.T, prefix string, n, days int) {
	t.Helper()
	_, err := l.admin(t).Exec(t.Context(), `INSERT INTO receipts
		SELECT gen_random_uuid(), 'acme', 'ana', $1 || n, sha256(''), NULL, 'thing', false, 0, NULL, 0,
		       now() - make_interval(days => $3)
		  FROM generate_series(1, $2) n`, prefix, n, days)
	require.NoError(t, err)
}

func (l log) keys(t *testing.T) (keys map[string]int) {
	t.Helper()
	rows, err := l.admin(t).Query(t.Context(), `SELECT left(idempotency_key, 3), count(*) FROM receipts GROUP BY 1`)
	require.NoError(t, err)
	keys = map[string]int{}
	for rows.Next() {
		var key string
		var count int
		require.NoError(t, rows.Scan(&key, &count))
		keys[key] = count
	}
	require.NoError(t, rows.Err())
	return keys
}

// Receipts past their life go, whatever page they lie on; all others stay, however
// often it is asked.
func TestReceiptsArePurgedAfterTheirLife(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for range 3 {
		l.receipts(t, "old", 700, 8)
		l.receipts(t, "new", 700, 6)
		_, err := l.admin(t).Exec(t.Context(), `UPDATE receipts SET idempotency_key = idempotency_key || '-' || command_id`)
		require.NoError(t, err)
	}
	registry := telemetry.New("test")
	purge := eventstore.NewPurge(l.command, slog.New(slog.DiscardHandler), registry)
	steps := purge.Round(t, 5)
	assert.Greater(t, steps, 10, "the table has many pages")
	assert.Equal(t, map[string]int{"new": 2100}, l.keys(t))

	// Where the old ones were there is room for new ones, and these are found as well.
	_, err := l.admin(t).Exec(t.Context(), `VACUUM receipts`)
	require.NoError(t, err)
	l.receipts(t, "odd", 500, 30)
	purge.Round(t, 1)
	assert.Equal(t, map[string]int{"new": 2100}, l.keys(t))
	recorder := httptest.NewRecorder()
	registry.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Contains(t, recorder.Body.String(), "\nhub_receipts_purged_total 2600\n")
}

// While a purge is under way, and while somebody else purges, commands go on.
func TestPurgingHoldsUpNobody(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.receipts(t, "old", 500, 8)
	tx, err := hubtest.Pool(t, l.url, string(eventstore.RoleCommand)).Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	var purged, next, all int64
	require.NoError(t, tx.QueryRow(t.Context(), `SELECT * FROM purge_receipts(0, 1024)`).Scan(&purged, &next, &all))
	require.Equal(t, []int64{500, 0}, []int64{purged, next})
	for n := range int64(20) {
		stream := domain.NewTag("a", fmt.Sprint(n))
		turn := one([]eventstore.Mark{mark(stream, 0)}, event(stream, 1))
		turn.Outcomes[0].IdempotencyKey, turn.Outcomes[0].RequestHash = fmt.Sprint(n), []byte("h")
		assert.Equal(t, n, l.append(t, turn).Base)
	}
	require.NoError(t, tx.Commit(t.Context()))
	assert.Len(t, l.keys(t), 20)
}

// Nobody can purge what still lives, nor delete otherwise.
func TestOnlyThePurgeDeletesReceipts(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.receipts(t, "new", 10, 6)
	l.receipts(t, "old", 10, 8)
	command := hubtest.Pool(t, l.url, string(eventstore.RoleCommand))
	_, err := command.Exec(t.Context(), `DELETE FROM receipts`)
	require.Error(t, err)
	for _, role := range []eventstore.Role{eventstore.RoleRelay, eventstore.RoleProjector, eventstore.RoleQuery} {
		_, err := hubtest.Pool(t, l.url, string(role)).Exec(t.Context(), `SELECT purge_receipts(0, 1)`)
		assert.Error(t, err, "%s", role)
	}
	admin := l.admin(t)
	_, err = admin.Exec(t.Context(), `SET ROLE hub_purge`)
	require.NoError(t, err)
	tag, err := admin.Exec(t.Context(), `DELETE FROM receipts`)
	require.NoError(t, err)
	assert.EqualValues(t, 10, tag.RowsAffected(), "it does not see the others")
	for _, sql := range []string{`SELECT * FROM events`, `UPDATE receipts SET version = 1`, `TRUNCATE receipts`, `SELECT lock_log()`} {
		_, err := admin.Exec(t.Context(), sql)
		assert.Error(t, err, sql)
	}
}

// A purge that runs goes on after a fault.
func TestAPurgeThatRuns(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.receipts(t, "old", 10, 8)
	admin := l.admin(t)
	_, err := admin.Exec(t.Context(), `REVOKE EXECUTE ON FUNCTION purge_receipts FROM hub_command`)
	require.NoError(t, err)
	purge := eventstore.NewPurge(l.command, slog.New(slog.DiscardHandler), telemetry.New("test"))
	purge.Every(time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- purge.Run(ctx) }()
	_, err = admin.Exec(t.Context(), `GRANT EXECUTE ON FUNCTION purge_receipts TO hub_command`)
	require.NoError(t, err)
	assert.Eventually(t, func() bool {
		var left int
		err := admin.QueryRow(t.Context(), `SELECT count(*) FROM receipts`).Scan(&left)
		return err == nil && left == 0
	}, 30*time.Second, 10*time.Millisecond)
	stop()
	require.NoError(t, hubtest.Wait(t, 30*time.Second, "the end", ended))
}
