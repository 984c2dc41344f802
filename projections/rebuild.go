package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// A rebuild makes a second schema, fills it from the log while the live one goes on
// serving, and swaps the pointer in one transaction:
//
//	lock the live checkpoint      live batches wait (milliseconds)
//	fold what is missing to it    so the view's position never goes back
//	point to the new schema
//	delete the live checkpoint    engines notice at their next batch
//	commit; then drop the old schema
//
// Readers name the schema and learn in the same statement which one is pointed to,
// so one that still used the old asks again. A crash before the commit leaves the
// live view as it was; what was built so far is dropped by the next rebuild.
//
// Only one builds at a time: a schema whose checkpoint still moves is left alone, and
// the second waits.

const (
	// maxSwapEvents bounds what is folded while live batches wait, some 100 ms.
	maxSwapEvents = 2 * subscription.MaxEvents
	// dropAttempts and dropTimeout are for removing the old schema, which has to wait
	// for queries that still read it. What remains goes with the next rebuild.
	dropAttempts = 3
	dropTimeout  = 5 * time.Second
	// builderDead is how long a checkpoint of a build stands still before its builder
	// is taken for dead; a batch takes well under a second. waitForBuilder is how
	// often that is looked at.
	builderDead    = 15 * time.Second
	waitForBuilder = 500 * time.Millisecond
)

// ErrUnknownView is returned for a name that no projection has.
var ErrUnknownView = errors.New("there is no view of this name")

var (
	// errBuilding says that somebody is building this view already.
	errBuilding = errors.New("another rebuild of this view is under way")
	// errOvertaken says that somebody else took over, thinking us dead.
	errOvertaken = errors.New("another rebuild of this view has taken over")
)

// Rebuild makes a view anew from the whole log, beside the live one, and puts it in
// its place. progress, which may be nil, is told after each batch how many positions
// of how many are done. Errors: ErrUnknownView, and whatever the databases report.
func Rebuild(ctx context.Context, options Options, name string, progress func(done, total int64)) error {
	for _, p := range All() {
		if p.Name != name {
			continue
		}
		options = options.withDefaults()
		if progress == nil {
			progress = func(int64, int64) {}
		}
		if _, err := ensureView(ctx, options, p); err != nil {
			return err
		}
		if err := newBuilder(options, p).run(ctx, false, progress); err != nil {
			return fmt.Errorf("rebuilding view %s: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnknownView, name)
}

// builder fills one schema beside the live view.
type builder struct {
	options    Options
	projection Projection
	log        *subscription.Reader
	live       view
	number     int // the view's build number when it is done
	at         checkpoint
}

func newBuilder(options Options, p Projection) *builder {
	return &builder{options: options, projection: p, log: subscription.NewReader(options.Store, subscription.Filter{})}
}

// run builds the view anew; with upgrade, unless it is at the projection's version
// already.
func (b *builder) run(ctx context.Context, upgrade bool, progress func(done, total int64)) error {
	for {
		err := b.begin(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, errBuilding) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", errBuilding, ctx.Err())
		case <-time.After(waitForBuilder):
		}
	}
	if upgrade && b.live.version == b.projection.Version {
		b.drop(ctx, b.at.schema)
		return nil // another process has done it while we waited
	}
	err := b.build(ctx, progress)
	if err != nil && !errors.Is(err, errOvertaken) {
		b.drop(context.WithoutCancel(ctx), b.at.schema)
	}
	return err
}

// build fills the new schema and swaps it in.
func (b *builder) build(ctx context.Context, progress func(done, total int64)) error {
	for {
		if err := b.catchUp(ctx, progress); err != nil {
			return err
		}
		if err := b.analyze(ctx); err != nil {
			return err
		}
		switch swapped, err := b.swap(ctx); {
		case err != nil:
			return err
		case swapped:
			b.options.Notify()
			b.drop(ctx, b.live.schema)
			return nil
		}
	}
}

// begin drops what earlier rebuilds left behind and creates the new schema.
func (b *builder) begin(ctx context.Context) error {
	_, epoch, err := b.options.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	return changeViews(ctx, b.options.Pool, func(tx pgx.Tx) error {
		if b.live, err = loadView(ctx, tx, b.projection.Name); err != nil {
			return err
		}
		if b.live.version > b.projection.Version {
			return &versionError{view: b.live.version, program: b.projection.Version}
		}
		if b.live.version == b.projection.Version {
			b.number = b.live.build + 1
		} else {
			b.number = 1
		}
		b.at = checkpoint{schema: schemaName(b.projection.Name, b.projection.Version, b.number), epoch: epoch}
		if err := refuseIfBuilding(ctx, tx, b.at.schema); err != nil {
			return err
		}
		leftovers, err := leftoverSchemas(ctx, tx, b.projection.Name, b.live.schema)
		if err != nil {
			return err
		}
		for _, schema := range leftovers {
			if err := dropSchema(ctx, tx, schema); err != nil {
				return fmt.Errorf("dropping what an earlier rebuild left: %w", err)
			}
		}
		return createSchema(ctx, tx, b.projection, b.at)
	})
}

// refuseIfBuilding returns errBuilding while the checkpoint of the schema moves.
func refuseIfBuilding(ctx context.Context, tx pgx.Tx, schema string) error {
	var alive bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM view_checkpoints
		WHERE schema = $1 AND updated_at > clock_timestamp() - make_interval(secs => $2))`, schema, builderDead.Seconds()).Scan(&alive)
	if err == nil && alive {
		err = errBuilding
	}
	return err
}

// leftoverSchemas are all of the view's but the live one.
func leftoverSchemas(ctx context.Context, tx pgx.Tx, name, live string) ([]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT nspname::text FROM pg_namespace
		 WHERE nspname ~ ('^' || $1::text || '_v[0-9]+(_[0-9]+)?$') AND nspname <> $2::text
		   AND nspowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)`, name, live)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// catchUp folds the log to its end.
func (b *builder) catchUp(ctx context.Context, progress func(done, total int64)) error {
	total, _, err := b.options.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	for {
		progress(b.at.position, max(total, b.at.position))
		batch, err := b.log.Read(ctx, b.at.place(), 0)
		if err != nil {
			return err
		}
		if len(batch.Events) == 0 {
			return nil
		}
		if err := b.write(ctx, b.options.Pool, batch.Events); err != nil {
			return err
		}
	}
}

// write applies a batch. A second rebuild of the same view starts by dropping what
// the first has built, which then has nothing left to do.
func (b *builder) write(ctx context.Context, db batchSender, events []domain.Event) error {
	next, err := apply(ctx, db, b.options.Codec, b.projection, b.at, events)
	if errors.Is(err, errMoved) {
		return errOvertaken
	}
	if err != nil {
		return err
	}
	b.at = next
	return nil
}

// analyze gives the planner figures before the first query comes.
func (b *builder) analyze(ctx context.Context) error {
	for _, table := range b.projection.Tables {
		if _, err := b.options.Pool.Exec(ctx, "ANALYZE "+quoted(b.at.schema)+"."+quoted(table)); err != nil {
			return fmt.Errorf("analyzing the new tables: %w", err)
		}
	}
	return nil
}

// swap puts the new schema in the live one's place, unless that is too far ahead.
func (b *builder) swap(ctx context.Context) (swapped bool, err error) {
	began := b.at
	err = changeViews(ctx, b.options.Pool, func(tx pgx.Tx) error {
		var live int64
		err := tx.QueryRow(ctx, `SELECT position FROM view_checkpoints WHERE schema = $1 FOR UPDATE`, b.live.schema).Scan(&live)
		if errors.Is(err, pgx.ErrNoRows) {
			return errOvertaken
		}
		if err != nil || live-b.at.position > maxSwapEvents {
			return err
		}
		for b.at.position < live {
			batch, err := b.log.Read(ctx, b.at.place(), live)
			if err != nil {
				return err
			}
			if len(batch.Events) == 0 {
				return subscription.ErrLogBehind
			}
			if err := b.write(ctx, tx, batch.Events); err != nil {
				return err
			}
		}
		if err := b.point(ctx, tx); err != nil {
			return err
		}
		swapped = true
		return nil
	})
	if err != nil {
		b.at = began // what was folded in the transaction went with it
		return false, fmt.Errorf("swapping the new view in: %w", err)
	}
	return swapped, nil
}

// point makes the new schema the view's. All of it must stand or fall with the
// caller's transaction.
func (b *builder) point(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE view_pointers SET schema = $2, version = $3, build = $4 WHERE name = $1`,
		b.projection.Name, b.at.schema, b.projection.Version, b.number)
	if err != nil {
		return err
	}
	// What was written to the new schema so far need not be on disk; from now on
	// there is nothing else.
	if _, err := tx.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', true)`); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM view_checkpoints WHERE schema = $1`, b.live.schema)
	return err
}

// drop removes a schema that nothing points to; what it cannot remove in time goes
// with the next rebuild.
func (b *builder) drop(ctx context.Context, schema string) {
	for attempt := 1; ; attempt++ {
		err := changeViews(ctx, b.options.Pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1, true)`, dropTimeout.String()); err != nil {
				return err
			}
			// A swap may have been committed although its answer got lost.
			if now, err := loadView(ctx, tx, b.projection.Name); err != nil || now.schema == schema {
				return err
			}
			return dropSchema(ctx, tx, schema)
		})
		if err == nil {
			return
		}
		if attempt == dropAttempts || ctx.Err() != nil {
			b.options.Log.Warn("projections: tables of a view that are not used remain until its next rebuild",
				"view", b.projection.Name, "schema", schema, "error", err)
			return
		}
	}
}
