package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// A rebuild makes a second schema, fills it from the log while the live one goes on
// serving, and swaps the pointer in one transaction:
//
//	lock the live checkpoint      live batches wait (milliseconds)
//	fold what is missing to it    so the view's position never goes back
//	point to the new schema       and remember the one before it
//	raise the live revision       its worker notices at the next batch
//	commit; then drop the schema that was to go back to until now
//
// Readers name the schema and learn in the same statement which one is pointed to,
// so one that still used the old asks again. A crash before the commit leaves the
// live view as it was; what was built so far is dropped by the next rebuild.
//
// Only the holder of the lease on the view's jobs builds. One that was paused past its
// lease finds its schema gone.

const (
	// maxSwapEvents bounds what is folded while live batches wait, some 100 ms.
	maxSwapEvents = 2 * subscription.MaxEvents
	// dropAttempts and dropTimeout are for removing a schema, which has to wait for
	// queries that still read it. What remains goes with the next rebuild.
	dropAttempts = 3
	dropTimeout  = 5 * time.Second
)

// errWorse keeps a build from answering that lacks more than the live view.
var errWorse = errors.New("the new schema cannot apply events that the live one has applied, and was not swapped in: mend the projection first")

// builder fills a schema beside the live view.
type builder struct {
	writer
	log      *subscription.Reader
	progress *progress
	live     view
	// lost says that the live view is of a history that the log has lost: it is no
	// measure, and nothing to go back to.
	lost bool
	// pause is how long it rests after a batch, as a multiple of what that took.
	pause int
}

func newBuilder(options Options, p Projection, at *progress) *builder {
	return &builder{
		log: subscription.NewReader(options.Store, subscription.Filter{}), progress: at,
		writer: writer{options: options, projection: p, parked: parkedStreams{}},
	}
}

// rebuild builds the view anew and swaps it in; with upgrade, unless it is at the
// projection's version already.
func (b *builder) rebuild(ctx context.Context, upgrade bool) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	if upgrade && b.live.version == b.projection.Version {
		b.drop(ctx, b.at.schema)
		return nil
	}
	err := b.build(ctx)
	if err != nil && !errors.Is(err, errOvertaken) {
		b.drop(context.WithoutCancel(ctx), b.at.schema)
	}
	return err
}

// build fills the new schema and swaps it in.
func (b *builder) build(ctx context.Context) error {
	if err := b.catchUp(ctx); err != nil {
		return err
	}
	if err := b.index(ctx); err != nil {
		return err
	}
	for {
		if err := b.catchUp(ctx); err != nil {
			return err
		}
		if err := b.analyze(ctx); err != nil {
			return err
		}
		if err := b.progress.mayEnd(); err != nil {
			return err
		}
		switch swapped, err := b.swap(ctx); {
		case err != nil:
			return err
		case swapped:
			b.options.Notify()
			if b.live.previous != "" {
				b.drop(ctx, b.live.previous)
			}
			if b.lost {
				b.drop(ctx, b.live.schema)
			}
			return nil
		}
	}
}

// begin drops what earlier builds left behind and creates the new schema.
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
		number := b.live.builds + 1
		if _, err := tx.Exec(ctx, `UPDATE view_pointers SET builds = $2 WHERE name = $1`, b.projection.Name, number); err != nil {
			return err
		}
		b.at = checkpoint{schema: schemaName(b.projection.Name, b.projection.Version, number), epoch: epoch}
		if _, err := dropLeftovers(ctx, tx, b.projection.Name, b.live); err != nil {
			return err
		}
		return createSchema(ctx, tx, b.projection, b.at)
	})
}

// dropLeftovers drops all schemas of the view but those that a pointer leads to.
func dropLeftovers(ctx context.Context, tx pgx.Tx, name string, v view) (dropped []string, err error) {
	rows, err := tx.Query(ctx, `
		SELECT nspname::text FROM pg_namespace
		 WHERE nspname ~ ('^' || $1::text || '_v[0-9]+(_[0-9]+)?$') AND nspname <> ALL ($2::text[])
		   AND nspowner = (SELECT oid FROM pg_roles WHERE rolname = current_user) ORDER BY 1`, name, []string{v.schema, v.previous})
	if err != nil {
		return nil, err
	}
	if dropped, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, err
	}
	for _, schema := range dropped {
		if err := dropSchema(ctx, tx, schema); err != nil {
			return nil, fmt.Errorf("dropping what an earlier build left: %w", err)
		}
	}
	return dropped, nil
}

// catchUp folds the log to its end and settles what that leaves. The next batches are read while one is written, so
// that both databases and this process work at the same time.
func (b *builder) catchUp(ctx context.Context) error {
	total, _, err := b.options.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	reading, stop := context.WithCancel(ctx)
	batches, ended := make(chan subscription.Batch, readAhead), make(chan error, 1)
	go func() {
		defer close(batches)
		ended <- readTo(reading, b.log, b.at.place(), batches)
	}()
	err = b.fold(ctx, batches, total)
	stop()
	if readErr := <-ended; err == nil {
		err = readErr
	}
	if err != nil {
		return err
	}
	return b.settle(ctx)
}

// readAhead is how many batches wait to be written; each is up to subscription.MaxBytes.
const readAhead = 2

// readTo sends what comes after a place to the end of the log.
func readTo(ctx context.Context, log *subscription.Reader, at subscription.Place, batches chan<- subscription.Batch) error {
	for {
		batch, err := log.Read(ctx, at, 0)
		if err != nil || len(batch.Events) == 0 {
			return err
		}
		select {
		case batches <- batch:
			at = batch.At
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fold writes the batches as they come.
func (b *builder) fold(ctx context.Context, batches <-chan subscription.Batch, total int64) error {
	for {
		b.progress.at(b.at.position, total)
		began := time.Now()
		batch, more := <-batches
		if !more {
			return nil
		}
		b.epoch = batch.At.Epoch
		if err := b.write(ctx, batch.Events); err != nil {
			return overtaken(err)
		}
		if err := rest(ctx, time.Duration(b.pause)*time.Since(began)); err != nil {
			return err
		}
	}
}

// rest waits, if there is anything to wait for.
func rest(ctx context.Context, pause time.Duration) error {
	if pause == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

// overtaken tells errMoved of a builder: whoever took over began by dropping what was
// built, and there is nothing left to do.
func overtaken(err error) error {
	if errors.Is(err, errMoved) {
		return errOvertaken
	}
	return err
}

// index makes the indexes of the filled tables, which costs a fraction of keeping
// them up row by row.
func (b *builder) index(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, b.options.Pool, func(tx pgx.Tx) error {
		return execute(ctx, tx, b.projection.Indexes(quoted(b.at.schema)))
	})
	if state := sqlstate(err); state == "42P01" || state == "3F000" {
		return errOvertaken
	}
	if err != nil {
		return fmt.Errorf("making the indexes of the new tables: %w", err)
	}
	return nil
}

// analyze gives the planner figures before the first query comes, and notes of the new pages
// that all may see them, so that what is in an index need not be looked up in its table.
func (b *builder) analyze(ctx context.Context) error {
	for _, table := range b.projection.Tables {
		if _, err := b.options.Pool.Exec(ctx, "VACUUM (ANALYZE) "+quoted(b.at.schema)+"."+quoted(table)); err != nil {
			return fmt.Errorf("analyzing the new tables: %w", err)
		}
	}
	return nil
}

// swap puts the new schema in the live one's place, unless that is too far ahead.
func (b *builder) swap(ctx context.Context) (swapped bool, err error) {
	began := b.at
	err = changeViews(ctx, b.options.Pool, func(tx pgx.Tx) error {
		// Somebody may have gone back to another schema since.
		if b.live, err = loadView(ctx, tx, b.projection.Name); err != nil {
			return err
		}
		live, err := lockCheckpoint(ctx, tx, b.live.schema)
		if err != nil {
			return err
		}
		least, err := b.present(ctx, live)
		if err != nil || least-b.at.position > maxSwapEvents {
			return err
		}
		b.lost = least < live.Position
		if err := b.foldTo(ctx, tx, least); err != nil {
			return err
		}
		if !b.lost {
			if err := b.refuseWorse(ctx, tx); err != nil {
				return err
			}
		}
		if err := point(ctx, tx, b.projection.Name, b.live, b.at.schema, b.projection.Version, 0); err != nil {
			return err
		}
		if b.lost {
			if err := forgetLost(ctx, tx, b.projection.Name); err != nil {
				return err
			}
		}
		swapped = true
		return nil
	})
	if err != nil {
		b.at = began // what was folded in the transaction went with it
	}
	switch {
	case poisonReason(err) != "":
		return false, nil // catching up parks its stream
	case err != nil:
		return false, fmt.Errorf("swapping the new view in: %w", err)
	}
	return swapped, nil
}

// foldTo brings the schema to a position within a transaction, a few batches at most.
func (w *writer) foldTo(ctx context.Context, tx pgx.Tx, position int64) error {
	log := subscription.NewReader(w.options.Store, subscription.Filter{})
	for w.at.position < position {
		batch, err := log.Read(ctx, w.at.place(), position)
		if err != nil {
			return err
		}
		if len(batch.Events) == 0 {
			return subscription.ErrLogBehind
		}
		w.epoch = batch.At.Epoch
		if err := w.send(ctx, tx, batch.Events); err != nil {
			return overtaken(err)
		}
	}
	return nil
}

// refuseWorse returns errWorse when streams are parked in the new schema that are not
// in the live one.
func (b *builder) refuseWorse(ctx context.Context, tx pgx.Tx) error {
	var worse bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT org, stream FROM view_parked WHERE schema = $1
		EXCEPT SELECT org, stream FROM view_parked WHERE schema = $2)`, b.at.schema, b.live.schema).Scan(&worse)
	if err == nil && worse {
		err = errWorse
	}
	return err
}

// point makes a schema the view's, and the one before it the one to go back to. All of
// it must stand or fall with the caller's transaction.
func point(ctx context.Context, tx pgx.Tx, name string, live view, schema string, version, held int) error {
	_, err := tx.Exec(ctx, `UPDATE view_pointers
		SET schema = $2, version = $3, previous = $4, previous_version = $5, held = $6, fault = '' WHERE name = $1`,
		name, schema, version, live.schema, live.version, held)
	if err != nil {
		return err
	}
	// What was written to the new schema so far need not be on disk; from now on
	// readers rely on it.
	if _, err := tx.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', true)`); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE view_checkpoints SET revision = revision + 1 WHERE schema = $1`, live.schema)
	return err
}

// drop removes a schema that nothing points to; what it cannot remove in time goes
// with the next rebuild.
func (b *builder) drop(ctx context.Context, schema string) {
	for attempt := 1; ; attempt++ {
		err := changeViews(ctx, b.options.Pool, func(tx pgx.Tx) error {
			if err := limitLocks(ctx, tx); err != nil {
				return err
			}
			// A swap may have been committed although its answer got lost.
			if now, err := loadView(ctx, tx, b.projection.Name); err != nil || now.schema == schema || now.previous == schema {
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

// limitLocks lets a transaction give up where a query holds what it wants to drop.
func limitLocks(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1, true)`, dropTimeout.String())
	return err
}
