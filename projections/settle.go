package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Some events change more rows than a batch may. Apply then only notes that there is
// something to do, in a table of the view, and Settle does it bit by bit, while the view
// goes on and answers:
//
//	lock the checkpoint     batches wait, some 20 ms, so that nothing changes meanwhile
//	do a part of the work
//	commit, rest
//
// When nothing is left the rows are what they had been if it had been done at once.

const (
	// settleInterval is how often it is looked whether there is something to do.
	settleInterval = 500 * time.Millisecond
	// settleRest leaves the checkpoint to batches between two parts.
	settleRest = 20 * time.Millisecond
)

// settle does what is left of a schema until the context ends.
func (w *worker) settle(ctx context.Context, schema string) {
	pause := settleInterval
	for rest(ctx, pause) == nil {
		left, err := settleStep(ctx, w.options, w.projection, schema)
		pause = settleInterval
		if left {
			pause = settleRest
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, errOvertaken) {
			w.options.Log.Warn("projections: what a view has left for later is not done", "view", w.projection.Name, "schema", schema, "error", err)
		}
	}
}

// settleStep does a part of what is left, if anything is; left reports that there was.
// errOvertaken: the schema is gone.
func settleStep(ctx context.Context, options Options, p Projection, schema string) (left bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if left, err = unsettled(ctx, options.Pool, p, schema); err != nil || !left {
		return false, err
	}
	err = pgx.BeginFunc(ctx, options.Pool, func(tx pgx.Tx) error {
		if _, err := lockCheckpoint(ctx, tx, schema); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, withoutSync); err != nil {
			return err
		}
		return p.Settle(ctx, tx, quoted(schema))
	})
	if err != nil {
		return false, fmt.Errorf("settling schema %s: %w", schema, err)
	}
	options.Notify()
	return true, nil
}

// unsettled reports whether something is left in a schema. errOvertaken: it is gone.
func unsettled(ctx context.Context, db querier, p Projection, schema string) (left bool, err error) {
	if p.Settle == nil {
		return false, nil
	}
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+quoted(schema)+`.`+quoted(p.Backlog)+`)`).Scan(&left)
	if state := sqlstate(err); state == "42P01" || state == "3F000" {
		return false, errOvertaken
	}
	if err != nil {
		return false, fmt.Errorf("looking for what is left of schema %s: %w", schema, err)
	}
	return left, nil
}

// settle does all that is left of a schema that is being built.
func (b *builder) settle(ctx context.Context) error {
	for left := true; left; {
		var err error
		if left, err = settleStep(ctx, b.options, b.projection, b.at.schema); err != nil {
			return err
		}
		if err := b.progress.mayEnd(); err != nil {
			return err
		}
	}
	return nil
}

// settleTo does all that is left within a transaction that compares two schemas.
func (b *builder) settleTo(ctx context.Context, tx pgx.Tx) error {
	for {
		left, err := unsettled(ctx, tx, b.projection, b.at.schema)
		if err != nil || !left {
			return err
		}
		if err := b.projection.Settle(ctx, tx, quoted(b.at.schema)); err != nil {
			return err
		}
	}
}
