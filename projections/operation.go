package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What operators ask for changes rows of this database and not the log. So the answer to it
// is kept here, too, in the transaction of what it leads to.

// ErrKeyReused is returned for a key that came with another request before.
var ErrKeyReused = errors.New("the key was used for a different request")

// ErrUnknownOutcome wraps errors after which an operation may have been done or not.
var ErrUnknownOutcome = errors.New("the database did not say whether it was done")

// Asked is that an operation was asked for.
type Asked struct {
	Org, Caller string
	// Key makes it one that is done once, however often it comes; empty for none. Hash is
	// of all that is asked for with it.
	Key  string
	Hash []byte
	// DryRun takes back what was done, and neither looks for the key nor keeps it.
	DryRun bool
}

// Answer is what an operation came to, as JSON: one of the two.
type Answer struct {
	Answer, Refusal []byte
	// Replayed says that this is what it came to the first time, and that nothing was done.
	Replayed bool
}

// Operate does an operation in a transaction, and keeps its answer with it, for as long as
// receipts are kept. A second request with the key waits for the end of the first. RoleQuery.
// Errors: ErrKeyReused, ErrUnknownOutcome, those of do, after which nothing is done or kept.
func Operate(ctx context.Context, pool *pgxpool.Pool, asked Asked, do func(pgx.Tx) (Answer, error)) (Answer, error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("beginning an operation: %w", err)
	}
	// After a commit this does nothing; before, the connection may be gone anyway.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	keeps := asked.Key != "" && !asked.DryRun
	if keeps {
		if kept, found, err := asked.claim(ctx, tx); found || err != nil {
			return kept, err
		}
	}
	answer, err := do(tx)
	if err != nil || asked.DryRun {
		return answer, err
	}
	if keeps {
		_, err := tx.Exec(ctx, `UPDATE operation_receipts SET answer = $4, refusal = $5 WHERE org = $1 AND caller = $2 AND idempotency_key = $3`,
			asked.Org, asked.Caller, asked.Key, answer.Answer, answer.Refusal)
		if err != nil {
			return Answer{}, fmt.Errorf("keeping the answer to an operation: %w", err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return Answer{}, unknownUnlessRefused(err)
	}
	return answer, nil
}

// claim takes the key, or finds what is kept under it. Two at once: the second waits at
// the first one's row until that is there or taken back.
func (a Asked) claim(ctx context.Context, tx pgx.Tx) (kept Answer, found bool, err error) {
	if _, err := tx.Exec(ctx, `SELECT set_config('hub.org', $1, true)`, a.Org); err != nil {
		return Answer{}, false, fmt.Errorf("naming the organisation of an operation: %w", err)
	}
	tag, err := tx.Exec(ctx, `INSERT INTO operation_receipts (org, caller, idempotency_key, request_hash) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		a.Org, a.Caller, a.Key, a.Hash)
	if err != nil {
		return Answer{}, false, fmt.Errorf("taking the key of an operation: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return Answer{}, false, nil
	}
	kept.Replayed = true
	var hash []byte
	err = tx.QueryRow(ctx, `SELECT request_hash, answer, refusal FROM operation_receipts WHERE org = $1 AND caller = $2 AND idempotency_key = $3`,
		a.Org, a.Caller, a.Key).Scan(&hash, &kept.Answer, &kept.Refusal)
	switch {
	case err != nil: // also when it was purged in this moment
		return Answer{}, false, fmt.Errorf("reading the answer to an operation: %w", err)
	case !bytes.Equal(hash, a.Hash):
		return Answer{}, false, ErrKeyReused
	}
	return kept, true, nil
}

// unknownUnlessRefused tells a server that refused to commit from a connection that broke.
func unknownUnlessRefused(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.SeverityUnlocalized == "ERROR" {
		return fmt.Errorf("doing an operation: %w", err)
	}
	return fmt.Errorf("doing an operation: %w: %w", ErrUnknownOutcome, err)
}

// purgeInterval is how often the answers to operations are looked through; there are few.
const purgeInterval = time.Minute

// purge deletes answers to operations that are past their life of 7 days, which PostgreSQL
// holds it to (policy past_their_life), until the context ends. Any number may run at once.
func (o Options) purge(ctx context.Context) {
	ticker := time.NewTicker(purgeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := purgeOperations(ctx, o.Pool); err != nil && ctx.Err() == nil {
				o.Log.Warn("projections: the answers to operations could not be purged", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func purgeOperations(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, `DELETE FROM operation_receipts WHERE created_at < clock_timestamp() - interval '7 days'`)
	return err
}
