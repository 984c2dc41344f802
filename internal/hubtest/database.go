package hubtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// databaseTime bounds making one database, the wait for the other test binaries
// that make theirs included.
const databaseTime = 2 * time.Minute

// Advisory locks of the maintenance database: one turn for making templates
// (roles belong to the server, so migrations must not run at once), one for
// cloning (a template must have no other user).
const (
	lockTemplates = 7_301_001
	lockClones    = 7_301_002
)

// Migration makes the schema of a test's database. It is passed in because the
// packages that own one are tested with this kit themselves.
type Migration struct {
	// Fingerprint changes when the schema does: a hash of the files, with a name.
	Fingerprint string
	// Up migrates an empty database, as superuser, and closes its connections.
	Up func(ctx context.Context, url string) error
}

// Database makes a database for one test, dropped after it, and returns its
// address. It is a clone of a template that the first test with this migration
// makes; of a zero Migration it is empty.
func Database(tb testing.TB, migration Migration) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), databaseTime)
	defer cancel()
	server := serverURL(tb)
	maintenance, err := maintenancePool(ctx, server)
	if err != nil {
		tb.Fatalf("connect to the test server: %v", err)
	}
	template := "template1"
	if migration.Up != nil {
		sum := sha256.Sum256([]byte(migration.Fingerprint))
		template = "hub_template_" + hex.EncodeToString(sum[:8])
		if err := ensureTemplate(ctx, maintenance, server, template, migration); err != nil {
			tb.Fatalf("make the template database: %v", err)
		}
	}
	name := "hub_test_" + strings.ToLower(rand16())
	if err := clone(ctx, maintenance, template, name); err != nil {
		tb.Fatalf("clone the template database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), databaseTime)
		defer cancel()
		if _, err := maintenance.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop the test's database: %v", err)
		}
	})
	return onServer(server, name)
}

// Pool connects to url and acts as role, as the services do; an empty role stays
// the superuser, whom row-level security does not bind. Closed after the test.
func Pool(tb testing.TB, url, role string) *pgxpool.Pool {
	tb.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	config.MaxConns = 8
	if role != "" {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SET ROLE "+pgx.Identifier{role}.Sanitize())
			return err
		}
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// ensureTemplate makes the template unless it is there; only a finished one is
// marked as a template.
func ensureTemplate(ctx context.Context, maintenance *pgxpool.Pool, server, name string, migration Migration) error {
	return locked(ctx, maintenance, lockTemplates, func(conn *pgxpool.Conn) error {
		var done bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)", name).Scan(&done)
		if err != nil || done {
			return err
		}
		for _, statement := range []string{
			"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)",
			"CREATE DATABASE " + name,
		} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		if err := migration.Up(ctx, onServer(server, name)); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		_, err = conn.Exec(ctx, "ALTER DATABASE "+name+" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
		return err
	})
}

// clone copies a template. What belongs to a database as a whole, the rights on
// it and its settings, PostgreSQL does not copy; so it is done here.
func clone(ctx context.Context, maintenance *pgxpool.Pool, template, name string) error {
	return locked(ctx, maintenance, lockClones, func(conn *pgxpool.Conn) error {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
			return err
		}
		if template == "template1" {
			return nil
		}
		grants, err := grantsOf(ctx, conn, template, name)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, grants+`INSERT INTO pg_db_role_setting (setdatabase, setrole, setconfig)
			SELECT clone.oid, setrole, setconfig
			FROM pg_db_role_setting JOIN pg_database template ON template.oid = setdatabase, pg_database clone
			WHERE template.datname = '`+template+`' AND clone.datname = '`+name+`'`)
		return err
	})
}

// grantsOf is the SQL that gives the rights on one database on another; empty
// when they are the ones that every database has.
func grantsOf(ctx context.Context, conn *pgxpool.Conn, template, name string) (string, error) {
	rows, err := conn.Query(ctx, `
		SELECT format('GRANT %s ON DATABASE %I TO %s%s;', privilege_type, $2::text,
			CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
			CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
		FROM pg_database, aclexplode(datacl) WHERE datname = $1`, template, name)
	if err != nil {
		return "", err
	}
	grants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(grants) == 0 {
		return "", err
	}
	return "REVOKE ALL ON DATABASE " + name + " FROM PUBLIC;" + strings.Join(grants, ""), nil
}

// locked runs do on a connection that holds an advisory lock.
func locked(ctx context.Context, pool *pgxpool.Pool, key int, do func(*pgxpool.Conn) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", key); err != nil {
		return err
	}
	defer func() {
		// A test that gave up must not keep the lock in the pool; a closed
		// connection loses it.
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", key); err != nil {
			_ = conn.Conn().Close(context.WithoutCancel(ctx))
		}
	}()
	return do(conn)
}

// admin is this binary's pool on the database `postgres`.
var admin struct {
	sync.Mutex
	pool *pgxpool.Pool
}

func maintenancePool(ctx context.Context, server string) (*pgxpool.Pool, error) {
	admin.Lock()
	defer admin.Unlock()
	if admin.pool == nil {
		config, err := pgxpool.ParseConfig(server)
		if err != nil {
			return nil, err
		}
		config.MaxConns = 4
		// Statements of several parts need the simple protocol, and nothing here
		// is run often enough to be worth preparing.
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		if admin.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
			return nil, err
		}
	}
	return admin.pool, nil
}

func closeMaintenance() {
	admin.Lock()
	defer admin.Unlock()
	if admin.pool != nil {
		admin.pool.Close()
		admin.pool = nil
	}
}

// onServer is the address of another database of the same server.
func onServer(server, database string) string {
	address, err := url.Parse(server)
	if err != nil {
		return server // the pool refused it before
	}
	address.Path = "/" + database
	return address.String()
}
