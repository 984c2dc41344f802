// Package secretfile keeps generated secrets, as the keys of `hub dev`, in files
// that only their owner reads. A file is complete or absent whatever happens
// between, and of several processes that create one at once, one wins and all use
// the winner's.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxBytes bounds what is read back: key files are a few hundred bytes, and a
// wrong path must not pull a large file into memory.
const maxBytes = 64 << 10

// Ensure returns the content of the file, which it creates from generate when
// there is none. Missing folders are made, the last one closed to others.
func Ensure(path string, generate func() ([]byte, error)) ([]byte, error) {
	content, err := Read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return content, err
	}
	if content, err = generate(); err != nil {
		return nil, fmt.Errorf("generating %s: %w", path, err)
	}
	// A hard link, unlike a rename, fails when another process was faster.
	err = write(path, content, os.Link)
	if errors.Is(err, fs.ErrExist) {
		return Read(path)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

// Replace writes the file, in place of an older one when there is one.
func Replace(path string, content []byte) error {
	return write(path, content, os.Rename)
}

// Read returns the content of the file, at most 64 KiB; fs.ErrNotExist when it
// does not exist.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(content) > maxBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxBytes)
	}
	return content, nil
}

// write puts content on disk under a temporary name and has publish give it the
// final one; both the file and its folder are flushed before it returns.
func write(path string, content []byte, publish func(temporary, final string) error) error {
	folder := filepath.Dir(path)
	if err := makeFolder(folder); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after a rename there is nothing left to remove
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := publish(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// makeFolder closes only the last folder to others: those above it may hold what
// another user must reach, as the private PostgreSQL when started as root.
func makeFolder(folder string) error {
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil { //nolint:gosec // see above
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
