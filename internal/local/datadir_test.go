package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDataDirIsInTheWorkingFolder(t *testing.T) {
	work := reachable(t)
	t.Chdir(work)
	path, note, err := resolveDataDir("", filepath.Join(work, "state"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join(work, ".hub"), path)
	require.Empty(t, note)
	require.DirExists(t, path)
}

func TestAnEmptyPrivateFolderWillDo(t *testing.T) {
	t.Parallel()
	base := reachable(t)
	given := filepath.Join(base, "given")
	require.NoError(t, os.Mkdir(given, 0o700)) // as mktemp -d makes them
	path, note, err := resolveDataDir(given, filepath.Join(base, "state"))
	require.NoError(t, err)
	require.Equal(t, given, path)
	require.Empty(t, note)
}

// Root's own folders cannot be entered by the database's user; an ordinary
// user's can, being the same.
func TestDataDirThatTheDatabaseCannotReach(t *testing.T) {
	t.Parallel()
	base := reachable(t)
	home := filepath.Join(base, "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	wish, state := filepath.Join(home, "checkout", ".hub"), filepath.Join(base, "state")
	path, note, err := resolveDataDir(wish, state)
	require.NoError(t, err)
	if os.Getuid() != 0 {
		require.Equal(t, wish, path)
		require.Empty(t, note)
		return
	}
	require.Equal(t, state, filepath.Dir(path))
	require.Contains(t, note, path)
	require.NoDirExists(t, wish)
	again, _, err := resolveDataDir(wish, state)
	require.NoError(t, err)
	require.Equal(t, path, again)
	other, _, err := resolveDataDir(filepath.Join(home, "other", ".hub"), state)
	require.NoError(t, err)
	require.NotEqual(t, path, other)
}

// reachable is a folder whose parents any user can enter.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "local-test-") //nolint:usetesting // other users cannot enter t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o711))
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	return dir
}
