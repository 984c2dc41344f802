package secretfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/reactdjango-hub/backend/internal/secretfile"
)

func TestEnsureCreatesOnceAndOnlyForItsOwner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "keys", "secret")
	first, err := secretfile.Ensure(path, func() ([]byte, error) { return []byte("first"), nil })
	if err != nil || string(first) != "first" {
		t.Fatalf("got %q, %v", first, err)
	}
	again, err := secretfile.Ensure(path, func() ([]byte, error) { return nil, errors.New("must not be asked again") })
	if err != nil || string(again) != "first" {
		t.Fatalf("second call: got %q, %v", again, err)
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700 | fs.ModeDir} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("mode of %s is %v, want %v", filepath.Base(name), info.Mode(), want)
		}
	}
}

func TestEnsureAtOnceAgreesOnOneSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys", "secret")
	const processes = 16
	var (
		group sync.WaitGroup
		got   [processes][]byte
		errs  [processes]error
	)
	for i := range processes {
		group.Go(func() {
			got[i], errs[i] = secretfile.Ensure(path, func() ([]byte, error) { return fmt.Appendf(nil, "secret %d", i), nil })
		})
	}
	group.Wait()
	for i := range processes {
		if errs[i] != nil || !bytes.Equal(got[i], got[0]) {
			t.Errorf("process %d: got %q, %v; process 0 got %q", i, got[i], errs[i], got[0])
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestReplaceOverwrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	for _, content := range []string{"one", "two"} {
		if err := secretfile.Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := secretfile.Read(path); err != nil || string(got) != content {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestReadIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, make([]byte, 64<<10+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secretfile.Read(path); err == nil {
		t.Error("a file over the bound was read")
	}
}

func TestEnsureReportsAFailingGenerator(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	failure := errors.New("no randomness")
	if _, err := secretfile.Ensure(path, func() ([]byte, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made all the same: %v", err)
	}
}
