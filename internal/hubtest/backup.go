package hubtest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Backup is a database of a test as it was at one time.
type Backup struct {
	name, of    string
	maintenance *pgxpool.Pool
}

// TakeBackup copies the database at url. It is away for a moment meanwhile, as in an
// outage, and connections to it break.
func TakeBackup(tb testing.TB, url string) *Backup {
	tb.Helper()
	b := &Backup{name: "hub_backup_" + strings.ToLower(rand16()), of: databaseOf(tb, url)}
	b.during(tb, func(ctx context.Context) error { return clone(ctx, b.maintenance, b.of, b.name) })
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), databaseTime)
		defer cancel()
		if _, err := b.maintenance.Exec(ctx, "DROP DATABASE IF EXISTS "+b.name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop a backup: %v", err)
		}
	})
	return b
}

// Restore puts the database back to what it was when the backup was taken; once or
// more. What was written since is lost, and connections break.
func (b *Backup) Restore(tb testing.TB) {
	tb.Helper()
	b.during(tb, func(ctx context.Context) error {
		if _, err := b.maintenance.Exec(ctx, "DROP DATABASE "+b.of+" WITH (FORCE)"); err != nil {
			return err
		}
		return clone(ctx, b.maintenance, b.name, b.of)
	})
}

// during does something to a database that nobody may be connected to.
func (b *Backup) during(tb testing.TB, do func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), databaseTime)
	defer cancel()
	var err error
	if b.maintenance, err = maintenancePool(ctx, serverURL(tb)); err == nil {
		err = b.alone(ctx, do)
	}
	if err != nil {
		tb.Fatalf("back up or restore %s: %v", b.of, err)
	}
}

func (b *Backup) alone(ctx context.Context, do func(context.Context) error) error {
	allow := func(yes bool) error {
		_, err := b.maintenance.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", b.of, yes))
		return err
	}
	if err := allow(false); err != nil {
		return err
	}
	_, err := b.maintenance.Exec(ctx, "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = $1", b.of)
	if err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return err
	}
	return allow(true)
}

func databaseOf(tb testing.TB, address string) string {
	tb.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimPrefix(parsed.Path, "/")
}
