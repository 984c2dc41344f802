package migrations

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Check returns an error that says what to do unless the database has exactly the
// schema of this program: an older one lacks what it uses, and what a newer one means
// it cannot know. Any role may ask.
func (s Set) Check(ctx context.Context, pool *pgxpool.Pool) error {
	var text string
	err := pool.QueryRow(ctx, `SELECT coalesce(obj_description(to_regclass('public.' || $1), 'pg_class'), '0')`, s.table).Scan(&text)
	if err != nil {
		return fmt.Errorf("reading the version of the %s schema: %w", s.dir, err)
	}
	there, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("the comment on the table %s is not a version: restore it, or run `hub migrate up`", s.table)
	}
	switch want := s.latest(); {
	case there < want:
		return fmt.Errorf("the database has version %d of the %s schema, and this hub needs %d: run `hub migrate up` with this version of hub, then start it again", there, s.dir, want)
	case there > want:
		return fmt.Errorf("the database has version %d of the %s schema, and this hub knows %d at most: start the version of hub that migrated it, or a later one", there, s.dir, want)
	}
	return nil
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
