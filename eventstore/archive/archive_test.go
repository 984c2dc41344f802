package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/archive"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

func silent(int64, int64) {}

// admin is a superuser's connection.
func admin(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func storeOf(t *testing.T, url string) *eventstore.Store {
	t.Helper()
	return eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand)))
}

// turn is one command of an organisation with an idempotency key.
func turn(org, key string, events ...eventstore.NewEvent) eventstore.Turn {
	meta := domain.Meta{
		Org: org, Actor: domain.Actor{Sub: "ana", Person: "p-ana"}, CommandID: uuid.Must(uuid.NewV7()),
		Now: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC), RequestID: "r-1",
	}
	return eventstore.Turn{Outcomes: []eventstore.Outcome{{Meta: meta, IdempotencyKey: key, RequestHash: []byte("hash"), Events: events}}}
}

func event(stream string, version int64, data string, tags ...domain.Tag) eventstore.NewEvent {
	return eventstore.NewEvent{
		ID: uuid.Must(uuid.NewV7()), Stream: domain.Tag(stream), Version: version, Type: "thing.happened", SchemaVersion: 1,
		Tags: append([]domain.Tag{domain.Tag(stream)}, tags...), Data: []byte(data),
	}
}

// filled is a log with events of two organisations, of all sizes, and a refusal.
func filled(t *testing.T) string {
	t.Helper()
	url := hubtest.Database(t, hubtest.Log())
	store := storeOf(t, url)
	add := func(of eventstore.Turn) {
		result, err := store.Append(t.Context(), of)
		require.NoError(t, err)
		require.NotZero(t, result)
	}
	add(turn("acme", "k1", event("a:1", 1, `{"n":1}`, "key:x/ü"), event("a:1", 2, `{}`)))
	add(turn("other", "", event("a:1", 1, `{"text":"`+strings.Repeat("x", 200_000)+`"}`)))
	for n := range 40 {
		add(turn("acme", "", event(fmt.Sprintf("b:%d", n), 1, `{"text":"`+strings.Repeat("y", 150_000)+`"}`, "z:1")))
	}
	refusal := turn("acme", "k2")
	refusal.Outcomes[0].Refusal = []byte(`{"code":"no"}`)
	add(refusal)
	return url
}

func backup(t *testing.T, url string) []byte {
	t.Helper()
	var file bytes.Buffer
	_, err := archive.Backup(t.Context(), admin(t, url), archive.Files{Log: &file}, "hub test", silent)
	require.NoError(t, err)
	return file.Bytes()
}

// contents are all rows of the log, as text.
func contents(t *testing.T, conn *pgx.Conn, tables ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, table := range tables {
		var text string
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM "+table+" t").Scan(&text))
		found[table] = text
	}
	return found
}

func TestARestoredLogIsTheSameInANewEpoch(t *testing.T) {
	t.Parallel()
	url := filled(t)
	file := backup(t, url)
	verified, err := archive.Verify(bytes.NewReader(file), silent)
	require.NoError(t, err)
	assert.Equal(t, int64(43), verified.Events)
	assert.Equal(t, int64(43), verified.Receipts)

	into := hubtest.Database(t, hubtest.Log())
	conn := admin(t, into)
	var last, total int64
	restored, err := archive.Restore(t.Context(), conn, archive.Sources{Log: bytes.NewReader(file)}, func(done, of int64) { last, total = done, of })
	require.NoError(t, err)
	assert.Equal(t, []int64{43, 43}, []int64{last, total})
	before := contents(t, admin(t, url), "events", "event_tags", "receipts")
	assert.Equal(t, before, contents(t, conn, "events", "event_tags", "receipts"))

	store := storeOf(t, into)
	was, err := storeOf(t, url).History(t.Context())
	require.NoError(t, err)
	is, err := store.History(t.Context())
	require.NoError(t, err)
	assert.Equal(t, was.Log(), is.Log(), "the same log")
	require.Len(t, is.Epochs, 2)
	assert.Equal(t, restored.Epoch, is.Epoch())
	assert.Equal(t, []int64{43, 43}, []int64{is.Epochs[1].After, is.Epochs[1].Fork})
	assert.True(t, is.Has(was.Epoch(), 43), "who has seen all of the backup goes on")
	assert.False(t, is.Has(was.Epoch(), 44), "who has seen more does not")

	_, err = store.Append(t.Context(), turn("acme", "", event("c:1", 1, `{}`)))
	require.NoError(t, err)
	var position, inOrg int64
	var epoch uuid.UUID
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT position, org_position, epoch FROM events ORDER BY position DESC LIMIT 1`).Scan(&position, &inOrg, &epoch))
	assert.Equal(t, []int64{44, 43}, []int64{position, inOrg}, "numbers go on")
	assert.Equal(t, restored.Epoch, epoch)

	_, err = archive.Restore(t.Context(), conn, archive.Sources{Log: bytes.NewReader(file)}, silent)
	require.ErrorIs(t, err, archive.ErrNotEmpty)
	// A backup of what was restored is one, too, and its epochs are all of them.
	_, err = archive.Verify(bytes.NewReader(backup(t, into)), silent)
	require.NoError(t, err)
}

// Whatever byte of a backup is changed, and wherever it ends, nothing of it is restored.
func TestADamagedBackupRestoresNothing(t *testing.T) {
	t.Parallel()
	file := backup(t, filled(t))
	into := hubtest.Database(t, hubtest.Log())
	conn := admin(t, into)
	empty := contents(t, conn, "events", "event_tags", "receipts", "log_epochs")
	refuse := func(what string, damaged []byte) {
		_, err := archive.Verify(bytes.NewReader(damaged), silent)
		require.ErrorIs(t, err, archive.ErrDamaged, what)
		_, err = archive.Restore(t.Context(), conn, archive.Sources{Log: bytes.NewReader(damaged)}, silent)
		require.ErrorIs(t, err, archive.ErrDamaged, what)
	}
	for i := range 24 {
		at := 10 + (len(file)-10)*i/24
		refuse(fmt.Sprintf("cut off at %d of %d", at, len(file)), file[:at])
		changed := bytes.Clone(file)
		changed[at] ^= 0x55
		refuse(fmt.Sprintf("changed at %d of %d", at, len(file)), changed)
	}
	refuse("no byte", nil)
	assert.Equal(t, empty, contents(t, conn, "events", "event_tags", "receipts", "log_epochs"))
}

// A log that somebody has changed with all guards off is not backed up as if it were one.
func TestAChangedLogIsNotBackedUp(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]string{
		"another byte":   `UPDATE events SET data = '{"n":2}' WHERE position = 1`,
		"another reason": `UPDATE events SET reason = 'none' WHERE position = 2`,
		"one is missing": `DELETE FROM events WHERE position = 2`,
		"the last ones":  `DELETE FROM events WHERE position > 40`,
	} {
		url := filled(t)
		conn := admin(t, url)
		_, err := conn.Exec(t.Context(), `ALTER EVENT TRIGGER log_refuses_ddl DISABLE; ALTER TABLE events DISABLE TRIGGER append_only;
			ALTER TABLE events_p0 DISABLE TRIGGER append_only`)
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), change)
		require.NoError(t, err)
		_, err = archive.Backup(t.Context(), conn, archive.Files{Log: new(bytes.Buffer)}, "hub test", silent)
		if what == "the last ones" {
			// What is missing at the end leaves no gap: epochs and checkpoints tell that.
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "damaged", what)
	}
}

func TestABackupEndsWithItsWriterOrItsDatabase(t *testing.T) {
	t.Parallel()
	conn := admin(t, filled(t))
	broken := errors.New("disk full")
	_, err := archive.Backup(t.Context(), conn, archive.Files{Log: failing{broken}}, "hub test", silent)
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = archive.Backup(ctx, conn, archive.Files{Log: new(bytes.Buffer)}, "hub test", func(int64, int64) { cancel() })
	require.Error(t, err)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestABackupNeedsALoginThatSeesEverything(t *testing.T) {
	t.Parallel()
	url := filled(t)
	file := backup(t, url)
	conn := admin(t, url)
	_, err := conn.Exec(t.Context(), `SET ROLE hub_query`)
	require.NoError(t, err)
	_, err = archive.Backup(t.Context(), conn, archive.Files{Log: new(bytes.Buffer)}, "hub test", silent)
	require.ErrorContains(t, err, "MIGRATE_DATABASE_URL")
	_, err = archive.Restore(t.Context(), conn, archive.Sources{Log: bytes.NewReader(file)}, silent)
	require.ErrorContains(t, err, "MIGRATE_DATABASE_URL")
}
