package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// The schema that answered before the last swap is kept, and kept up by whichever
// program has its version, so that the way back is one update of the pointer. Prune
// gives it up.

var (
	// ErrNoPrevious is returned when there is no schema to go back to.
	ErrNoPrevious = errors.New("there is nothing to go back to: the view was not rebuilt, or it was pruned since")
	// ErrPreviousBehind is returned when nobody has kept up the schema to go back to.
	ErrPreviousBehind = errors.New("the former tables are behind, and only a program of their version can bring them up")
)

// Rollback puts the schema back that answered before the last swap, and returns its
// name. If it is of an older version, the newer is not built again but on command.
// Done twice, it is undone. Errors: ErrUnknownView, ErrNoPrevious, ErrPreviousBehind.
func Rollback(ctx context.Context, options Options, name string) (schema string, err error) {
	options = options.withDefaults()
	p, err := options.projection(name)
	if err != nil {
		return "", err
	}
	for {
		v, err := loadView(ctx, options.Pool, name)
		if errors.Is(err, pgx.ErrNoRows) || (err == nil && v.previous == "") {
			return "", ErrNoPrevious
		}
		if err != nil {
			return "", err
		}
		var former *writer
		if v.previousVersion == p.Version {
			if former, err = openWriter(ctx, options, p, v.previous); err != nil {
				return "", err
			}
			if err := former.catchUpTo(ctx, v.position); err != nil {
				return "", fmt.Errorf("bringing up the former tables: %w", err)
			}
		}
		switch done, err := goBack(ctx, options, name, v, former); {
		case err != nil:
			return "", fmt.Errorf("going back: %w", err)
		case done:
			options.Notify()
			return v.previous, nil
		}
	}
}

// catchUpTo brings a schema that its own worker also writes to a position.
func (w *writer) catchUpTo(ctx context.Context, position int64) error {
	log := subscription.NewReader(w.options.Store, subscription.Filter{})
	for w.at.position < position {
		batch, err := log.Read(ctx, w.at.place(), 0)
		if err != nil {
			return err
		}
		if len(batch.Events) == 0 {
			return subscription.ErrLogBehind
		}
		w.epoch = batch.At.Epoch
		err = w.write(ctx, batch.Events)
		if errors.Is(err, errMoved) {
			err = w.load(ctx, w.options.Pool, w.at.schema)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// goBack swaps the two schemas of the view, unless they are too far apart.
func goBack(ctx context.Context, options Options, name string, seen view, former *writer) (done bool, err error) {
	err = changeViews(ctx, options.Pool, func(tx pgx.Tx) error {
		v, err := loadView(ctx, tx, name)
		if err != nil || v.schema != seen.schema || v.previous != seen.previous {
			return err
		}
		live, err := lockCheckpoint(ctx, tx, v.schema)
		if err != nil {
			return err
		}
		back, err := lockCheckpoint(ctx, tx, v.previous)
		switch {
		case err != nil:
			return err
		case back.Position < live.Position && former == nil:
			return ErrPreviousBehind
		case live.Position-back.Position > maxSwapEvents:
			return nil
		case back.Position < live.Position:
			if err := former.load(ctx, tx, v.previous); err != nil {
				return err
			}
			if err := former.foldTo(ctx, tx, live.Position); err != nil {
				return err
			}
		}
		held := 0
		if v.version > v.previousVersion {
			held = v.version
		}
		done = true
		return point(ctx, tx, name, v, v.previous, v.previousVersion, held)
	})
	if poisonReason(err) != "" {
		return false, nil // catching up parks its stream
	}
	return done && err == nil, err
}

// Prune drops the schemas of a view that do not answer, the one to go back to
// included, and returns their names. Errors: ErrUnknownView, ErrBusy.
func Prune(ctx context.Context, options Options, name string) (dropped []string, err error) {
	options = options.withDefaults()
	if _, err := options.projection(name); err != nil {
		return nil, err
	}
	err = changeViews(ctx, options.Pool, func(tx pgx.Tx) error {
		v, err := loadView(ctx, tx, name)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var busy bool
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM view_jobs WHERE view = $1 AND state IN ('queued', 'running'))`, name).Scan(&busy)
		if err != nil {
			return err
		}
		if busy {
			return ErrBusy
		}
		if err := limitLocks(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE view_pointers SET previous = NULL, previous_version = NULL WHERE name = $1`, name); err != nil {
			return err
		}
		v.previous = ""
		dropped, err = dropLeftovers(ctx, tx, name, v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pruning view %s: %w", name, err)
	}
	return dropped, nil
}
