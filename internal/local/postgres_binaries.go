package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// oldestMajor is the first PostgreSQL that the log's functions run on.
const oldestMajor = 15

// versionTime is how long `postgres --version` may take: an instant, or seconds
// where a cold disk must load it.
const versionTime = 20 * time.Second

// binaries are the programs of one installed PostgreSQL.
type binaries struct {
	dir     string
	major   int
	version string // as in "15.18"
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// installPlaces are where packages put PostgreSQL without a link on PATH:
// Debian, Red Hat, Homebrew (ARM, Intel, Linux), Postgres.app.
var installPlaces = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// findBinaries chooses the programs to run a cluster of the given major version
// with; major 0 is no cluster yet, and then the newest is taken. With dir given
// only that is looked at. What is not on the machine is fetched.
func findBinaries(ctx context.Context, dir string, major int, runner account, log *slog.Logger) (binaries, error) {
	if dir != "" {
		given, err := readBinaries(ctx, dir, runner)
		if err != nil {
			return binaries{}, err
		}
		return given, checkMajor(given, major)
	}
	var nearest error
	for _, candidate := range installed(ctx, installPlaces, runner) {
		if nearest = checkMajor(candidate, major); nearest == nil {
			return candidate, nil
		}
	}
	if ctx.Err() != nil {
		return binaries{}, ctx.Err()
	}
	// What was fetched before is found in its place by fetching it again.
	if pinned := (binaries{major: bundleMajor, version: bundleVersion}); checkMajor(pinned, major) != nil {
		return binaries{}, cmp.Or(nearest, checkMajor(pinned, major))
	}
	fetched, err := cachedBundle(ctx, runner, log)
	if err != nil {
		return binaries{}, fmt.Errorf("no PostgreSQL %d or later on this machine, and fetching one failed (%w): install it (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql@17) or set DATABASE_URL", oldestMajor, err)
	}
	return readBinaries(ctx, fetched, runner)
}

// checkMajor refuses what cannot run a cluster of the given major version.
func checkMajor(found binaries, major int) error {
	if major != 0 && found.major != major {
		return fmt.Errorf("the data were written by PostgreSQL %d and this is PostgreSQL %s (%s): install PostgreSQL %d, or take another HUB_DATA_DIR; nothing was changed", major, found.version, cmp.Or(found.dir, "the build that can be fetched"), major)
	}
	if found.major < oldestMajor {
		return fmt.Errorf("PostgreSQL %d or later is needed, %s is %s", oldestMajor, found.dir, found.version)
	}
	return nil
}

// installed lists what is on the machine, packages first and the highest major
// version first among those, then PATH.
func installed(ctx context.Context, places []string, runner account) []binaries {
	var packaged []binaries
	for _, place := range places {
		folders, err := filepath.Glob(place)
		if err != nil {
			continue // only a bad pattern
		}
		for _, folder := range folders {
			if found, err := readBinaries(ctx, folder, runner); err == nil {
				packaged = append(packaged, found)
			}
		}
	}
	slices.SortStableFunc(packaged, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })
	if program, err := exec.LookPath("postgres"); err == nil {
		if found, err := readBinaries(ctx, filepath.Dir(program), runner); err == nil {
			packaged = append(packaged, found)
		}
	}
	return packaged
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)[^ \n]*)`)

// readBinaries looks at the programs in a folder, running one as the account
// that will run them all: it may not reach what we can.
func readBinaries(ctx context.Context, dir string, runner account) (binaries, error) {
	// The server finds its libraries relative to where it really is.
	program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil {
		return binaries{}, err
	}
	found := binaries{dir: filepath.Dir(program)}
	if _, err := os.Stat(found.path("initdb")); err != nil {
		return binaries{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	output, err := runChild(ctx, runner, "/", program, "--version")
	if err != nil {
		return binaries{}, fmt.Errorf("%s --version as %s: %w: %s", program, runner, err, strings.TrimSpace(output))
	}
	match := versionPattern.FindStringSubmatch(output)
	if match == nil {
		return binaries{}, errors.New(program + " tells no version")
	}
	found.version = match[1]
	found.major, err = strconv.Atoi(match[2])
	return found, err
}
