package hubtest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// migration makes a schema with all that a clone could lose, and counts its runs.
func migration(fingerprint string, runs *atomic.Int32) hubtest.Migration {
	return hubtest.Migration{Fingerprint: fingerprint, Up: func(ctx context.Context, url string) error {
		runs.Add(1)
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `
			DO $$ BEGIN
				IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hubtest_reader') THEN
					CREATE ROLE hubtest_reader;
				END IF;
				EXECUTE format('GRANT CREATE ON DATABASE %I TO hubtest_reader', current_database());
				EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
				EXECUTE format('ALTER DATABASE %I SET search_path = own, public', current_database());
			END $$;
			CREATE TABLE notes (text text NOT NULL);
			GRANT SELECT ON notes TO hubtest_reader;
			INSERT INTO notes VALUES ('from the template')`)
		return errors.Join(err, conn.Close(ctx))
	}}
}

// unique makes a migration of this run alone: the server may be a shared one.
func unique(t *testing.T) string {
	t.Helper()
	return t.Name() + strconv.FormatInt(time.Now().UnixNano(), 36)
}

func value(t *testing.T, pool *pgxpool.Pool, sql string) string {
	t.Helper()
	var value string
	require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&value))
	return value
}

func TestEachTestHasItsOwnCloneOfOneTemplate(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	schema := migration(unique(t), &runs)
	var wait sync.WaitGroup
	urls := make([]string, 6)
	for i := range urls {
		wait.Go(func() { urls[i] = hubtest.Database(t, schema) })
	}
	wait.Wait()
	require.EqualValues(t, 1, runs.Load())
	for _, url := range urls {
		pool := hubtest.Pool(t, url, "")
		_, err := pool.Exec(t.Context(), "INSERT INTO notes VALUES ('mine')")
		require.NoError(t, err)
		require.Equal(t, "2", value(t, pool, "SELECT count(*)::text FROM notes"))
	}
}

func TestACloneKeepsTheRightsAndSettingsOfItsDatabase(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	pool := hubtest.Pool(t, hubtest.Database(t, migration(unique(t), &runs)), "")
	for privilege, want := range map[string]string{"CREATE": "true", "CONNECT": "true", "TEMPORARY": "false"} {
		require.Equal(t, want, value(t, pool, "SELECT has_database_privilege('hubtest_reader', current_database(), '"+privilege+"')::text"), privilege)
	}
	require.Equal(t, "own, public", value(t, pool, "SHOW search_path"))
}

func TestPoolsActAsTheirRole(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	url := hubtest.Database(t, migration(unique(t), &runs))
	pool := hubtest.Pool(t, url, "hubtest_reader")
	require.Equal(t, "hubtest_reader", value(t, pool, "SELECT current_user::text"))
	require.Equal(t, "from the template", value(t, pool, "SELECT text FROM notes"))
	_, err := pool.Exec(t.Context(), "INSERT INTO notes VALUES ('no')")
	require.ErrorContains(t, err, "permission denied")
}

func TestAnUnfinishedTemplateIsMadeAgain(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	schema := migration(unique(t), &runs)
	failing := schema
	failing.Up = func(ctx context.Context, url string) error {
		return errors.Join(schema.Up(ctx, url), errors.New("half way"))
	}
	failed := make(chan struct{})
	go func() { // a goroutine of its own, because it is ended
		defer close(failed)
		hubtest.Database(&ended{TB: t}, failing)
	}()
	hubtest.Wait(t, time.Minute, "the failure", failed)
	pool := hubtest.Pool(t, hubtest.Database(t, schema), "")
	require.EqualValues(t, 2, runs.Load())
	require.Equal(t, "1", value(t, pool, "SELECT count(*)::text FROM notes"))
}

// ended is a test that is expected to fail.
type ended struct{ testing.TB }

func (e *ended) Fatalf(string, ...any) { runtime.Goexit() }

func TestDatabasesAreDropped(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("inner", func(t *testing.T) {
		pool := hubtest.Pool(t, hubtest.Database(t, hubtest.Migration{}), "")
		name = value(t, pool, "SELECT current_database()::text")
	})
	pool := hubtest.Pool(t, hubtest.Database(t, hubtest.Migration{}), "")
	require.Equal(t, "0", value(t, pool, "SELECT count(*)::text FROM pg_database WHERE datname = '"+name+"'"))
}

func TestBrokerKeepsItsStoreOverAnOutage(t *testing.T) {
	t.Parallel()
	broker := hubtest.NATS(t)
	_, err := broker.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
	require.NoError(t, err)
	broker.Stop()
	require.Error(t, broker.Conn.Flush())
	broker.Start()
	_, err = broker.JetStream.Stream(t.Context(), "KEPT")
	require.NoError(t, err)
}

func TestBrokerProcessKeepsItsAddressWhenKilled(t *testing.T) {
	t.Parallel()
	broker := hubtest.NATSProcess(t)
	conn, err := nats.Connect(broker.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
	require.NoError(t, err)
	lost, back := conn.StatusChanged(nats.RECONNECTING), conn.StatusChanged(nats.CONNECTED)
	broker.Kill()
	hubtest.Wait(t, time.Minute, "the loss", lost)
	broker.Start()
	hubtest.Wait(t, time.Minute, "the reconnection", back)
	_, err = js.Stream(t.Context(), "KEPT")
	require.NoError(t, err)
}

func TestDurableServerKeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	server := hubtest.DurableServer(t, nil)
	do := func(do func(*pgx.Conn) error) {
		conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.Background()) }()
		require.NoError(t, do(conn))
	}
	execute := func(sql string) {
		do(func(conn *pgx.Conn) error {
			_, err := conn.Exec(t.Context(), sql)
			return err
		})
	}
	ask := func(sql string) (value string) {
		do(func(conn *pgx.Conn) error { return conn.QueryRow(t.Context(), sql).Scan(&value) })
		return value
	}
	require.Equal(t, "on", ask("SHOW fsync"))
	require.Equal(t, "on", ask("SHOW synchronous_commit"))
	execute("CREATE TABLE kept ()")
	for i, stop := range []func(){server.Kill, server.StopImmediate, server.StopFast} {
		execute("INSERT INTO kept DEFAULT VALUES")
		stop()
		server.Start()
		require.Equal(t, strconv.Itoa(i+1), ask("SELECT count(*)::text FROM kept"))
	}

	server.StopFast()
	restore := server.Keep()
	server.Start()
	execute("INSERT INTO kept DEFAULT VALUES")
	server.Kill()
	restore()
	server.Start()
	require.Equal(t, "3", ask("SELECT count(*)::text FROM kept"), "as it was when it was copied")
}

func TestFreePorts(t *testing.T) {
	t.Parallel()
	seen := make(map[int]bool)
	for range 200 {
		port := hubtest.FreePort(t)
		require.False(t, seen[port], "given twice in one test")
		seen[port] = true
	}
}

// A package's tests that kill the real program get it from here.
func TestBinaryIsBuiltOnce(t *testing.T) {
	t.Parallel()
	path := hubtest.Binary(t)
	require.NoError(t, exec.Command(path, "version").Run())
	require.Equal(t, path, hubtest.Binary(t))
}

func TestTestserver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "testserver")
	build, err := exec.Command("go", "build", "-race=false", "-o", path, "./testserver").CombinedOutput()
	require.NoError(t, err, string(build))
	// The command under it tells the address, and then waits for ever.
	const waits = `echo "$` + hubtest.DatabaseVariable + `"; read -r _`

	t.Run("passes on the address and the exit code", func(t *testing.T) {
		t.Parallel()
		output, err := exec.Command(path, "/bin/sh", "-c", `echo "$`+hubtest.DatabaseVariable+`"; exit 7`).Output()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 7, exit.ExitCode())
		require.NoDirExists(t, folderOf(t, string(output)))
	})
	t.Run("passes on signals", func(t *testing.T) {
		t.Parallel()
		running := startWaiting(t, path, waits)
		require.NoError(t, running.command.Process.Signal(syscall.SIGTERM))
		var exit *exec.ExitError
		require.ErrorAs(t, running.command.Wait(), &exit)
		require.Equal(t, 128+int(syscall.SIGTERM), exit.ExitCode())
		require.NoDirExists(t, running.folder)
	})
	t.Run("leaves nothing when killed", func(t *testing.T) {
		t.Parallel()
		running := startWaiting(t, path, waits)
		require.NoError(t, running.command.Process.Kill())
		// What still ran would still hold the other end.
		_, err := running.output.ReadString('\n')
		require.ErrorIs(t, err, io.EOF)
		_ = running.command.Wait()
		deadline := time.After(time.Minute)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			if _, err := os.Stat(running.folder); errors.Is(err, os.ErrNotExist) {
				return
			}
			select {
			case <-ticker.C:
			case <-deadline:
				t.Fatalf("%s is still there", running.folder)
			}
		}
	})
}

// waiting is a testserver whose command waits.
type waiting struct {
	command *exec.Cmd
	output  *bufio.Reader
	folder  string // of its server
}

func startWaiting(t *testing.T, path, script string) waiting {
	t.Helper()
	command := exec.Command(path, "/bin/sh", "-c", script)
	_, err := command.StdinPipe() // open until the test ends
	require.NoError(t, err)
	pipe, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill() })
	output := bufio.NewReader(pipe)
	address, err := output.ReadString('\n')
	require.NoError(t, err)
	return waiting{command: command, output: output, folder: folderOf(t, address)}
}

// folderOf is the temporary folder of the server with this address.
func folderOf(t *testing.T, address string) string {
	t.Helper()
	config, err := pgx.ParseConfig(strings.TrimSpace(address))
	require.NoError(t, err)
	require.Contains(t, config.Host, "hub-test-")
	return filepath.Dir(filepath.Dir(config.Host))
}
