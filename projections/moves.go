package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Most events are of one view or two; all other views only pass over them. All of a
// process do so at about the same time, and move their checkpoints together:
//
//	views without rows to write ──▶ moves: whoever asks within a millisecond ──▶ one transaction
//
// It is a short cut and no more: who could not be moved here writes its checkpoint itself,
// and hears then what is wrong.

const (
	// maxMoves bounds one transaction; there are fewer views.
	maxMoves = 100
	// gatherTime is how long the first waits for others: less than the views that have rows
	// to write take, for which whoever waits for a position waits, too.
	gatherTime = time.Millisecond
)

// moves is what the views of an engine share.
type moves struct {
	pool  *pgxpool.Pool
	asked chan *move
}

// move is that a schema passes over some events.
type move struct {
	from, to   checkpoint
	recordedAt time.Time
	// moved gets the outcome; it has room for it.
	moved chan bool
}

func newMoves(pool *pgxpool.Pool) *moves { return &moves{pool: pool, asked: make(chan *move)} }

// ask reports whether the checkpoint was moved.
func (m *moves) ask(ctx context.Context, from, to checkpoint, recordedAt time.Time) bool {
	one := &move{from, to, recordedAt, make(chan bool, 1)}
	select {
	case m.asked <- one:
	case <-ctx.Done():
		return false
	}
	select {
	case moved := <-one.moved:
		return moved
	case <-ctx.Done():
		return false
	}
}

// run moves whoever asks, until the context ends.
func (m *moves) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-m.asked:
			m.write(ctx, m.gather(first, gatherTime))
		}
	}
}

// gather takes those who ask within a time, the first of them included.
func (m *moves) gather(first *move, within time.Duration) []*move {
	timer := time.NewTimer(within)
	defer timer.Stop()
	all := []*move{first}
	for len(all) < maxMoves {
		select {
		case another := <-m.asked:
			all = append(all, another)
		case <-timer.C:
			return all
		}
	}
	return all
}

// write moves checkpoints that are where they are believed to be. It waits for nobody who
// holds one of them: not for long, and not for whoever waits for another of these.
func (m *moves) write(ctx context.Context, all []*move) {
	moved := map[string]bool{}
	defer func() {
		for _, one := range all {
			one.moved <- moved[one.from.schema]
		}
	}()
	var (
		schemas                  []string
		before, after, revisions []int64
		epochs                   []uuid.UUID
		recorded                 []time.Time
		limited, cancel          = context.WithTimeout(ctx, commitTimeout)
		batch                    = &pgx.Batch{}
	)
	defer cancel()
	for _, one := range all {
		schemas, epochs, recorded = append(schemas, one.from.schema), append(epochs, one.to.epoch), append(recorded, one.recordedAt)
		before, after, revisions = append(before, one.from.position), append(after, one.to.position), append(revisions, one.from.revision)
	}
	batch.Queue(withoutSync)
	batch.Queue(`
		UPDATE view_checkpoints c
		   SET position = u.after, epoch = u.epoch, recorded_at = u.recorded_at, updated_at = clock_timestamp()
		  FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::uuid[], $5::timestamptz[], $6::bigint[]) AS u(schema, before, after, epoch, recorded_at, revision)
		 WHERE c.schema = u.schema AND c.position = u.before AND c.position < u.after AND c.revision = u.revision
		   AND c.schema IN (SELECT l.schema FROM view_checkpoints l WHERE l.schema = ANY ($1) FOR UPDATE SKIP LOCKED)
		RETURNING c.schema`, schemas, before, after, epochs, recorded, revisions).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, schema := range found {
			moved[schema] = true
		}
		return err
	})
	if err := m.pool.SendBatch(limited, batch).Close(); err != nil {
		clear(moved) // each tries it alone, and says what is wrong
	}
}
