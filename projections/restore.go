package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// startOver is for a view whose rows are of a history that the log has lost. Nobody is
// shown them any more, and a rebuild is asked for.
func (w *worker) startOver(ctx context.Context, schema string) error {
	if err := w.noteEpochs(ctx); err != nil {
		return err
	}
	tag, err := w.options.Pool.Exec(ctx, `UPDATE view_checkpoints SET lost = true WHERE schema = $1 AND NOT lost`, schema)
	if err != nil {
		return fmt.Errorf("hiding what was lost: %w", err)
	}
	if tag.RowsAffected() > 0 {
		w.options.Log.Warn("projections: the log was restored to an earlier state; the view is built anew", "view", w.projection.Name)
		w.options.Notify()
	}
	_, _, err = request(ctx, w.options.Pool, w.projection, KindRebuild, byRestore)
	if errors.Is(err, ErrBusy) {
		return nil // after the other job
	}
	return err
}

// noteEpochs tells those who read the views which epochs the log has.
func (w *worker) noteEpochs(ctx context.Context) error {
	history, err := w.options.Store.History(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	epochs, forks := make([]uuid.UUID, len(history.Epochs)), make([]int64, len(history.Epochs))
	for i, e := range history.Epochs {
		epochs[i], forks[i] = e.ID, e.Fork
	}
	err = pgx.BeginFunc(ctx, w.options.Pool, func(tx pgx.Tx) error {
		// Of several workers the first writes. What the log has forgotten goes.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('hub.view_epochs', 0))`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM view_epochs WHERE epoch <> ALL ($1)`, epochs); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO view_epochs SELECT n, epoch, fork FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS e(epoch, fork, n)
			ON CONFLICT DO NOTHING`, epochs, forks)
		return err
	})
	if err != nil {
		return fmt.Errorf("noting the log's epochs: %w", err)
	}
	return nil
}

// forgetLost leaves nothing to go back to.
func forgetLost(ctx context.Context, tx pgx.Tx, name string) error {
	_, err := tx.Exec(ctx, `UPDATE view_pointers SET previous = NULL, previous_version = NULL WHERE name = $1`, name)
	return err
}

// present is the position of a place, 0 when the log has lost that: what a view holds of
// an end that was lost is no reason to wait for the log to become as long again.
func (b *builder) present(ctx context.Context, at subscription.Place) (int64, error) {
	history, err := b.options.Store.History(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	if !history.Has(at.Epoch, at.Position) {
		return 0, nil
	}
	return at.Position, nil
}
