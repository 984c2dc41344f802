package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// PostgresOptions say how to run a private PostgreSQL.
type PostgresOptions struct {
	// DataDir is a folder for it alone: below it lie the cluster ("data"), its
	// log ("postgres.log"), its socket ("run") and its lock. It is made if missing.
	DataDir string
	// BinDir holds `initdb` and `postgres`; empty means that they are searched for.
	BinDir string
	// Durable must be true for everything but tests. False gives up fsync, and
	// with it everything that a power failure may take.
	Durable bool
	// Settings add to, or replace, those in settings(): "shared_buffers": "1GB".
	Settings map[string]string
	// Log gets what a person at the terminal should know; nil is silence.
	Log *slog.Logger
}

// clusterName is the cluster below DataDir, socketName the folder of its socket.
const (
	clusterName = "data"
	socketName  = "run"
	logName     = "postgres.log"
)

// maxLogBytes is when a start puts the log aside: at the level of warnings some
// 100,000 lines, more than anyone reads. One older log is kept.
const maxLogBytes = 10 << 20

// quitTime is how long an immediate shutdown may take before the process is
// killed; it only tells the children to go, so that it is mostly done at once.
const quitTime = 5 * time.Second

// Postgres is a private server, a child of this process. It listens on a Unix
// socket in a folder that only its own user may enter, so it trusts whoever
// gets there.
type Postgres struct {
	clusterDir string
	socketDir  string
	tempSocket bool // socketDir lies outside the data directory
	command    *exec.Cmd
	done       chan struct{}
	lock       *DirLock
	release    sync.Once
}

// StartPostgres brings up the server on DataDir, making the cluster first if
// there is none, and returns when it answers queries; until then ctx bounds it.
// A server that an earlier run left behind on this folder is stopped first. A
// cluster of another major version is refused and left as it is.
func StartPostgres(ctx context.Context, options PostgresOptions) (*Postgres, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(options.DataDir)
	if err != nil {
		return nil, err
	}
	runner, err := databaseUser(dir)
	if err != nil {
		return nil, err
	}
	if err := makeReachable(dir, runner); err != nil {
		return nil, err
	}
	if !runner.canReach(dir) {
		return nil, fmt.Errorf("the database's user %s cannot reach %s: take a data directory that others than root can enter", runner, dir)
	}
	// The real path, because a process tells its working folder by that.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	lock, err := LockDir(dir)
	if err != nil {
		return nil, err
	}
	p := &Postgres{clusterDir: filepath.Join(dir, clusterName), lock: lock}
	if err := p.start(ctx, dir, runner, options); err != nil {
		p.cleanUp()
		return nil, err
	}
	return p, nil
}

func (p *Postgres) start(ctx context.Context, dir string, runner account, options PostgresOptions) error {
	major, err := clusterMajor(p.clusterDir)
	if err != nil {
		return err
	}
	binaries, err := findBinaries(ctx, options.BinDir, major, runner, options.Log)
	if err != nil {
		return err
	}
	if major == 0 {
		options.Log.Info("making a database", "folder", p.clusterDir, "postgres", binaries.version)
		if err := makeCluster(ctx, binaries, dir, runner, options.Durable); err != nil {
			return err
		}
	}
	if err := stopOrphan(ctx, p.clusterDir, options.Log); err != nil {
		return err
	}
	if err := p.makeSocketDir(dir, runner); err != nil {
		return err
	}
	log, err := openLog(filepath.Join(dir, logName))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	for {
		err := p.launch(ctx, binaries, runner, options, log)
		if !errors.Is(err, errSharedMemory) {
			return err
		}
		// Children of a postmaster that was killed notice it within moments.
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("processes of an earlier PostgreSQL still hold %s: %w", p.clusterDir, err)
		}
	}
}

// launch runs the server once, until it is ready or gone.
func (p *Postgres) launch(ctx context.Context, binaries binaries, runner account, options PostgresOptions, log *os.File) error {
	offset, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	command := exec.Command(binaries.path("postgres"), append([]string{"-D", p.clusterDir}, p.settings(options)...)...)
	command.Dir = p.clusterDir
	command.Env = childEnvironment()
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = childAttributes(runner, syscall.SIGINT)
	done, started := make(chan struct{}), make(chan error, 1)
	p.command, p.done = command, done
	go func() {
		// The kernel sends the death signal when the *thread* that started the
		// child ends, so this one must live as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait()
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", command.Path, err)
	}
	if err := waitReady(ctx, p.clusterDir, command.Process.Pid, done); err != nil {
		_ = p.terminate(ctx)
		return explainFailure(err, log, offset)
	}
	return nil
}

// settings are the arguments of the server. Given there they win over whatever
// the files in the cluster say, so nobody loses durability by an old edit.
func (p *Postgres) settings(options PostgresOptions) []string {
	durable := map[bool]string{true: "on", false: "off"}[options.Durable]
	settings := map[string]string{
		"fsync": durable, "full_page_writes": durable, "synchronous_commit": durable,
		"listen_addresses": "", "port": "5432", // the port names the socket, nothing more
		"unix_socket_directories": p.socketDir, "unix_socket_permissions": "0700",
		// A machine of a developer: some dozens of connections of small pools,
		// and a cache that does not crowd out the browser.
		"max_connections": "64", "shared_buffers": "64MB",
		"max_wal_size": "512MB", "min_wal_size": "64MB",
		// Every query here is short: compiling one takes longer than running it.
		"jit":      "off",
		"timezone": "UTC", "log_timezone": "UTC",
		// What people wrote is no business of the log: neither statements nor
		// the values that a violated constraint names.
		"log_min_error_statement": "panic", "log_error_verbosity": "terse", "log_checkpoints": "off",
	}
	maps.Copy(settings, options.Settings)
	arguments := make([]string, 0, len(settings))
	for name, value := range settings {
		arguments = append(arguments, "--"+name+"="+value)
	}
	sort.Strings(arguments)
	return arguments
}

// URL is for connecting to a database as the superuser `postgres`; pgx,
// golang-migrate (under its own scheme) and libpq read it.
func (p *Postgres) URL(database string) string { return socketURL(p.socketDir, database) }

// Done is closed when the server has ended, whoever ended it.
func (p *Postgres) Done() <-chan struct{} { return p.done }

// Stop ends the server: sessions are rolled back and everything is written out.
// When ctx ends first it is made to go without writing out; the next start then
// recovers from the log, so nothing is lost by that.
func (p *Postgres) Stop(ctx context.Context) error {
	err := p.terminate(ctx)
	p.cleanUp()
	return err
}

// Kill ends the server as a crash would, for tests of what survives that.
func (p *Postgres) Kill() {
	_ = p.command.Process.Kill()
	<-p.done
	p.cleanUp()
}

func (p *Postgres) terminate(ctx context.Context) error {
	_ = p.command.Process.Signal(syscall.SIGINT) // gone already: done says so
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	_ = p.command.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(quitTime):
		_ = p.command.Process.Kill()
		<-p.done
	}
	return fmt.Errorf("PostgreSQL did not shut down in time and was made to: %w", ctx.Err())
}

func (p *Postgres) cleanUp() {
	p.release.Do(func() {
		if p.tempSocket {
			_ = os.RemoveAll(p.socketDir)
		}
		_ = p.lock.Unlock()
	})
}

// childEnvironment holds nothing of ours: PGDATA, locales and the like are set
// on the command line or not at all.
func childEnvironment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogBytes {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
}

// errSharedMemory says that backends of an earlier server still run.
var errSharedMemory = errors.New("shared memory of an earlier server is in use")

// explainFailure adds what the server itself wrote since offset.
func explainFailure(err error, log *os.File, offset int64) error {
	said := make([]byte, 2000)
	n, _ := log.ReadAt(said, offset)
	text := strings.TrimSpace(string(said[:n]))
	if strings.Contains(text, "pre-existing shared memory block") {
		return errSharedMemory
	}
	return fmt.Errorf("%w; PostgreSQL wrote: %s", err, text)
}
