package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The server's own lock file tells its process (line 1), the folder of its socket
// (line 5) and how far it is (line 8). https://www.postgresql.org/docs/current/storage-file-layout.html, and
// pidfile.h of the source for the lines.
const (
	pidFile       = "postmaster.pid"
	lineProcess   = 0
	lineSocketDir = 4
	lineState     = 7
	checkInterval = 10 * time.Millisecond
)

// readPidFile is zero and empty when there is no such file.
func readPidFile(clusterDir string) (pid int, state string, err error) {
	text, err := os.ReadFile(filepath.Join(clusterDir, pidFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	lines := strings.Split(string(text), "\n")
	// A file being written may lack anything.
	pid, _ = strconv.Atoi(strings.TrimSpace(lines[lineProcess]))
	if len(lines) > lineState {
		state = strings.TrimSpace(lines[lineState])
	}
	return pid, state, nil
}

// waitReady returns when our child, and no other server on the same socket, says
// that it takes queries. A server that recovers from a crash takes its time, so
// only ctx is the limit.
func waitReady(ctx context.Context, clusterDir string, pid int, done <-chan struct{}) error {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		holder, state, err := readPidFile(clusterDir)
		if err != nil {
			return err
		}
		if holder == pid && state == "ready" {
			return nil
		}
		select {
		case <-done:
			return errors.New("PostgreSQL ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL is not ready yet: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

// stopOrphan ends a server that an earlier run left behind on this cluster. It
// is stopped and not adopted: a server that is not our child would outlive us
// again. The caller holds the lock of the data directory, so whatever still runs
// has lost its owner.
func stopOrphan(ctx context.Context, clusterDir string, log *slog.Logger) error {
	pid, _, err := readPidFile(clusterDir)
	if err != nil || pid <= 0 {
		return err
	}
	// No such process after a crash, or one of another user that got the number
	// since: the server itself sees that the file is stale.
	if !answers(pid) {
		return nil
	}
	name, folder, known := processAt(pid)
	if !known {
		if !answers(pid) {
			return nil // it ended meanwhile
		}
		return fmt.Errorf("process %d may be a PostgreSQL on %s and cannot be looked at: stop it first", pid, clusterDir)
	}
	if name != "postgres" || folder != clusterDir {
		// The number was given to another process since, as after a reboot. The
		// server would refuse to start because somebody has it.
		return os.Remove(filepath.Join(clusterDir, pidFile))
	}
	log.Warn("stopping a PostgreSQL that an earlier run left behind", "pid", pid)
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the PostgreSQL (process %d) that an earlier run left on %s: %w", pid, clusterDir, err)
	}
	for runsOn(pid, clusterDir) {
		if err := pause(ctx, checkInterval); err != nil {
			return fmt.Errorf("the PostgreSQL (process %d) that an earlier run left on %s does not end: %w", pid, clusterDir, err)
		}
	}
	return nil
}

// answers tells whether there is such a process that we may send signals to.
func answers(pid int) bool { return syscall.Kill(pid, 0) == nil }

// runsOn tells whether the process is a server on the cluster.
func runsOn(pid int, clusterDir string) bool {
	name, folder, known := processAt(pid)
	return known && name == "postgres" && folder == clusterDir
}

// pause waits, or fails when ctx ends first.
func pause(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
