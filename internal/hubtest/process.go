package hubtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// program is the binary of this test binary's run, built at its first use.
var program struct {
	sync.Once
	dir string
	err error
}

// Binary builds the real program, once for all tests of a package, and returns
// its path: for tests that kill it. Any user can run it.
func Binary(tb testing.TB) string {
	tb.Helper()
	program.Do(func() { program.dir, program.err = buildBinary() })
	if program.err != nil {
		tb.Fatalf("build the program: %v", program.err)
	}
	return filepath.Join(program.dir, "hub")
}

func buildBinary() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "hub-binary-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // any user can run it
		return dir, err
	}
	arguments := []string{"build", "-buildvcs=false", "-race=false", "-o", filepath.Join(dir, "hub")}
	if mode := testing.CoverMode(); mode != "" {
		// What the process runs is counted too, into its GOCOVERDIR.
		arguments = append(arguments, "-covermode="+mode, "-coverpkg=./...")
	}
	build := exec.Command("go", append(arguments, "./cmd/hub")...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return dir, errors.New(err.Error() + "\n" + string(output))
	}
	return dir, nil
}

func removeBinary() error {
	if program.dir == "" {
		return nil
	}
	return os.RemoveAll(program.dir)
}

// moduleRoot is found from the package's folder, in which tests run.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the tests' folder")
		}
		dir = filepath.Dir(dir)
	}
}

// Ports for tests lie below those that systems give to outgoing connections.
const (
	firstPort = 10_000
	portCount = 20_000
	portTries = 1000
)

// FreePort is a TCP port of 127.0.0.1 that nobody has, for a program that is told its
// port. The UDP port of the same number is held until the test ends, which keeps every
// other FreePort, of any process, from giving the same.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range portTries {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+mathrand.N(portCount)) //nolint:gosec // nothing secret
		reserved, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp", address)
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			_ = reserved.Close()
			continue
		}
		_ = listener.Close()
		tb.Cleanup(func() { _ = reserved.Close() })
		return listener.Addr().(*net.TCPAddr).Port
	}
	tb.Fatalf("no free port in %d tries", portTries)
	return 0
}

// Wait returns what comes from the channel, the zero value when it is closed.
// Tests wait for signals and never sleep; the timeout only ends a test that
// has failed, so let it be long.
func Wait[T any](tb testing.TB, timeout time.Duration, what string, signal <-chan T) T {
	tb.Helper()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case value := <-signal:
		return value
	case <-timer.C:
		tb.Fatalf("waited %s in vain for %s", timeout, what)
		panic("unreachable")
	}
}

// Silent fails the test if the channel has something now: after a later signal
// came, what should not have happened before it has not happened.
func Silent[T any](tb testing.TB, what string, signal <-chan T) {
	tb.Helper()
	select {
	case <-signal:
		tb.Fatalf("%s, which should not be", what)
	default:
	}
}

func rand16() string { return rand.Text()[:16] }
