// Package migrations holds the schema of the log and of the read side as SQL, and
// brings a database to it. Two directories, because the read tables may live on
// another server: log/ (MIGRATE_DATABASE_URL) and projections/
// (PROJECTION_DATABASE_URL). Versions only go up; log/ goes down only while the
// log is empty.
package migrations

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5" // the pgx5 scheme
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
)

//go:embed log/*.sql projections/*.sql
var files embed.FS

// Set is one of the two schemas.
type Set struct {
	dir   string
	table string
}

// Log is the schema of the event log; Projections the bookkeeping of read tables.
var (
	Log         = Set{dir: "log", table: "log_migrations"}
	Projections = Set{dir: "projections", table: "projection_migrations"}
)

// ErrLogNotEmpty is returned by Down instead of destroying history.
var ErrLogNotEmpty = errors.New("the log is not empty: migrating down would destroy it; drop the whole database if that is what you want")

// Status is a schema's version in a database; Version is 0 before the first Up.
type Status struct {
	Set     string `json:"set"`
	Version uint   `json:"version"`
	// Dirty means a migration was cut off; the next Up or Down repairs that first.
	Dirty bool `json:"dirty"`
}

// Up brings the database at databaseURL (owner, superuser for Log) to the newest
// version. It is safe to run from several processes at once, and after one of them
// was cut off.
func (s Set) Up(ctx context.Context, databaseURL string) error {
	return s.change(ctx, databaseURL, (*migrate.Migrate).Up)
}

// Down takes everything away again, for Log only from an empty log (ErrLogNotEmpty).
func (s Set) Down(ctx context.Context, databaseURL string) error {
	if s == Log {
		if err := refuseUnlessEmpty(ctx, databaseURL); err != nil {
			return err
		}
	}
	return s.change(ctx, databaseURL, (*migrate.Migrate).Down)
}

// Status reads the version that the database is at.
func (s Set) Status(ctx context.Context, databaseURL string) (Status, error) {
	status := Status{Set: s.dir}
	err := s.run(ctx, databaseURL, func(m *migrate.Migrate) error {
		var err error
		status.Version, status.Dirty, err = m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			return nil
		}
		return err
	})
	return status, err
}

// change runs do, one process at a time. golang-migrate notes that it begins, runs
// the file and notes that it ended; whoever dies in between leaves a version that
// nobody knows to be true. A file commits as a whole, and with it the version it
// leads to as the comment on the table: that one is believed.
func (s Set) change(ctx context.Context, databaseURL string, do func(*migrate.Migrate) error) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connecting for the %s migrations: %w", s.dir, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('hub.' || $1, 0))`, s.table); err != nil {
		return fmt.Errorf("waiting for other %s migrations: %w", s.dir, err)
	}
	if err := s.refuseUnknown(ctx, conn); err != nil {
		return err
	}
	err = s.run(ctx, databaseURL, do)
	if dirty := (migrate.ErrDirty{}); !errors.As(err, &dirty) {
		return err
	}
	version := database.NilVersion
	err = conn.QueryRow(ctx, `SELECT coalesce(obj_description($1::regclass, 'pg_class')::integer, $2)`, "public."+s.table, version).Scan(&version)
	if err != nil {
		return fmt.Errorf("reading which %s migrations were committed: %w", s.dir, err)
	}
	return s.run(ctx, databaseURL, func(m *migrate.Migrate) error {
		if err := m.Force(version); err != nil {
			return err
		}
		return do(m)
	})
}

// refuseUnknown leaves a schema alone that only a later program knows. A comment that is no
// version is none either: then what golang-migrate has noted counts.
func (s Set) refuseUnknown(ctx context.Context, conn *pgx.Conn) error {
	there, err := s.version(ctx, conn)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return s.refuseNewer(there)
}

func (s Set) run(ctx context.Context, databaseURL string, do func(*migrate.Migrate) error) error {
	source, err := iofs.New(files, s.dir)
	if err != nil {
		return fmt.Errorf("reading the %s migrations: %w", s.dir, err)
	}
	target, err := s.target(databaseURL)
	if err != nil {
		return err
	}
	m, err := migrate.NewWithSourceInstance("iofs", source, target)
	if err != nil {
		return fmt.Errorf("connecting for the %s migrations: %w", s.dir, err)
	}
	stop := context.AfterFunc(ctx, func() { m.GracefulStop <- true })
	err = do(m)
	stop()
	sourceErr, databaseErr := m.Close()
	if err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("running the %s migrations: %w", s.dir, err)
	}
	return errors.Join(sourceErr, databaseErr, ctx.Err())
}

// target is databaseURL in the form golang-migrate's pgx driver reads.
func (s Set) target(databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return "", errors.New("the database URL must be of the form postgres://user:password@host:port/name")
	}
	u.Scheme = "pgx5"
	q := u.Query()
	q.Set("x-migrations-table", s.table)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func refuseUnlessEmpty(ctx context.Context, databaseURL string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connecting to see whether the log is empty: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var exists, filled bool
	err = conn.QueryRow(ctx, `SELECT to_regclass('public.events') IS NOT NULL`).Scan(&exists)
	if err == nil && exists {
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM public.events)`).Scan(&filled)
	}
	if err != nil {
		return fmt.Errorf("seeing whether the log is empty: %w", err)
	}
	if filled {
		return ErrLogNotEmpty
	}
	return nil
}

// Fingerprint changes when any migration does; tests key their template by it.
func Fingerprint() string {
	hash := sha256.New()
	// The embedded files cannot fail to be read.
	_ = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, _ error) error {
		if !entry.IsDir() {
			content, _ := files.ReadFile(path)
			fmt.Fprintf(hash, "%s %d\n%s", path, len(content), content)
		}
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil))[:16]
}
