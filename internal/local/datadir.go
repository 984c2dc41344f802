// Package local is what one command brings along so that nothing else has to be
// installed or started: a private PostgreSQL and NATS JetStream in the process,
// kept in one data directory. `hub dev` and the tests run on it; in production
// both are servers of their own and this package is not used.
//
// The rule above all others here: data are never wiped, whatever is found.
package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// stateDir is where a system keeps what its services write (FHS 3.0, 5.8).
const stateDir = "/var/lib/hub-backend"

// ResolveDataDir makes the data directory and returns its absolute path. An
// empty dir means ".hub" in the working folder. PostgreSQL refuses to run as
// root, so when root started us and the database's user cannot reach the folder,
// one below the system's state directory is taken instead, the same for the same
// wish, and note says so in a sentence; note is empty otherwise.
func ResolveDataDir(dir string) (path, note string, err error) {
	return resolveDataDir(dir, stateDir)
}

func resolveDataDir(dir, state string) (path, note string, err error) {
	if dir == "" {
		dir = ".hub"
	}
	wish, err := filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	runner, err := databaseUser(filepath.Join(wish, "postgres"))
	if err != nil {
		return "", "", err
	}
	if runner.canReach(existingParent(filepath.Dir(wish))) {
		if err := makeReachable(wish, runner); err != nil {
			return "", "", err
		}
		if runner.canReach(wish) {
			return wish, "", nil
		}
	}
	sum := sha256.Sum256([]byte(wish))
	path = filepath.Join(state, hex.EncodeToString(sum[:6]))
	if runner, err = databaseUser(filepath.Join(path, "postgres")); err != nil {
		return "", "", err
	}
	if err := makeReachable(path, runner); err != nil {
		return "", "", err
	}
	if !runner.canReach(path) {
		return "", "", fmt.Errorf("neither %s nor %s can be reached by the database's user %s; set HUB_DATA_DIR to a folder that can", wish, path, runner)
	}
	return path, fmt.Sprintf("the database's user %s cannot reach %s, so the data are kept in %s", runner, wish, path), nil
}

// makeReachable makes dir and its missing parents. For root they belong to the
// runner's group, which may pass through and not list; what exists and holds
// something keeps its owner and mode.
func makeReachable(dir string, runner account) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if parent := filepath.Dir(dir); existingParent(parent) != parent {
			if err := makeReachable(parent, runner); err != nil {
				return err
			}
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the data directory: %w", err)
		}
	case err != nil:
		return fmt.Errorf("read the data directory: %w", err)
	case len(entries) > 0:
		return nil
	}
	if !runner.other {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner, _ := ownerOf(info); owner != os.Getuid() {
		return nil
	}
	if err := os.Chown(dir, os.Getuid(), runner.gid); err != nil {
		return err
	}
	return os.Chmod(dir, info.Mode().Perm()|0o010)
}

// existingParent is the nearest folder at or above path that exists.
func existingParent(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// DirLock keeps a second process out of a data directory. The system drops it
// with the process, however that ends.
type DirLock struct{ file *os.File }

// LockDir takes the lock of a directory that exists; it does not wait. The error
// names the process that holds it.
func LockDir(dir string) (*DirLock, error) {
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := file.Read(holder)
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by process %s: stop that one first, or take another HUB_DATA_DIR", dir, holder[:n])
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := file.Truncate(0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := fmt.Fprint(file, os.Getpid()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &DirLock{file: file}, nil
}

// Unlock lets others in. The file stays: removing it would let two processes
// lock two files of one name.
func (l *DirLock) Unlock() error { return l.file.Close() }
