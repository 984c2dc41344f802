package local

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakePostgres is a folder with programs that only tell a version.
func fakePostgres(t *testing.T, dir, version string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s'\n", version)
	for _, program := range []string{"postgres", "initdb"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755))
	}
	return dir
}

func self() account { return account{uid: os.Getuid(), gid: os.Getgid(), name: "self"} }

func TestHighestMajorFirstAndPathLast(t *testing.T) {
	base := t.TempDir()
	for _, version := range []string{"9.6.24", "16.4", "18beta1", "17.10 (Debian 17.10-1)"} {
		fakePostgres(t, filepath.Join(base, version, "bin"), version)
	}
	// On PATH there is a link, and what it points to is what has the libraries.
	target := fakePostgres(t, filepath.Join(base, "real"), "19.1")
	links := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(target, "postgres"), filepath.Join(links, "postgres")))
	t.Setenv("PATH", links+":"+os.Getenv("PATH"))

	var majors []int
	found := installed(t.Context(), []string{filepath.Join(base, "*", "bin")}, self())
	for _, candidate := range found {
		majors = append(majors, candidate.major)
	}
	require.Equal(t, []int{18, 17, 16, 9, 19}, majors)
	require.Equal(t, "17.10", found[1].version)
	require.Equal(t, target, found[4].dir)
}

// Not parallel: a script cannot be run while a child forked meanwhile has it open
// for writing.
func TestOnlyTheMajorOfTheDataWillDo(t *testing.T) {
	dir := fakePostgres(t, t.TempDir(), "17.10")
	log := slog.New(slog.DiscardHandler)
	found, err := findBinaries(t.Context(), dir, 17, self(), log)
	require.NoError(t, err)
	require.Equal(t, dir, found.dir)
	_, err = findBinaries(t.Context(), dir, 16, self(), log)
	require.ErrorContains(t, err, "written by PostgreSQL 16 and this is PostgreSQL 17.10")
	old := fakePostgres(t, t.TempDir(), "14.2")
	_, err = findBinaries(t.Context(), old, 0, self(), log)
	require.ErrorContains(t, err, "PostgreSQL 15 or later is needed")
}
