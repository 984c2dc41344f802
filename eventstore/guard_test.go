package eventstore_test

import (
	"context"
	"fmt"
	neturl "net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/migrations"
)

// Law 3. The statements run as superuser, as the log's owner and as each service.
func TestNobodyChangesTheLog(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.append(t, one(nil, event("a:1", 1)))
	statements := []string{
		`ALTER TABLE events ALTER COLUMN reason TYPE text USING 'forged'`,
		`ALTER TABLE events_p0 ALTER COLUMN reason TYPE varchar`,
		`ALTER TABLE log_epochs DISABLE TRIGGER append_only`, `ALTER POLICY log_reads ON events USING (false)`,
		`ALTER TABLE events DETACH PARTITION events_p2`, `ALTER TABLE events ADD CONSTRAINT c CHECK (org <> 'acme') NOT VALID`,
		`CREATE TRIGGER t BEFORE INSERT ON events_p0 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
		`CREATE TABLE events_p9 PARTITION OF events FOR VALUES FROM (900000000) TO (900000001)`,
		`DROP FUNCTION lock_log()`, `ALTER FUNCTION lock_log() RENAME TO unlock_log`,
		`CREATE OR REPLACE FUNCTION lock_log() RETURNS void LANGUAGE sql AS 'SELECT'`,
		`CREATE OR REPLACE FUNCTION hub_guard.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
		`DROP FUNCTION hub_guard.refuse_change() CASCADE`, `DROP TABLE log_lock`, `DROP INDEX events_org_position`,
		`UPDATE events SET data = data`, `DELETE FROM events`, `TRUNCATE events`, `DROP TABLE events CASCADE`,
		`UPDATE events_p0 SET data = data`, `DELETE FROM events_p0`, `TRUNCATE events_p0`, `DROP TABLE events_p0`,
		`UPDATE events SET data = data WHERE false`,
		`UPDATE event_tags SET tag = tag`, `DELETE FROM event_tags_p0`, `TRUNCATE event_tags CASCADE`, `DROP TABLE event_tags`,
		`DELETE FROM log_epochs`, `UPDATE log_epochs SET after_position = 7`,
		`ALTER TABLE events DISABLE TRIGGER append_only`, `ALTER TABLE events_p0 DISABLE TRIGGER ALL`,
		`ALTER TABLE events DETACH PARTITION events_p1`, `ALTER TABLE events NO FORCE ROW LEVEL SECURITY`,
		`DROP TRIGGER append_only ON events`, `DROP POLICY own_organisation ON events`,
	}
	owner := []string{
		`ALTER TABLE events RENAME TO gone`, `ALTER TABLE events ADD COLUMN x int`, `ALTER TABLE events DROP COLUMN reason`,
		`ALTER TABLE events OWNER TO postgres`, `ALTER POLICY log_reads ON events USING (false)`,
		`CREATE RULE r AS ON INSERT TO events DO INSTEAD NOTHING`,
		`CREATE TRIGGER t BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
		`SET session_replication_role = replica; DELETE FROM events`,
		`DROP SCHEMA public CASCADE`, `DROP OWNED BY hub_log CASCADE`,
	}
	roles := []string{"", "hub_log", "hub_command", "hub_relay", "hub_projector", "hub_query"}
	for _, role := range roles {
		pool := hubtest.Pool(t, l.url, role)
		all := statements
		if role == "" {
			all = append(append([]string{}, statements...), owner...)
		}
		for _, statement := range all {
			_, err := pool.Exec(t.Context(), statement)
			assert.Error(t, err, "%s as %q", statement, role)
		}
	}
	entries, err := l.relayer.ReadLog(t.Context(), 0, 10)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestServicesHaveNoRightsBeyondTheirFunctions(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	rows, err := l.admin(t).Query(t.Context(), `
		SELECT r.rolname, c.relname, p.privilege
		  FROM pg_roles r CROSS JOIN pg_class c
		  CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('SELECT')) AS p(privilege)
		 WHERE r.rolname IN ('hub_command', 'hub_relay', 'hub_projector', 'hub_query')
		   AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
		   AND c.relname ~ '^(events|event_tags|receipts|log_epochs|boundary_snapshots)'
		   AND has_table_privilege(r.oid, c.oid, p.privilege)
		 ORDER BY 1, 2, 3`)
	require.NoError(t, err)
	got := []string{}
	for rows.Next() {
		var role, table, privilege string
		require.NoError(t, rows.Scan(&role, &table, &privilege))
		got = append(got, role+" "+privilege+" "+table)
	}
	require.NoError(t, rows.Err())
	assert.Equal(t, []string{
		"hub_command SELECT event_tags", "hub_command SELECT events", "hub_command SELECT log_epochs",
		"hub_projector SELECT log_epochs",
		"hub_query SELECT event_tags", "hub_query SELECT events", "hub_query SELECT log_epochs",
		"hub_relay SELECT log_epochs",
	}, got)
}

// Law 8: without a WHERE, and without having said whose rows it wants.
func TestAServiceSeesOneOrganisationOnly(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.append(t, one(nil, event("a:1", 1)))
	other := one(nil, event("a:1", 1))
	other.Outcomes[0].Meta.Org = "other"
	l.append(t, other)

	for _, role := range []eventstore.Role{eventstore.RoleCommand, eventstore.RoleQuery} {
		pool := hubtest.Pool(t, l.url, string(role))
		var events, tags int
		count := `SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM event_tags)`
		require.NoError(t, pool.QueryRow(t.Context(), count).Scan(&events, &tags))
		assert.Zero(t, events+tags, "%s without an organisation", role)

		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `SELECT set_config('hub.org', 'acme', true)`)
		require.NoError(t, err)
		require.NoError(t, tx.QueryRow(t.Context(), count).Scan(&events, &tags))
		assert.Equal(t, []int{1, 1}, []int{events, tags}, "%s with one", role)
		require.NoError(t, tx.Rollback(t.Context()))

		for _, sql := range []string{`SELECT * FROM read_log(0, 1)`, `SELECT * FROM receipts`, `SELECT * FROM events_p0`} {
			_, err := pool.Exec(t.Context(), sql)
			assert.Error(t, err, "%s as %s", sql, role)
		}
	}
}

// The log goes on in its second partition, and the next ones are made under the
// guard's eyes. A superuser's INSERT stands in for the 16 million events before.
func TestTheLogCrossesAPartition(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	const last = 1<<24 - 1
	_, err := l.admin(t).Exec(t.Context(), `INSERT INTO events
		SELECT $1, 1, epoch, gen_random_uuid(), 'acme', 'a:0', 1, 'thing.happened', 1, '{a:0}', '{}', '{}', '{}', NULL,
		       NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('') FROM log_head()`, last)
	require.NoError(t, err)
	assert.Equal(t, int64(last), l.append(t, one([]eventstore.Mark{mark("a:1", 0)}, event("a:1", 1))).Base)
	require.NoError(t, l.command.EnsurePartitions(t.Context()))
	var partitions int
	require.NoError(t, l.admin(t).QueryRow(t.Context(), `SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass`).Scan(&partitions))
	assert.Equal(t, 4, partitions)
	appended := l.append(t, one([]eventstore.Mark{mark("a:1", last+1)}, event("a:1", 2)))
	assert.Equal(t, int64(last+1), appended.Base)
	entries, err := l.relayer.ReadLog(t.Context(), last-1, 10)
	require.NoError(t, err)
	assert.Len(t, entries, 3)
	_, err = l.admin(t).Exec(t.Context(), `DELETE FROM events_p3`)
	assert.Error(t, err, "a new partition is guarded, too")
}

func TestMigrationsRunUpAndDown(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Migration{})
	require.NoError(t, migrations.Log.Up(t.Context(), url))
	require.NoError(t, migrations.Projections.Up(t.Context(), url))
	require.NoError(t, migrations.Log.Up(t.Context(), url), "a second time changes nothing")
	store := eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand)))
	require.NoError(t, store.EnsurePartitions(t.Context()))

	require.NoError(t, migrations.Projections.Down(t.Context(), url))
	require.NoError(t, migrations.Log.Down(t.Context(), url), "an empty log may go")
	require.NoError(t, migrations.Log.Up(t.Context(), url))
	_, err := store.Append(t.Context(), one(nil, event("a:1", 1)))
	require.NoError(t, err)

	require.ErrorIs(t, migrations.Log.Down(t.Context(), url), migrations.ErrLogNotEmpty)
	status, err := migrations.Log.Status(t.Context(), url)
	require.NoError(t, err)
	assert.Equal(t, migrations.Status{Set: "log", Version: 1}, status, "a refused down leaves no trace")
	head, _, err := store.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(1), head)
}

// golang-migrate writes down that it begins, runs a file and writes down that it
// ended. Dying before or after the file leaves the same note; both must heal.
func TestAMigrationThatWasCutOffIsRepaired(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]migrations.Set{"log_migrations": migrations.Log, "projection_migrations": migrations.Projections} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := hubtest.Database(t, hubtest.Migration{})
			pool := hubtest.Pool(t, url, "")
			note := func(version int) {
				_, err := pool.Exec(t.Context(), `TRUNCATE `+name)
				require.NoError(t, err)
				_, err = pool.Exec(t.Context(), `INSERT INTO `+name+` VALUES ($1, true)`, version)
				require.NoError(t, err)
			}
			healthy := func(version uint) {
				status, err := set.Status(t.Context(), url)
				require.NoError(t, err)
				assert.Equal(t, version, status.Version)
				assert.False(t, status.Dirty)
			}
			require.NoError(t, set.Up(t.Context(), url))

			note(1)
			status, err := set.Status(t.Context(), url)
			require.NoError(t, err)
			assert.True(t, status.Dirty)
			require.NoError(t, set.Up(t.Context(), url), "up, after the file had committed")
			healthy(1)
			note(-1)
			require.NoError(t, set.Up(t.Context(), url), "up, before the file of a down had committed")
			healthy(1)
			note(1)
			require.NoError(t, set.Down(t.Context(), url), "down, after the file of an up had committed")
			healthy(0)
			note(1)
			require.NoError(t, set.Up(t.Context(), url), "up, before its file had committed")
			healthy(1)
			note(-1)
			require.NoError(t, set.Down(t.Context(), url), "down, before its file had committed")
			healthy(0)
			note(-1)
			require.NoError(t, set.Down(t.Context(), url), "down, after its file had committed")
			healthy(0)
			require.NoError(t, set.Up(t.Context(), url))
			healthy(1)
		})
	}
}

func TestTheLogIsKeptInUTF8Only(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Migration{})
	pool := hubtest.Pool(t, url, "")
	name := fmt.Sprintf("latin_%d", time.Now().UnixNano())
	_, err := pool.Exec(t.Context(), `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'`)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := pool.Exec(context.WithoutCancel(t.Context()), `DROP DATABASE `+name+` WITH (FORCE)`)
		assert.NoError(t, err)
	})
	latin, err := neturl.Parse(url)
	require.NoError(t, err)
	latin.Path = "/" + name
	require.ErrorContains(t, migrations.Log.Up(t.Context(), latin.String()), "UTF8")
}

// A plan that forbids what it must do all the same looks dear enough to be compiled.
func TestNoPlanOfTheLogIsCompiled(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	var compiled []string
	require.NoError(t, l.admin(t).QueryRow(t.Context(), `SELECT coalesce(array_agg(proname::text), '{}') FROM pg_proc
		WHERE 'enable_seqscan=off' = ANY (proconfig) AND NOT 'jit=off' = ANY (proconfig)`).Scan(&compiled))
	assert.Empty(t, compiled)
}
