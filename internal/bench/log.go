package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/migrations"
)

// The log's databases on the yardsticks' server: one that is made anew for each run,
// and one that is filled once.
const (
	freshLog = "bench_log"
	grownLog = "bench_grown"
)

// maxCPUGrowth is how much more CPU a command may cost under an old snapshot and on a
// log of millions.
const maxCPUGrowth = 1.3

// makeLog makes an empty log, in place of one that is there.
func (d *database) makeLog(ctx context.Context, name string) (address string, err error) {
	err = d.query(ctx, func(conn *pgx.Conn) error {
		for _, statement := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "CREATE DATABASE " + name, "CHECKPOINT"} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if address, err = withDatabase(d.url, name); err != nil {
		return "", err
	}
	return address, migrations.Log.Up(ctx, address)
}

func withDatabase(address, name string) (string, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	parsed.Path = "/" + name
	return parsed.String(), nil
}

// onLog loads a fresh log by callers in a child, without HTTP. Clients are callers
// and loop together, for they are one process.
func (b *bench) onLog(ctx context.Context, work string, callers int) (sample, error) {
	address, err := b.database.makeLog(ctx, freshLog)
	if err != nil {
		return sample{}, err
	}
	return b.load(ctx, work, b.logSpec(work, address, callers), 0, b.database.pid)
}

func (b *bench) logSpec(work, address string, callers int) loadSpec {
	spec := b.spec(work, "")
	spec.Database, spec.Connections = address, callers
	if work == "turns" || work == "rows" {
		spec.Commands = turnSize
	}
	return spec
}

// onTwoProcesses shares the callers out over two loops, each in a process of its own.
func (b *bench) onTwoProcesses(ctx context.Context, work string) (sample, error) {
	address, err := b.database.makeLog(ctx, freshLog)
	if err != nil {
		return sample{}, err
	}
	var samples [2]sample
	var errs [2]error
	var both sync.WaitGroup
	for i := range samples {
		spec := b.logSpec(work, address, max(b.connections/2, 1))
		both.Go(func() { samples[i], errs[i] = b.load(ctx, work, spec, 0, b.database.pid) })
	}
	both.Wait()
	return together(samples[0], samples[1]), errors.Join(errs[:]...)
}

// together is what two clients of one PostgreSQL did at the same time. Each has seen
// all of its CPU, and the other client among the others'.
func together(one, other sample) sample {
	all := one
	all.Operations += other.Operations
	all.Errors += other.Errors
	if all.FirstError == "" {
		all.FirstError = other.FirstError
	}
	all.P50, all.P99, all.Max = max(one.P50, other.P50), max(one.P99, other.P99), max(one.Max, other.Max)
	all.CPUSeconds += other.CPUSeconds
	if n := float64(all.Operations); n > 0 {
		all.postgres = one.postgres * float64(one.Operations) / n
		all.client = all.CPUSeconds * 1e6 / n
	}
	all.foreign = max(0, one.foreign-other.CPUSeconds/other.Duration.Seconds())
	return all
}

// rawRows is the yardstick of turns.
func (b *bench) rawRows(ctx context.Context) (sample, error) {
	address, err := b.database.makeLog(ctx, freshLog)
	if err != nil {
		return sample{}, err
	}
	if err := execute(ctx, address, rawSchema); err != nil {
		return sample{}, err
	}
	return b.load(ctx, "rows", b.logSpec("rows", address, 1), 0, b.database.pid)
}

func execute(ctx context.Context, address, statement string, arguments ...any) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement, arguments...)
	return errors.Join(err, conn.Close(ctx))
}

// underSnapshot measures the end of the time for which somebody holds a snapshot of the
// empty log.
func (b *bench) underSnapshot(ctx context.Context) (sample, error) {
	address, err := b.database.makeLog(ctx, freshLog)
	if err != nil {
		return sample{}, err
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM receipts`); err != nil {
		return sample{}, err
	}
	spec := b.logSpec("store", address, b.connections)
	spec.WarmUp = max(b.hold-b.duration, b.warmUp)
	return b.load(ctx, "store", spec, 0, b.database.pid)
}

// prefilledAtOnce is how many events one statement fills in.
const prefilledAtOnce = 100_000

// prefill writes events as the database's owner, past the functions of the log: rows
// like those of new entities, with what every index needs. Their data is the two texts
// with the position between them.
const prefill = `
	WITH filled AS (
	  INSERT INTO events
	  SELECT n, n, (SELECT epoch FROM log_epochs), i.id, 'bench', 'entity:' || i.id, 1, 'entity.created', 1,
	         ARRAY['entity:' || i.id, 'key:airport/filled-' || n], '{}', convert_to($3::text || n || $4::text, 'UTF8'),
	         '{"sub":"ana","person":"ana"}', NULL, NULL, 'filled-' || n, 'filled-' || n, NULL, i.id, i.at, i.at, sha256(int8send(n))
	    FROM generate_series($1::bigint, $2::bigint) AS n
	   CROSS JOIN LATERAL (
	     SELECT (lpad(to_hex(n), 12, '0') || '7000' || substr(md5(n::text), 1, 16))::uuid AS id, now() - interval '1 day' AS at) i
	  RETURNING position, tags, command_id, recorded_at
	), tagged AS (
	  INSERT INTO event_tags SELECT 'bench', t.tag, f.position FROM filled f CROSS JOIN LATERAL unnest(f.tags) AS t(tag)
	)
	INSERT INTO receipts
	SELECT f.command_id, 'bench', 'ana', 'filled-' || f.position, '\x00', NULL, f.command_id::text, true, 1, f.position, f.position, f.recorded_at
	  FROM filled f`

// onGrown loads a log that holds b.grown events already.
func (b *bench) onGrown(ctx context.Context) (sample, error) {
	if b.grownAddress == "" {
		address, err := b.database.makeLog(ctx, grownLog)
		if err != nil {
			return sample{}, err
		}
		if err := fill(ctx, address, b.grown, strings.Repeat("event ", 40), ""); err != nil {
			return sample{}, fmt.Errorf("filling a log of %d events: %w", b.grown, err)
		}
		b.grownAddress = address
	}
	return b.load(ctx, "store", b.logSpec("store", b.grownAddress, b.connections), 0, b.database.pid)
}

func fill(ctx context.Context, address string, events int, before, after string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `SET synchronous_commit = off`); err != nil {
		return err
	}
	for from := 1; from <= events; from += prefilledAtOnce {
		if _, err := conn.Exec(ctx, prefill, from, min(from+prefilledAtOnce-1, events), before, after); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, `CHECKPOINT`); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `ANALYZE`)
	return err
}

// cpu is what an operation cost all in all.
func (s sample) cpu() float64 { return s.server + s.postgres + s.client }

// defaultHold is what the goal speaks of.
const defaultHold = time.Minute

// defaultGrown keeps the usual run short; the goal speaks of ten million.
const defaultGrown = 1_000_000
