package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// commitTimeout bounds one batch, waiting for another writer of the view included.
// A thousand events take some 30 ms.
const commitTimeout = 30 * time.Second

// errMoved says that a view's checkpoint is not where the batch began. Nothing of
// the batch was written.
var errMoved = errors.New("the view has been moved by another")

// sqlstateMoved is what advance_view raises; see migrations/projections.
const sqlstateMoved = "HB001"

// checkpoint is how far a schema has come.
type checkpoint struct {
	schema   string
	position int64
	epoch    uuid.UUID
	// revision is what view_checkpoints has; it goes with the list of parked streams.
	revision int64
}

func (c checkpoint) place() subscription.Place {
	return subscription.Place{Position: c.position, Epoch: c.epoch}
}

// view is a pointer together with the checkpoint it leads to.
type view struct {
	checkpoint
	version, builds int
	// previous is the schema to go back to, empty when there is none.
	previous        string
	previousVersion int
	held            int
}

// schemaName is unique for ever: no build number of a view is used twice.
func schemaName(name string, version, build int) string {
	if build == 1 {
		return fmt.Sprintf("%s_v%d", name, version)
	}
	return fmt.Sprintf("%s_v%d_%d", name, version, build)
}

func quoted(schema string) string { return pgx.Identifier{schema}.Sanitize() }

// querier and batchSender are what a pool and a transaction have in common.
type (
	querier interface {
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
		QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	}
	batchSender interface {
		SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
	}
)

// loadView reads pointer and checkpoint; pgx.ErrNoRows when there is no such view.
func loadView(ctx context.Context, db querier, name string) (view, error) {
	var v view
	err := db.QueryRow(ctx, `
		SELECT p.version, p.builds, coalesce(p.previous, ''), coalesce(p.previous_version, 0), p.held,
		       c.schema, c.position, c.epoch, c.revision
		  FROM view_pointers p JOIN view_checkpoints c ON c.schema = p.schema WHERE p.name = $1`, name).
		Scan(&v.version, &v.builds, &v.previous, &v.previousVersion, &v.held, &v.schema, &v.position, &v.epoch, &v.revision)
	if err != nil {
		return v, fmt.Errorf("reading where view %s is: %w", name, err)
	}
	return v, nil
}

// ensureView gives the view, which it creates empty when there is none.
func ensureView(ctx context.Context, options Options, p Projection) (view, error) {
	found, err := loadView(ctx, options.Pool, p.Name)
	if !errors.Is(err, pgx.ErrNoRows) {
		return found, err
	}
	_, epoch, err := options.Store.Head(ctx)
	if err != nil {
		return view{}, fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	err = changeViews(ctx, options.Pool, func(tx pgx.Tx) error {
		if found, err = loadView(ctx, tx, p.Name); !errors.Is(err, pgx.ErrNoRows) {
			return err // made while we waited for the lock
		}
		found = view{version: p.Version, builds: 1, checkpoint: checkpoint{schema: schemaName(p.Name, p.Version, 1), epoch: epoch}}
		if err := createSchema(ctx, tx, p, found.checkpoint); err != nil {
			return err
		}
		if err := execute(ctx, tx, p.Indexes(quoted(found.schema))); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO view_pointers (name, schema, version) VALUES ($1, $2, $3)`, p.Name, found.schema, found.version)
		return err
	})
	if err != nil {
		return view{}, fmt.Errorf("creating view %s: %w", p.Name, err)
	}
	return found, nil
}

// lockCheckpoint holds a schema where it is until the transaction ends.
func lockCheckpoint(ctx context.Context, tx pgx.Tx, schema string) (at subscription.Place, err error) {
	err = tx.QueryRow(ctx, `SELECT position, epoch FROM view_checkpoints WHERE schema = $1 FOR UPDATE`, schema).Scan(&at.Position, &at.Epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errOvertaken
	}
	return at, err
}

// changeViews runs do in a transaction, one at a time over all processes.
func changeViews(ctx context.Context, pool *pgxpool.Pool, do func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('hub.views', 0))`); err != nil {
			return err
		}
		return do(tx)
	})
}

// createSchema makes an empty schema at the checkpoint, without the indexes that only
// queries need, in the place of what may be left of an earlier attempt.
func createSchema(ctx context.Context, tx pgx.Tx, p Projection, at checkpoint) error {
	if err := dropSchema(ctx, tx, at.schema); err != nil {
		return err
	}
	schema := quoted(at.schema)
	statements := "CREATE SCHEMA " + schema + "; GRANT USAGE ON SCHEMA " + schema + " TO hub_query; " + p.DDL(schema)
	for _, table := range p.Tables {
		statements += protect(schema + "." + quoted(table))
	}
	if err := execute(ctx, tx, statements); err != nil {
		return fmt.Errorf("creating schema %s: %w", at.schema, err)
	}
	_, err := tx.Exec(ctx, `INSERT INTO view_checkpoints (schema, position, epoch, updated_at) VALUES ($1, $2, $3, clock_timestamp())`,
		at.schema, at.position, at.epoch)
	return err
}

// execute runs several statements, which only the simple protocol takes at a time.
func execute(ctx context.Context, tx pgx.Tx, statements string) error {
	_, err := tx.Exec(ctx, statements, pgx.QueryExecModeSimpleProtocol)
	return err
}

// protect puts a table under row-level security: queries see the organisation named
// in hub.org and nothing without one.
func protect(table string) string {
	return `
		ALTER TABLE ` + table + ` ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
		CREATE POLICY projector ON ` + table + ` TO hub_projector USING (true) WITH CHECK (true);
		CREATE POLICY own_organisation ON ` + table + ` FOR SELECT TO hub_query
			USING (org = nullif(current_setting('hub.org', true), ''));
		GRANT SELECT ON ` + table + ` TO hub_query;`
}

// dropSchema removes a schema and its checkpoint. The checkpoint goes first: batches
// lock it before the tables, and the other order could end in a deadlock.
func dropSchema(ctx context.Context, tx pgx.Tx, schema string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM view_checkpoints WHERE schema = $1`, schema); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DROP SCHEMA IF EXISTS "+quoted(schema)+" CASCADE")
	return err
}
