package archive_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/archive"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/migrations"
)

var keyStore = []string{"hub_keys.masters", "hub_keys.subject_keys", "hub_keys.secrets", "hub_keys.tokens"}

// sealedLog is a log with sealed values, and its keys.
type sealedLog struct {
	t     *testing.T
	url   string
	conn  *pgx.Conn
	store *eventstore.Store
}

func newSealedLog(t *testing.T) *sealedLog {
	t.Helper()
	return sealedLogAt(t, hubtest.Database(t, hubtest.Log()))
}

func sealedLogAt(t *testing.T, url string) *sealedLog {
	t.Helper()
	l := &sealedLog{t: t, url: url, conn: admin(t, url), store: storeOf(t, url)}
	l.exec(`INSERT INTO hub_keys.masters VALUES ('m1');
		INSERT INTO hub_keys.secrets (org, name, wrapped, master) VALUES ('acme', 'hashes', '\x0102', 'm1');
		INSERT INTO hub_keys.tokens VALUES ('acme', decode(repeat('ab', 32), 'hex'), gen_random_uuid())`)
	l.seal("ana")
	l.seal("ben")
	l.exec(`UPDATE hub_keys.subject_keys SET wrapped = NULL, master = NULL, erased_at = clock_timestamp() WHERE subject = 'ben'`)
	return l
}

func (l *sealedLog) exec(sql string, args ...any) {
	l.t.Helper()
	_, err := l.conn.Exec(l.t.Context(), sql, args...)
	require.NoError(l.t, err)
}

func (l *sealedLog) add(events ...eventstore.NewEvent) {
	l.t.Helper()
	_, err := l.store.Append(l.t.Context(), turn("acme", "", events...))
	require.NoError(l.t, err)
}

// seal appends what is sealed for a subject, as the loop does, and its key.
func (l *sealedLog) seal(subject string) {
	l.t.Helper()
	e := event("entity:"+subject, 1, `{"attributes":{"email":{"$sealed":"x","subject":"`+subject+`"},"age":7}}`)
	e.Subjects = []string{subject}
	l.add(e)
	l.exec(`INSERT INTO hub_keys.subject_keys (org, subject, wrapped, master) VALUES ('acme', $1, $2, 'm1')`, subject, []byte("wrapped "+subject))
}

func (l *sealedLog) backup() (log, keys []byte) {
	l.t.Helper()
	var files [2]bytes.Buffer
	summary, err := archive.Backup(l.t.Context(), l.conn, archive.Files{Log: &files[0], Keys: &files[1]}, "hub test", silent)
	require.NoError(l.t, err)
	require.Positive(l.t, summary.Keys.Keys+summary.Keys.Erased)
	return files[0].Bytes(), files[1].Bytes()
}

// keysNow are the keys alone, as `hub keys backup` writes them.
func (l *sealedLog) keysNow() []byte {
	l.t.Helper()
	var file bytes.Buffer
	_, err := archive.BackupKeys(l.t.Context(), l.conn, &file, "hub test")
	require.NoError(l.t, err)
	return file.Bytes()
}

// emptyLog is one to restore into.
func emptyLog(t *testing.T) *pgx.Conn {
	t.Helper()
	return admin(t, hubtest.Database(t, hubtest.Log()))
}

func sources(log, keys []byte) archive.Sources {
	s := archive.Sources{Log: bytes.NewReader(log)}
	if keys != nil {
		s.Keys = bytes.NewReader(keys)
	}
	return s
}

func erasedSubjects(t *testing.T, conn *pgx.Conn) (subjects []string) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(),
		`SELECT ARRAY(SELECT subject FROM hub_keys.subject_keys WHERE erased_at IS NOT NULL AND wrapped IS NULL ORDER BY 1)`).Scan(&subjects))
	return subjects
}

func TestKeysAreRestoredWithTheirLog(t *testing.T) {
	t.Parallel()
	l := newSealedLog(t)
	log, keys := l.backup()
	found, err := archive.VerifyKeys(bytes.NewReader(keys))
	require.NoError(t, err)
	verified, err := archive.Verify(bytes.NewReader(log), silent)
	require.NoError(t, err)
	assert.Equal(t, archive.KeySummary{Keys: 1, Erased: 1, Log: verified.Log, Position: 2, TakenAt: verified.TakenAt}, found)
	assert.NotContains(t, string(log), "hub_keys", "the file of the log has none of it")

	into := emptyLog(t)
	restored, err := archive.Restore(t.Context(), into, sources(log, keys), silent)
	require.NoError(t, err)
	assert.Equal(t, found, restored.Keys)
	assert.Zero(t, restored.Unreadable)
	assert.Equal(t, contents(t, l.conn, keyStore...), contents(t, into, keyStore...))

	var without bytes.Buffer
	summary, err := archive.Backup(t.Context(), l.conn, archive.Files{Log: &without}, "hub test", silent)
	require.NoError(t, err)
	assert.Equal(t, int64(1), summary.KeysLeftOut)
}

// Keys that are older than the log are not enough, and nothing is restored then, unless what
// they lack is to read as erased.
func TestMissingKeysAreNotPassedOver(t *testing.T) {
	t.Parallel()
	l := newSealedLog(t)
	older := l.keysNow()
	l.seal("eve")
	nested := event("entity:x", 1, `{"title":[{"$sealed":"x","subject":"eve","within":["fay"]}],"text":"not \"$sealed\": at all"}`)
	nested.Subjects = []string{"eve", "fay", "has-nothing-sealed"}
	l.add(nested)
	log, newer := l.backup()

	into := emptyLog(t)
	empty := contents(t, into, append(keyStore, "events", "log_epochs")...)
	for name, keys := range map[string][]byte{"older": older, "none": nil} {
		var missing *archive.MissingKeysError
		_, err := archive.Restore(t.Context(), into, sources(log, keys), silent)
		require.ErrorAs(t, err, &missing, name)
		if want := map[string][]string{"older": {"acme/eve", "acme/fay"}, "none": {"acme/ana", "acme/ben", "acme/eve", "acme/fay"}}[name]; assert.Equal(t, want, missing.First, name) {
			assert.Len(t, want, int(missing.Subjects))
		}
		require.ErrorContains(t, err, "acme/eve")
		assert.Equal(t, empty, contents(t, into, append(keyStore, "events", "log_epochs")...), "nothing is restored")
	}

	from := sources(log, newer)
	from.MissingAsErased = true
	restored, err := archive.Restore(t.Context(), into, from, silent)
	require.NoError(t, err)
	assert.Equal(t, int64(1), restored.Unreadable)
	assert.Equal(t, []string{"ben", "fay"}, erasedSubjects(t, into))
}

// Keys that are newer than the log open all of it, and whoever was erased meanwhile stays so.
func TestAnErasureIsCarriedThroughToOlderBackups(t *testing.T) {
	t.Parallel()
	l := newSealedLog(t)
	log, older := l.backup()
	l.seal("eve")
	l.exec(`SELECT hub_keys.erase('acme', 'ana', '{}')`)

	into := emptyLog(t)
	_, err := archive.Restore(t.Context(), into, sources(log, l.keysNow()), silent)
	require.NoError(t, err)
	assert.Equal(t, []string{"ana", "ben"}, erasedSubjects(t, into))

	// With keys from before, the log itself tells who was erased.
	erased := event("subject:ana", 1, `{}`)
	erased.Type, erased.Subjects = "subject.erased", []string{"ana"}
	l.add(erased)
	l.exec(`SELECT hub_keys.erase('acme', 'eve', '{}')`)
	later, _ := l.backup()
	into = emptyLog(t)
	from := sources(later, older)
	from.MissingAsErased = true // eve came after them
	_, err = archive.Restore(t.Context(), into, from, silent)
	require.NoError(t, err)
	assert.Equal(t, []string{"ana", "ben", "eve"}, erasedSubjects(t, into))
}

func TestKeysThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	// Databases of the kit are copies of one, whose epoch they have.
	migrated := hubtest.Database(t, hubtest.Migration{})
	require.NoError(t, migrations.Log.Up(t.Context(), migrated))
	l, other := newSealedLog(t), sealedLogAt(t, migrated)
	log, keys := l.backup()
	into := emptyLog(t)
	_, err := archive.Restore(t.Context(), into, sources(log, other.keysNow()), silent)
	require.ErrorIs(t, err, archive.ErrOtherLog)
	_, err = archive.Restore(t.Context(), into, sources(log, log), silent)
	require.ErrorIs(t, err, archive.ErrDamaged, "the log for the keys")
	_, err = archive.Verify(bytes.NewReader(keys), silent)
	require.ErrorIs(t, err, archive.ErrDamaged, "the keys for the log")
	for i := range 12 {
		at := 10 + (len(keys)-10)*i/12
		changed := bytes.Clone(keys)
		changed[at] ^= 0x55
		for what, damaged := range map[string][]byte{"cut off": keys[:at], "changed": changed} {
			_, err := archive.VerifyKeys(bytes.NewReader(damaged))
			require.ErrorIs(t, err, archive.ErrDamaged, "%s at %d", what, at)
			_, err = archive.Restore(t.Context(), into, sources(log, damaged), silent)
			require.ErrorIs(t, err, archive.ErrDamaged, "%s at %d", what, at)
		}
	}
	_, err = into.Exec(t.Context(), `INSERT INTO hub_keys.subject_keys (org, subject, erased_at) VALUES ('acme', 'zoe', now())`)
	require.NoError(t, err)
	_, err = archive.Restore(t.Context(), into, sources(log, keys), silent)
	require.ErrorIs(t, err, archive.ErrNotEmpty)
}
