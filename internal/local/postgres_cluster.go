package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// maxSocketDir is the longest folder that a socket can be in: sun_path holds 107
// bytes on Linux and 103 on macOS, and "/.s.PGSQL.5432" takes 14.
const maxSocketDir = 103 - 14

// clusterMajor is the major version that wrote the cluster; 0 when there is none
// yet. A folder with something else in it is an error: it is not ours.
func clusterMajor(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err == nil {
		major, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return 0, fmt.Errorf("%s/PG_VERSION holds no version", dir)
		}
		return major, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if len(entries) > 0 {
		return 0, fmt.Errorf("%s holds something, but no PostgreSQL cluster: move it away, nothing of it was touched", dir)
	}
	return 0, nil
}

// makeCluster makes the cluster below dir. It is made beside its place, synced
// and then renamed, so that a crash half way leaves nothing that could be taken
// for a cluster.
func makeCluster(ctx context.Context, binaries binaries, dir string, runner account, durable bool) error {
	if err := removeLeftovers(ctx, dir); err != nil {
		return fmt.Errorf("remove what an interrupted initdb left: %w", err)
	}
	temp, err := os.MkdirTemp(dir, "initdb-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // a no-op once it is renamed
	if runner.other {
		if err := os.Chown(temp, runner.uid, runner.gid); err != nil {
			return err
		}
	}
	// Byte order sorts alike everywhere and never changes with a C library.
	arguments := []string{"-D", temp, "-U", "postgres", "--auth=trust", "--locale=C", "--encoding=UTF8", "--data-checksums"}
	if !durable {
		arguments = append(arguments, "--no-sync")
	}
	if output, err := runChild(ctx, runner, temp, binaries.path("initdb"), arguments...); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(output))
	}
	if err := os.Rename(temp, filepath.Join(dir, clusterName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// removeLeftovers removes what never became a cluster. An initdb whose process
// was killed goes too, but it may still be writing for a moment.
func removeLeftovers(ctx context.Context, dir string) error {
	for {
		leftovers, err := filepath.Glob(filepath.Join(dir, "initdb-*"))
		if err != nil || len(leftovers) == 0 {
			return err
		}
		for _, leftover := range leftovers {
			err = errors.Join(err, os.RemoveAll(leftover))
		}
		if err == nil {
			continue
		}
		if pause(ctx, checkInterval) != nil {
			return err
		}
	}
}

// runChild runs a program as the account to its end. It goes with us if we die.
func runChild(ctx context.Context, runner account, folder, program string, arguments ...string) (output string, err error) {
	// See launch for why the thread is held.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command := exec.CommandContext(ctx, program, arguments...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = quitTime
	command.Dir = folder
	command.Env = childEnvironment()
	command.SysProcAttr = childAttributes(runner, syscall.SIGTERM)
	combined, err := command.CombinedOutput()
	return string(combined), err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// makeSocketDir makes the folder of the socket: in the data directory, or with a
// short name elsewhere when that one is too deep for a socket's path. The name
// is always the same for one data directory, so that crashes leave one at most.
func (p *Postgres) makeSocketDir(dir string, runner account) error {
	p.socketDir = filepath.Join(dir, socketName)
	if len(p.socketDir) > maxSocketDir {
		sum := sha256.Sum256([]byte(dir))
		name := fmt.Sprintf("hub-pg-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6]))
		p.socketDir, p.tempSocket = filepath.Join(os.TempDir(), name), true
		if len(p.socketDir) > maxSocketDir || !runner.canReach(os.TempDir()) {
			p.socketDir = filepath.Join("/tmp", name)
		}
	}
	err := runner.makeOwnDir(p.socketDir)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Somebody else may have made a folder of that name in the shared one, to
	// sit between us and the server.
	info, err := os.Lstat(p.socketDir)
	if err != nil {
		return err
	}
	if uid, _ := ownerOf(info); !info.IsDir() || uid != runner.uid || info.Mode().Perm() != 0o700 {
		p.tempSocket = false // not ours to remove
		return fmt.Errorf("%s is not the folder we made there: remove it, or take another data directory", p.socketDir)
	}
	return nil
}
