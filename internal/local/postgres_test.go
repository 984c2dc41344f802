package local_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
)

// childVariable makes this test binary a process that runs a private server and
// waits to be killed.
const childVariable = "LOCAL_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		runChild(dir)
		return
	}
	hubtest.Main(m)
}

func runChild(dir string) {
	postgres, err := local.StartPostgres(context.Background(), local.PostgresOptions{DataDir: dir, Durable: true})
	if err != nil {
		fmt.Fprintln(os.Stdout, "failed:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, postgres.URL("postgres"))
	<-postgres.Done()
}

// child is this test binary, running a server as a user of its own.
type child struct {
	command *exec.Cmd
	output  *bufio.Reader
}

// startChild runs a child on dir; user is who it is, empty for ourselves.
func startChild(t *testing.T, dir, userName string) *child {
	t.Helper()
	path := filepath.Join(hubtest.TempDir(t), "child") // where any user can run it
	// Copied by another process: a file that one of ours had open for writing
	// may be so still in a child that is being forked, and cannot be run then.
	require.NoError(t, exec.Command("cp", os.Args[0], path).Run())
	require.NoError(t, os.Chmod(path, 0o755))
	command := exec.Command(path)
	command.Dir = "/"
	command.Env = append(os.Environ(), childVariable+"="+dir)
	if userName != "" {
		uid, gid := idsOf(t, userName)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return &child{command: command, output: bufio.NewReader(output)}
}

// url waits until the server is up.
func (c *child) url(t *testing.T) string {
	t.Helper()
	line, err := c.output.ReadString('\n')
	require.NoError(t, err, line)
	require.Contains(t, line, "postgres://")
	return strings.TrimSpace(line)
}

// kill ends the child as kill -9 does.
func (c *child) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, c.command.Process.Kill())
	_ = c.command.Wait()
}

func idsOf(t *testing.T, name string) (uid, gid uint32) {
	t.Helper()
	found, err := user.Lookup(name)
	require.NoError(t, err)
	u, err := strconv.ParseUint(found.Uid, 10, 32)
	require.NoError(t, err)
	g, err := strconv.ParseUint(found.Gid, 10, 32)
	require.NoError(t, err)
	return uint32(u), uint32(g)
}

// runners are the users that a test can be run as: ourselves, and for root an
// ordinary one too.
func runners() []string {
	if os.Getuid() == 0 {
		return []string{"", "nobody"}
	}
	return []string{""}
}

// dataDirFor is an empty data directory that the user can write to.
func dataDirFor(t *testing.T, userName string) string {
	t.Helper()
	dir := filepath.Join(hubtest.TempDir(t), "postgres")
	require.NoError(t, os.Mkdir(dir, 0o700))
	if userName != "" {
		uid, gid := idsOf(t, userName)
		require.NoError(t, os.Chown(dir, int(uid), int(gid)))
	}
	return dir
}

// start is without fsync, because the disk is what takes the time: whoever dies
// in these tests, the machine does not.
func start(t *testing.T, dir string) *local.Postgres {
	t.Helper()
	return startWith(t, local.PostgresOptions{DataDir: dir})
}

func startWith(t *testing.T, options local.PostgresOptions) *local.Postgres {
	t.Helper()
	postgres, err := local.StartPostgres(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, postgres.Stop(context.Background())) })
	return postgres
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn := connect(t, url)
	var value string
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&value))
	require.NoError(t, conn.Close(t.Context()))
	return value
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn := connect(t, url)
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

// until waits for something that nobody signals, such as another process's end.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(t, err)
	return pid
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestDataSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	first := start(t, dir)
	execute(t, first.URL("postgres"), "CREATE TABLE kept AS SELECT 'it' AS what")
	execute(t, first.URL("postgres"), "CREATE DATABASE other")
	require.Equal(t, "other", query(t, first.URL("other"), "SELECT current_database()"))
	require.NoError(t, first.Stop(t.Context()))
	hubtest.Wait(t, time.Second, "the end of the server", first.Done())
	require.NoError(t, first.Stop(t.Context()), "stopping twice is once")

	second := start(t, dir)
	require.Equal(t, "it", query(t, second.URL("postgres"), "SELECT what FROM kept"))
}

func TestDurabilityCannotBeEditedAway(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	first := start(t, dir)
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		execute(t, first.URL("postgres"), "ALTER SYSTEM SET "+setting+" = off")
	}
	require.NoError(t, first.Stop(t.Context()))
	second := startWith(t, local.PostgresOptions{DataDir: dir, Durable: true})
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit", "data_checksums"} {
		require.Equal(t, "on", query(t, second.URL("postgres"), "SHOW "+setting), setting)
	}
	require.Empty(t, query(t, second.URL("postgres"), "SHOW listen_addresses"))
}

func TestRecoversFromACrashOfTheServer(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	first := startWith(t, local.PostgresOptions{DataDir: dir, Durable: true})
	execute(t, first.URL("postgres"), "CREATE TABLE kept AS SELECT 'it' AS what")
	// A busy backend outlives its postmaster for a moment, and holds the memory.
	busy := connect(t, first.URL("postgres"))
	first.Kill()
	second := start(t, dir)
	require.Equal(t, "it", query(t, second.URL("postgres"), "SELECT what FROM kept"))
	require.Error(t, busy.Ping(t.Context()))
}

func TestNothingStaysAfterAKilledProcess(t *testing.T) {
	t.Parallel()
	for _, runner := range runners() {
		t.Run("as "+runner, func(t *testing.T) {
			t.Parallel()
			dir := dataDirFor(t, runner)
			first := startChild(t, dir, runner)
			url := first.url(t)
			execute(t, url, "CREATE TABLE kept AS SELECT 'it' AS what")
			server := postmaster(t, dir)
			first.kill(t)
			until(t, "the server to follow its process", func() bool { return gone(server) })
			require.NoFileExists(t, filepath.Join(dir, "data", "postmaster.pid"))

			second := startChild(t, dir, runner)
			require.Equal(t, "it", query(t, second.url(t), "SELECT what FROM kept"))
			// At once after the death of its process the server may still be
			// there; the next start waits for it.
			second.kill(t)
			third := startChild(t, dir, runner)
			require.Equal(t, "it", query(t, third.url(t), "SELECT what FROM kept"))
		})
	}
}

func TestAnInterruptedFirstStartLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	interrupted := startChild(t, dir, "")
	half := filepath.Join(dir, "initdb-*", "PG_VERSION")
	until(t, "initdb to be under way", func() bool {
		found, err := filepath.Glob(half)
		return err == nil && len(found) > 0
	})
	interrupted.kill(t)
	require.NoDirExists(t, filepath.Join(dir, "data"))

	start(t, dir)
	left, err := filepath.Glob(filepath.Join(dir, "initdb-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestStopsAServerLeftBehind(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	first := start(t, dir)
	execute(t, first.URL("postgres"), "CREATE TABLE kept AS SELECT 'it' AS what")
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", postmaster(t, dir)))
	require.NoError(t, err)
	require.NoError(t, first.Stop(t.Context()))

	orphan := asOwner(t, filepath.Join(dir, "data"), program, "-D", filepath.Join(dir, "data"), "-k", filepath.Join(dir, "run"), "-h", "")
	until(t, "the other server", func() bool {
		conn, err := pgx.Connect(t.Context(), first.URL("postgres"))
		return err == nil && conn.Close(t.Context()) == nil
	})
	second := start(t, dir)
	hubtest.Wait(t, time.Minute, "the end of the other server", orphan.done)
	require.NotEqual(t, orphan.pid, postmaster(t, dir))
	require.Equal(t, "it", query(t, second.URL("postgres"), "SELECT what FROM kept"))
}

func TestLeavesAStrangerAloneThatGotTheProcessNumber(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	first := start(t, dir)
	require.NoError(t, first.Stop(t.Context()))
	stranger := asOwner(t, filepath.Join(dir, "data"), "/bin/sh", "-c", "read -r _")
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	require.NoError(t, os.WriteFile(pidFile, fmt.Appendf(nil, "%d\n%s\n", stranger.pid, filepath.Join(dir, "data")), 0o600))

	start(t, dir)
	hubtest.Silent(t, "the stranger was ended", stranger.done)
}

// other is a process of the user whom a folder belongs to.
type other struct {
	pid  int
	done chan struct{}
}

func asOwner(t *testing.T, folder, program string, arguments ...string) other {
	t.Helper()
	info, err := os.Stat(folder)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	command := exec.Command(program, arguments...)
	command.Dir = folder
	if os.Getuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}
	}
	input, err := command.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	o := other{pid: command.Process.Pid, done: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(o.done)
	}()
	t.Cleanup(func() {
		_ = input.Close()
		_ = command.Process.Kill()
		<-o.done
	})
	return o
}

func TestRefusesAnotherMajorVersionAndTouchesNothing(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	require.NoError(t, start(t, dir).Stop(t.Context()))
	version := filepath.Join(dir, "data", "PG_VERSION")
	require.NoError(t, os.WriteFile(version, []byte("12\n"), 0o600))
	before := contents(t, filepath.Join(dir, "data"))

	_, err := local.StartPostgres(t.Context(), local.PostgresOptions{DataDir: dir, Durable: true})
	require.ErrorContains(t, err, "written by PostgreSQL 12")
	require.ErrorContains(t, err, "nothing was changed")
	require.Equal(t, before, contents(t, filepath.Join(dir, "data")))
}

func TestRefusesAFolderThatHoldsSomethingElse(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	require.NoError(t, start(t, dir).Stop(t.Context()))
	require.NoError(t, os.Remove(filepath.Join(dir, "data", "PG_VERSION")))
	before := contents(t, filepath.Join(dir, "data"))

	_, err := local.StartPostgres(t.Context(), local.PostgresOptions{DataDir: dir, Durable: true})
	require.ErrorContains(t, err, "no PostgreSQL cluster")
	require.Equal(t, before, contents(t, filepath.Join(dir, "data")))
}

// contents is every file below dir with its size and time of change.
func contents(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			found = append(found, fmt.Sprint(path, info.Size(), info.ModTime().UnixNano()))
		}
		return err
	}))
	return found
}

func TestDeepFoldersHaveAShortSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(hubtest.TempDir(t), strings.Repeat("deep/", 30), "postgres")
	postgres := start(t, dir)
	config, err := pgx.ParseConfig(postgres.URL("postgres"))
	require.NoError(t, err)
	require.NotContains(t, config.Host, dir)
	require.Equal(t, "postgres", query(t, postgres.URL("postgres"), "SELECT current_user"))
	info, err := os.Stat(config.Host)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	require.NoError(t, postgres.Stop(t.Context()))
	require.NoDirExists(t, config.Host)
}

func TestTwoProcessesDoNotShareAFolder(t *testing.T) {
	t.Parallel()
	dir := dataDirFor(t, "")
	first := start(t, dir)
	_, err := local.StartPostgres(t.Context(), local.PostgresOptions{DataDir: dir, Durable: true})
	require.ErrorContains(t, err, fmt.Sprintf("in use by process %d", os.Getpid()))
	require.Equal(t, "1", query(t, first.URL("postgres"), "SELECT '1'"))
}

func TestGivesUpWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := dataDirFor(t, "")
	_, err := local.StartPostgres(ctx, local.PostgresOptions{DataDir: dir, Durable: true})
	require.ErrorIs(t, err, context.Canceled)
	start(t, dir) // and left nothing in the way
}
