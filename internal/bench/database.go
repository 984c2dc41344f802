package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/internal/local"
)

// database is the private PostgreSQL of the yardsticks: started by the same code
// and with the same settings as that of `hub dev`.
type database struct {
	server *local.Postgres
	url    string
	pid    int
	ids    []string // of bench_rows
}

// bench_events is like the log's table where that matters to a bare INSERT: two
// unique indexes, a payload of some 400 bytes.
const schema = `
	CREATE TABLE bench_events (
		id uuid PRIMARY KEY, stream text NOT NULL, version bigint NOT NULL, type text NOT NULL, data bytea NOT NULL,
		position bigint GENERATED ALWAYS AS IDENTITY, recorded_at timestamptz NOT NULL DEFAULT now(),
		UNIQUE (stream, version));
	CREATE TABLE bench_rows (id uuid PRIMARY KEY, data bytea NOT NULL)`

func startDatabase(ctx context.Context, dir string, airports [][]byte) (*database, error) {
	server, err := local.StartPostgres(ctx, local.PostgresOptions{DataDir: dir, Durable: true})
	if err != nil {
		return nil, err
	}
	d := &database{server: server, url: server.URL("postgres")}
	if err := d.prepare(ctx, airports); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *database) stop() { _ = d.server.Stop(context.Background()) } // its folder is removed next

func (d *database) prepare(ctx context.Context, airports [][]byte) error {
	all, err := processes()
	if err != nil {
		return err
	}
	d.pid = postgresOf(all, os.Getpid())
	return d.query(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, schema); err != nil {
			return err
		}
		rows := make([][]any, maxKeptIDs)
		for i := range rows {
			id := uuid.Must(uuid.NewV7())
			d.ids = append(d.ids, id.String())
			rows[i] = []any{id, airports[i%len(airports)]}
		}
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"bench_rows"}, []string{"id", "data"}, pgx.CopyFromRows(rows))
		return err
	})
}

func (d *database) query(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

// empty makes each run begin alike: no rows, and no checkpoint due.
func (d *database) empty(ctx context.Context) error {
	return d.query(ctx, func(conn *pgx.Conn) error {
		for _, statement := range []string{`TRUNCATE bench_events`, `CHECKPOINT`} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// settings are those that differ from the server's own defaults, but for names of
// places.
const settings = `SELECT name || '=' || setting FROM pg_settings
	WHERE source = 'command line' AND name NOT IN ('data_directory', 'config_file', 'hba_file', 'ident_file', 'unix_socket_directories')
	ORDER BY name`

func readSettings(ctx context.Context, url string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	rows, err := conn.Query(ctx, settings)
	if err != nil {
		return "", errors.Join(err, conn.Close(ctx))
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(lines, " "), errors.Join(err, conn.Close(ctx))
}

// program finds a program beside the server that runs; "" when it is not there.
func (d *database) program(name string) string {
	server, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", d.pid))
	if err != nil {
		return ""
	}
	path := filepath.Join(filepath.Dir(server), name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// run runs a program to its end and returns what it wrote.
func run(ctx context.Context, dir, program string, arguments ...string) (output string, state *os.ProcessState, err error) {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Dir = dir
	var text bytes.Buffer
	command.Stdout, command.Stderr = &text, &text
	if err := command.Run(); err != nil {
		return "", nil, fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(text.String()))
	}
	return text.String(), command.ProcessState, nil
}
