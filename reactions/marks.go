package reactions

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// maxMarks bounds what one statement goes through.
const maxMarks = 1000

// keepMarks is how long a mark stays whose timer is not in the view any more. Nothing
// needs it then; the day is for those who look for what has happened.
const keepMarks = 24 * time.Hour

// timersView is where the view of timers is.
type timersView struct {
	schema   string
	position int64
	epoch    uuid.UUID
}

// table is the view's, quoted.
func (v timersView) table() string { return pgx.Identifier{v.schema, timersName}.Sanitize() }

// view reads where the view is. Its rows, read later, are not older.
func (t *timers) view(ctx context.Context) (v timersView, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = t.options.Pool.QueryRow(ctx, `
		SELECT c.schema, c.position, c.epoch FROM view_pointers p JOIN view_checkpoints c ON c.schema = p.schema WHERE p.name = $1`, timersName).
		Scan(&v.schema, &v.position, &v.epoch)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return v, errNoTimers
	case err != nil:
		return v, fmt.Errorf("reading where the view of timers is: %w", err)
	}
	return v, nil
}

// note shows how far the timers are, and how many are parked.
func (t *timers) note(ctx context.Context, v timersView) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var parked int64
	err := t.options.Pool.QueryRow(ctx, `
		WITH noted AS (
		  INSERT INTO reaction_checkpoints AS c (name, position, epoch, updated_at)
		  SELECT name, $2, $3, clock_timestamp() FROM unnest($1::text[]) AS name
		  ON CONFLICT (name) DO UPDATE SET position = excluded.position, epoch = excluded.epoch, updated_at = excluded.updated_at
		   WHERE (c.position, c.epoch) IS DISTINCT FROM (excluded.position, excluded.epoch))
		SELECT count(*) FROM reaction_parked WHERE reaction = ANY($1)`, t.reactions, v.position, v.epoch).Scan(&parked)
	if err != nil {
		return fmt.Errorf("noting how far timers are: %w", err)
	}
	t.update(func(status *Status) {
		*status = Status{Name: timersName, Leading: true, Position: v.position, Parked: parked}
	})
	return nil
}

// due are the first timers whose time has come, and that are not marked or are to be
// tried again.
func (t *timers) due(ctx context.Context, v timersView, now time.Time) ([]DueTimer, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := t.options.Pool.Query(ctx, `
		SELECT t.org, t.kind, t.key, t.due_at, t.set_by, t.set_at, t.stream, t.type, t.correlation_id, t.request_id
		  FROM `+v.table()+` t
		 WHERE t.due_at <= $1 AND t.kind = ANY($2)
		   AND (NOT EXISTS (SELECT FROM timer_marks m WHERE m.kind = t.kind AND m.set_by = t.set_by)
		        OR EXISTS (SELECT FROM reaction_parked p
		                    WHERE p.reaction = 'timer_' || t.kind AND p.position = t.set_at AND p.event_id = t.set_by AND p.retry))
		 ORDER BY t.due_at, t.set_at, t.kind LIMIT $3`, now, t.names, maxDue)
	if err == nil {
		var found []DueTimer
		if found, err = pgx.CollectRows(rows, pgx.RowToStructByPos[DueTimer]); err == nil {
			return found, nil
		}
	}
	return nil, fmt.Errorf("looking for timers that are due: %w", err)
}

// untilNext is how long nothing will be due that is known of now.
func (t *timers) untilNext(ctx context.Context, v timersView, now time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var next time.Time
	err := t.options.Pool.QueryRow(ctx, `SELECT due_at FROM `+v.table()+` WHERE due_at > $1 ORDER BY due_at LIMIT 1`, now).Scan(&next)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return lookInterval, nil
	case err != nil:
		return 0, fmt.Errorf("looking for the next timer: %w", err)
	}
	return min(lookInterval, next.Sub(now)), nil
}

// mark notes what became of a timer, also while the process stops, and says what it was.
func (t *timers) mark(ctx context.Context, d DueTimer, msg *message.Message) (outcome string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	outcome, reason := firedMark, ""
	if code := msg.Metadata.Get(refusedKey); code != "" {
		outcome, reason = refusedMark, code
	}
	if wasParked(msg) {
		outcome, reason = parkedMark, msg.Metadata.Get(middleware.ReasonForPoisonedKey)
	}
	decided, err := t.decidedAt(ctx, msg)
	if err != nil {
		return "", err
	}
	err = pgx.BeginFunc(ctx, t.options.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO timer_marks (kind, set_by, outcome, reason, position, epoch, marked_at)
			VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
			ON CONFLICT (kind, set_by) DO UPDATE
			   SET outcome = excluded.outcome, reason = excluded.reason, position = excluded.position, epoch = excluded.epoch, marked_at = excluded.marked_at`,
			d.Kind, d.SetBy, outcome, reason, decided, t.epoch)
		if err != nil {
			return err
		}
		if outcome == parkedMark {
			return park(ctx, tx, parkedAs(d.Kind), domain.Event{Position: d.SetAt, ID: d.SetBy, Org: d.Org, Stream: d.Stream, Type: d.Type}, reason, attempts(msg))
		}
		_, err = tx.Exec(ctx, `DELETE FROM reaction_parked WHERE reaction = $1 AND position = $2`, parkedAs(d.Kind), d.SetAt)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("marking a timer of kind %s: %w", d.Kind, err)
	}
	return outcome, nil
}

// decidedAt is a position that what became of a timer hangs on. A refusal has none of its
// own: nothing after the end of the log can have led to it.
func (t *timers) decidedAt(ctx context.Context, msg *message.Message) (int64, error) {
	if decided := msg.Metadata.Get(decidedKey); decided != "" && !wasParked(msg) {
		position, err := strconv.ParseInt(decided, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading where the command of a timer was decided: %w", err)
		}
		return position, nil
	}
	head, _, err := t.options.Store.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	return head, nil
}

// forget takes away the marks of what the log has lost, when it goes on in a new epoch.
func (t *timers) forget(ctx context.Context, history eventstore.History) error {
	for t.epoch != history.Epoch() {
		done, err := t.forgetSome(ctx, history)
		if err != nil {
			return fmt.Errorf("looking for marks of timers that the log has lost: %w", err)
		}
		if done {
			t.epoch = history.Epoch()
		}
	}
	return nil
}

func (t *timers) forgetSome(ctx context.Context, history eventstore.History) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	type mark struct {
		Kind         string
		SetBy, Epoch uuid.UUID
		Position     int64
	}
	rows, err := t.options.Pool.Query(ctx, `SELECT kind, set_by, epoch, position FROM timer_marks WHERE epoch <> $1 LIMIT $2`, history.Epoch(), maxMarks)
	if err != nil {
		return false, err
	}
	marks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[mark])
	if err != nil {
		return false, err
	}
	batch := &pgx.Batch{}
	for _, m := range marks {
		if history.Has(m.Epoch, m.Position) {
			batch.Queue(`UPDATE timer_marks SET epoch = $3 WHERE kind = $1 AND set_by = $2`, m.Kind, m.SetBy, history.Epoch())
		} else {
			batch.Queue(`DELETE FROM timer_marks WHERE kind = $1 AND set_by = $2`, m.Kind, m.SetBy)
		}
	}
	return len(marks) < maxMarks, t.options.Pool.SendBatch(ctx, batch).Close()
}

// tidy deletes marks, and takes timers off the parked that are to be tried again, whose
// timers are not set any more. The view is where the log is.
func (t *timers) tidy(ctx context.Context, v timersView) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	batch := &pgx.Batch{}
	batch.Queue(`
		DELETE FROM timer_marks WHERE (kind, set_by) IN (
		  SELECT m.kind, m.set_by FROM timer_marks m
		   WHERE m.marked_at < clock_timestamp() - make_interval(secs => $1)
		     AND NOT EXISTS (SELECT FROM `+v.table()+` t WHERE t.kind = m.kind AND t.set_by = m.set_by)
		   ORDER BY m.marked_at LIMIT $2)`, keepMarks.Seconds(), maxMarks)
	batch.Queue(`
		DELETE FROM reaction_parked p WHERE p.reaction = ANY($1) AND p.retry
		   AND NOT EXISTS (SELECT FROM `+v.table()+` t WHERE 'timer_' || t.kind = p.reaction AND t.set_by = p.event_id)`, t.reactions)
	if err := t.options.Pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("tidying up after timers: %w", err)
	}
	return nil
}
