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

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
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
}

func (c checkpoint) place() subscription.Place {
	return subscription.Place{Position: c.position, Epoch: c.epoch}
}

// view is a pointer together with the checkpoint it leads to.
type view struct {
	checkpoint
	version, build int
}

// schemaName is unique for ever: no rebuild uses a name again.
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
		SELECT p.version, p.build, c.schema, c.position, c.epoch
		  FROM view_pointers p JOIN view_checkpoints c ON c.schema = p.schema WHERE p.name = $1`, name).
		Scan(&v.version, &v.build, &v.schema, &v.position, &v.epoch)
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
		found = view{version: p.Version, build: 1, checkpoint: checkpoint{schema: schemaName(p.Name, p.Version, 1), epoch: epoch}}
		if err := createSchema(ctx, tx, p, found.checkpoint); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO view_pointers (name, schema, version, build) VALUES ($1, $2, $3, $4)`,
			p.Name, found.schema, found.version, found.build)
		return err
	})
	if err != nil {
		return view{}, fmt.Errorf("creating view %s: %w", p.Name, err)
	}
	return found, nil
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

// createSchema makes an empty schema at the checkpoint, in the place of what may be
// left of an earlier attempt.
func createSchema(ctx context.Context, tx pgx.Tx, p Projection, at checkpoint) error {
	if err := dropSchema(ctx, tx, at.schema); err != nil {
		return err
	}
	schema := quoted(at.schema)
	statements := "CREATE SCHEMA " + schema + "; GRANT USAGE ON SCHEMA " + schema + " TO hub_query; " + p.DDL(schema)
	for _, table := range p.Tables {
		statements += protect(schema + "." + quoted(table))
	}
	// Only the simple protocol takes several statements at a time.
	if _, err := tx.Exec(ctx, statements, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("creating schema %s: %w", at.schema, err)
	}
	_, err := tx.Exec(ctx, `INSERT INTO view_checkpoints (schema, position, epoch, updated_at) VALUES ($1, $2, $3, clock_timestamp())`,
		at.schema, at.position, at.epoch)
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

// apply writes the rows and the checkpoint of a batch that begins right after at:
// one transaction, one round trip. It returns the new checkpoint, or errMoved.
func apply(ctx context.Context, db batchSender, codec *eventstore.Codec, p Projection, at checkpoint, events []domain.Event) (checkpoint, error) {
	handled, err := p.handled(codec, events)
	if err != nil {
		return at, err
	}
	next := positionOf(at.schema, events)
	batch := &pgx.Batch{}
	// Losing the last moments in a crash is harmless: the checkpoint is lost with the
	// rows, and the events come again.
	batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	// First, so that of two engines the slower one stops before it does any work.
	batch.Queue(`SELECT advance_view($1, $2, $3, $4)`, at.schema, at.position, next.position, next.epoch)
	if len(handled) > 0 {
		if err := p.Apply(batch, quoted(at.schema), handled); err != nil {
			return at, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err = db.SendBatch(ctx, batch).Close()
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case sqlstateMoved, "42P01", "3F000": // the last two: the schema is gone
			return at, errMoved
		}
	}
	if err != nil {
		return at, fmt.Errorf("writing view %s after %d: %w", p.Name, at.position, err)
	}
	return next, nil
}

// Listing is a view as the database has it, whoever writes it.
type Listing struct {
	Name      string    `json:"name"`
	Version   int       `json:"version"`
	Schema    string    `json:"schema"`
	Position  int64     `json:"position"`
	Epoch     uuid.UUID `json:"epoch"`
	UpdatedAt time.Time `json:"updated_at"`
}

// List reads all views by name. RoleProjector or RoleQuery.
func List(ctx context.Context, pool *pgxpool.Pool) ([]Listing, error) {
	rows, err := pool.Query(ctx, `
		SELECT p.name, p.version, p.schema, c.position, c.epoch, c.updated_at
		  FROM view_pointers p JOIN view_checkpoints c ON c.schema = p.schema ORDER BY p.name`)
	if err != nil {
		return nil, fmt.Errorf("listing views: %w", err)
	}
	views, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Listing, error) {
		var l Listing
		err := row.Scan(&l.Name, &l.Version, &l.Schema, &l.Position, &l.Epoch, &l.UpdatedAt)
		l.UpdatedAt = l.UpdatedAt.UTC()
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing views: %w", err)
	}
	return views, nil
}
