package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/migrations"
	"github.com/reactdjango-hub/backend/projections"
)

const (
	// viewsLog is the database of a log and its views, filled once.
	viewsLog = "bench_views"
	// upsertRows are written by one statement, as by the projection.
	upsertRows = 1000
	// defaultEvents keeps the usual run short; the goal speaks of a million.
	defaultEvents = 100_000
	// goalEvents and goalSeconds are that goal.
	goalEvents  = 1_000_000
	goalSeconds = 60
	// maxDisturbance is how much longer reads may take while a view is built anew.
	maxDisturbance = 2
)

// entityData is around the position in the data of the filled events, as of an entity.
const (
	entityDataBefore = `{"type":"airport","key":"filled-`
	entityDataAfter  = `","attributes":{"iata":"CDG","name":"Paris Charles de Gaulle","city":"Paris","country":"France","latitude":49.0128,"longitude":2.55}}`
)

// views is a filled log with its view, on the yardsticks' server.
type views struct {
	address string
	options projections.Options
	rows    [][]any // of the view's table, column by column and batch by batch
	close   func()
}

func (b *bench) openViews(ctx context.Context) (*views, error) {
	if b.views != nil {
		return b.views, nil
	}
	address, err := b.database.makeLog(ctx, viewsLog)
	if err != nil {
		return nil, err
	}
	if err := migrations.Projections.Up(ctx, address); err != nil {
		return nil, err
	}
	if err := fill(ctx, address, b.events, entityDataBefore, entityDataAfter); err != nil {
		return nil, fmt.Errorf("filling a log of %d entities: %w", b.events, err)
	}
	pool, err := eventstore.OpenPool(ctx, address, eventstore.RoleProjector, 4)
	if err != nil {
		return nil, err
	}
	v := &views{address: address, close: pool.Close, options: projections.Options{
		Pool: pool, Store: eventstore.New(pool), Codec: eventstore.NewCodec(entity.Kinds()...),
	}}
	if err := projections.Rebuild(ctx, v.options, "entities", nil); err != nil {
		return nil, errors.Join(err, v.prune(ctx))
	}
	b.views = v
	return v, v.read(ctx)
}

func (v *views) prune(ctx context.Context) error {
	_, err := projections.Prune(ctx, v.options, "entities")
	return err
}

// cold builds the view anew from the log.
func (b *bench) cold(ctx context.Context) (sample, error) {
	v, err := b.openViews(ctx)
	if err != nil {
		return sample{}, err
	}
	s, err := b.timed(ctx, func() error { return projections.Rebuild(ctx, v.options, "entities", nil) })
	return s, errors.Join(err, v.prune(ctx))
}

// timed measures what this process and PostgreSQL do for all events.
func (b *bench) timed(ctx context.Context, do func() error) (sample, error) {
	if err := execute(ctx, b.database.url, "CHECKPOINT"); err != nil {
		return sample{}, err
	}
	before, err := cpuNow(0, b.database.pid)
	if err != nil {
		return sample{}, err
	}
	own := ownCPU()
	if err := do(); err != nil {
		return sample{}, err
	}
	after, err := cpuNow(0, b.database.pid)
	return newSample(loadResult{Operations: b.events, Duration: after.at.Sub(before.at), CPUSeconds: ownCPU() - own}, before, after), err
}

// read keeps the rows of the view, to be written again by upserts.
func (v *views) read(ctx context.Context) error {
	return v.query(ctx, func(conn *pgx.Conn) error {
		var schema string
		if err := conn.QueryRow(ctx, `SELECT schema FROM view_pointers WHERE name = 'entities'`).Scan(&schema); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, `SELECT array_agg(org), array_agg(id::text), array_agg(type), array_agg(key), array_agg(status),
			array_agg(attributes::text), array_agg(tags::text), array_agg(version), array_agg(created_at), array_agg(created_by),
			array_agg(updated_at), array_agg(updated_by), array_agg(position), array_agg(event_id::text), array_agg(type_version)
			FROM `+pgx.Identifier{schema, "entities"}.Sanitize()+` GROUP BY position / $1 ORDER BY position / $1`, upsertRows)
		if err != nil {
			return err
		}
		v.rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `CREATE TABLE bench_upserts (LIKE `+pgx.Identifier{schema, "entities"}.Sanitize()+` INCLUDING ALL)`)
		return err
	})
}

func (v *views) query(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, v.address)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

// upserts is the yardstick of cold: the same rows into a table with the same indexes, a
// thousand in a statement, by one connection that does not wait for the disk.
func (b *bench) upserts(ctx context.Context) (sample, error) {
	v, err := b.openViews(ctx)
	if err != nil {
		return sample{}, err
	}
	var s sample
	err = v.query(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, `SET synchronous_commit = off; TRUNCATE bench_upserts`, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		s, err = b.timed(ctx, func() error {
			for _, batch := range v.rows {
				if _, err := conn.Exec(ctx, upsert, batch...); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	})
	return s, err
}

const upsert = `
	INSERT INTO bench_upserts (org, id, type, key, status, attributes, tags, version, created_at, created_by, updated_at, updated_by, position,
	                           event_id, type_version)
	SELECT u.org, u.id, u.type, u.key, u.status, u.attributes::jsonb, u.tags::text[], u.version, u.created_at, u.created_by,
	       u.updated_at, u.updated_by, u.position, u.event_id, u.type_version
	  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
	              $9::timestamptz[], $10::text[], $11::timestamptz[], $12::text[], $13::bigint[], $14::uuid[], $15::bigint[])
	       AS u(org, id, type, key, status, attributes, tags, version, created_at, created_by, updated_at, updated_by, position, event_id, type_version)
	ON CONFLICT (org, id) DO UPDATE SET attributes = excluded.attributes, version = excluded.version`

// inTime judges a build of the size that the goal speaks of.
func inTime(runs []sample) (string, bool) {
	s := median(runs, sample.rate)
	if s.Operations < goalEvents {
		return fmt.Sprintf("a million in %d s (not measured: -events %d)", goalSeconds, goalEvents), true
	}
	seconds := s.Duration.Seconds() * goalEvents / float64(s.Operations)
	return fmt.Sprintf("a million in %d s (was %.0f)", goalSeconds, seconds), seconds <= goalSeconds
}

// readsMeanwhile reads while the view that answers is built anew again and again.
func (b *bench) readsMeanwhile(ctx context.Context) (sample, error) {
	building, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.rebuildHub(building) }()
	s, err := b.onHub(ctx, "read", nil)
	stop()
	s.undisturbed = b.readP99
	return s, errors.Join(err, <-ended)
}

// rebuildHub builds the hub's view again and again until the context ends.
func (b *bench) rebuildHub(ctx context.Context) error {
	for ctx.Err() == nil {
		command := exec.CommandContext(ctx, b.program, "projections", "rebuild", "entities")
		command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
		command.WaitDelay = time.Minute
		command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "HUB_DATA_DIR=" + b.hub.dir}
		if output, err := command.CombinedOutput(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("rebuilding the hub's view: %w: %s", err, output)
		}
	}
	return nil
}

// hardlyDisturbed judges the worst round.
func hardlyDisturbed(runs []sample) (string, bool) {
	worst := 0.0
	for _, s := range runs {
		worst = max(worst, s.P99.Seconds()/s.undisturbed.Seconds())
	}
	return fmt.Sprintf("p99 at most %d × read (was %.1f)", maxDisturbance, worst), worst <= maxDisturbance
}
