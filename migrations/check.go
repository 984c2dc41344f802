package migrations

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// querier is what a pool and a connection have in common.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Check returns an error that says what to do unless the database has exactly the
// schema of this program: an older one lacks what it uses, and what a newer one means
// it cannot know. Any role may ask.
func (s Set) Check(ctx context.Context, db querier) error {
	there, err := s.version(ctx, db)
	if err != nil {
		return err
	}
	if want := s.latest(); there < want {
		return fmt.Errorf("the database has version %d of the %s schema, and this hub needs %d: run `hub migrate up` with this version of hub, then start it again", there, s.dir, want)
	}
	return s.refuseNewer(there)
}

func (s Set) refuseNewer(there int) error {
	if want := s.latest(); there > want {
		return fmt.Errorf("the database has version %d of the %s schema, and this hub knows %d at most: use the version of hub that migrated it, or a later one", there, s.dir, want)
	}
	return nil
}

// version is the one that was committed last, 0 before the first.
func (s Set) version(ctx context.Context, db querier) (int, error) {
	var text string
	err := db.QueryRow(ctx, `SELECT coalesce(obj_description(to_regclass('public.' || $1), 'pg_class'), '0')`, s.table).Scan(&text)
	if err != nil {
		return 0, fmt.Errorf("reading the version of the %s schema: %w", s.dir, err)
	}
	there, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("the comment on the table %s is not a version: restore it, or run `hub migrate up`", s.table)
	}
	return there, nil
}

// latest is the version that Up leads to.
func (s Set) latest() int {
	newest := 0
	names, _ := fs.Glob(files, s.dir+"/*.up.sql") // the pattern is good
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, s.dir+"/"), "_")
		version, _ := strconv.Atoi(number) // four digits, held by internal/tidy
		newest = max(newest, version)
	}
	return newest
}
