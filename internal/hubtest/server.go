// Package hubtest is the test kit: real PostgreSQL and NATS for every test that
// touches them, each test with a database of its own, and nothing left running.
//
//	func TestMain(m *testing.M) { hubtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		url := hubtest.Database(t, hubtest.Migration{Fingerprint: …, Up: …})
//		pool := hubtest.Pool(t, url, "hub_query")
//		…
//
// `make test` starts one server for the whole run (see testserver). A package
// tested alone starts its own at the first call.
package hubtest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/local"
)

// DatabaseVariable names the server that a whole run shares: the address of its
// database `postgres`, as a superuser.
const DatabaseVariable = "HUB_TEST_DATABASE_URL"

// serverTime bounds starting and stopping a server; 1.5 s for both on an idle
// machine, and tests run beside compilers.
const serverTime = 2 * time.Minute

// Server is a throw-away PostgreSQL without fsync.
type Server struct {
	postgres *local.Postgres
	dir      string
	reaper   io.Closer
}

// StartServer makes and starts one in a temporary folder.
func StartServer() (*Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), serverTime)
	defer cancel()
	dir, err := reachableDir()
	if err != nil {
		return nil, err
	}
	reaper, err := startReaper(dir)
	if err != nil {
		return nil, err
	}
	postgres, err := local.StartPostgres(ctx, local.PostgresOptions{
		DataDir:  filepath.Join(dir, "postgres"),
		Durable:  false,                                       // a crash of the machine ends the tests anyway
		Settings: map[string]string{"max_connections": "200"}, // several test binaries at once
	})
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", err, reaper.Close())
	}
	return &Server{postgres: postgres, dir: dir, reaper: reaper}, nil
}

// URL is the address of the database `postgres`, for DatabaseVariable.
func (s *Server) URL() string { return s.postgres.URL("postgres") }

// Stop ends the server and removes its folder.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), serverTime)
	defer cancel()
	if err := s.postgres.Stop(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	return s.reaper.Close()
}

// reaperScript waits until its input ends, which it does when we are gone,
// however that happened; then until the server, which goes with us, is gone too;
// and removes the folder.
const reaperScript = `read -r _; n=0
while [ -e "$0/postgres/data/postmaster.pid" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
rm -rf "$0"`

// startReaper has the folder removed after us. A program of its own does it: a
// process that is killed cannot.
func startReaper(dir string) (io.Closer, error) {
	reaper := exec.Command("/bin/sh", "-c", reaperScript, dir)
	reaper.Dir = "/"
	reaper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	input, err := reaper.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := reaper.Start(); err != nil {
		return nil, err
	}
	return closer(func() error {
		_ = input.Close()
		return reaper.Wait()
	}), nil
}

type closer func() error

func (c closer) Close() error { return c() }

// An orphaned PostgreSQL stops in about 0.2 s, and on a busy machine in some seconds.
const (
	orphanTimeout = 20 * time.Second
	orphanPause   = 20 * time.Millisecond
)

// reachableDir is a temporary folder that the database's user can enter.
func reachableDir() (string, error) {
	dir, err := os.MkdirTemp("", "hub-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) //nolint:gosec // see above; its content guards itself
}

// TempDir is t.TempDir for data directories: its parents can be entered by the
// database's user too, also when root runs the tests.
func TempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := reachableDir()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := removeAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// removeAll removes a folder that a database may still write to for a moment: one
// whose parent was killed only begins to stop when it learns so.
func removeAll(dir string) error {
	for deadline := time.Now().Add(orphanTimeout); ; {
		err := os.RemoveAll(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(orphanPause)
	}
}

// own is the server of this test binary, when there is none for the whole run.
var own struct {
	sync.Mutex
	server *Server
}

func serverURL(tb testing.TB) string {
	tb.Helper()
	if url := os.Getenv(DatabaseVariable); url != "" {
		return url
	}
	own.Lock()
	defer own.Unlock()
	if own.server == nil {
		server, err := StartServer()
		if err != nil {
			tb.Fatalf("start a PostgreSQL for the tests: %v", err)
		}
		own.server = server
	}
	return own.server.URL()
}

// Main runs the tests of a package, stops what they share and ends the process.
func Main(m *testing.M) {
	if store := os.Getenv(natsVariable); store != "" {
		os.Exit(serveNATS(store))
	}
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "after the tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func stopShared() error {
	closeMaintenance()
	if err := removeBinary(); err != nil {
		return err
	}
	own.Lock()
	defer own.Unlock()
	if own.server == nil {
		return nil
	}
	return own.server.Stop()
}
