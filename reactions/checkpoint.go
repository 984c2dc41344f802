package reactions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// statementTimeout bounds each statement; all of them find single rows.
const statementTimeout = 10 * time.Second

// errMoved says that a place is not where this process has left it: another does the
// reaction now.
var errMoved = errors.New("another process does this reaction now")

// load reads where a reaction is. One that is new begins at the end of the log.
func (s *subscriber) load(ctx context.Context) (subscription.Place, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var at subscription.Place
	const find = `SELECT position, epoch FROM reaction_checkpoints WHERE name = $1`
	err := s.options.Pool.QueryRow(ctx, find, s.reaction.Name).Scan(&at.Position, &at.Epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		head, epoch, err := s.options.Store.Head(ctx)
		if err != nil {
			return at, fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
		}
		_, err = s.options.Pool.Exec(ctx, `INSERT INTO reaction_checkpoints (name, position, epoch, updated_at)
			VALUES ($1, $2, $3, clock_timestamp()) ON CONFLICT DO NOTHING`, s.reaction.Name, head, epoch)
		if err != nil {
			return at, fmt.Errorf("beginning the reaction %s: %w", s.reaction.Name, err)
		}
		return subscription.Place{Position: head, Epoch: epoch}, nil
	}
	if err != nil {
		return at, fmt.Errorf("reading where the reaction %s is: %w", s.reaction.Name, err)
	}
	return at, nil
}

// advance moves the place, if nobody else has. What is done is noted also while the
// process stops.
func (s *subscriber) advance(ctx context.Context, from, to subscription.Place) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	tag, err := s.options.Pool.Exec(ctx, `UPDATE reaction_checkpoints SET position = $3, epoch = $4, updated_at = clock_timestamp()
		WHERE name = $1 AND position = $2`, s.reaction.Name, from.Position, to.Position, to.Epoch)
	if err != nil {
		return fmt.Errorf("moving the reaction %s: %w", s.reaction.Name, err)
	}
	if tag.RowsAffected() == 0 {
		return errMoved
	}
	return nil
}
