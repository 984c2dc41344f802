package projections

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// An event that a view cannot apply parks its stream: the event and all later ones of
// the stream are skipped in this schema, and remembered by the version that comes next.
// Everything else goes on. When the cause is mended, a retry applies what was skipped
// from the log, in order, in transactions that hold the checkpoint: each event once.
//
// So a projection has to give the same rows in whatever order events of different
// streams come; those of one stream always come in order.

const (
	// maxParked bounds the streams that are parked in one schema. More of them are no
	// bad events but a bad program, and a view with many holes is worse than one that
	// stands still and says so.
	maxParked = 100
	// maxRetryEvents are applied in one transaction of a retry, while live batches wait.
	maxRetryEvents = 500
)

// Why a stream is parked.
const (
	reasonUnreadable = "unreadable" // the payload of an event cannot be decoded
	reasonNewer      = "newer"      // a newer program wrote it
	reasonRefused    = "refused"    // the projection, or its tables, refuse what it says
)

var errTooManyParked = fmt.Errorf("%d streams are parked, and one more cannot be applied: this is no matter of single events", maxParked)

// poisonError is an event that can be blamed, not a database or the network.
type poisonError struct {
	reason string
	cause  error
}

func (e *poisonError) Error() string { return e.reason + ": " + e.cause.Error() }
func (e *poisonError) Unwrap() error { return e.cause }

// poisonReason is why events cannot be applied, empty when they are not to blame.
func poisonReason(err error) string {
	var poison *poisonError
	if errors.As(err, &poison) {
		return poison.reason
	}
	state := sqlstate(err)
	if len(state) != 5 || state == sqlstateMoved {
		return ""
	}
	switch state[:2] {
	case "21", "22", "23", "54", "P0": // what was said, not whether it could be said
		return reasonRefused
	}
	return ""
}

// sqlstate is PostgreSQL's code of an error, empty when it is another's.
func sqlstate(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// streamID names a stream in the whole log.
type streamID struct {
	org    string
	stream domain.Tag
}

func streamOf(e domain.Event) streamID { return streamID{e.Org, e.Stream} }

// hash names a stream to those who may not know what organisations there are.
func (id streamID) hash() string {
	sum := sha256.Sum256([]byte(id.org + "/" + string(id.stream)))
	return hex.EncodeToString(sum[:16])
}

type parkedStreams map[streamID]struct{}

func (p parkedStreams) has(id streamID) bool {
	_, parked := p[id]
	return parked
}

// skippedEvents are those of a batch whose streams are parked.
type skippedEvents struct {
	orgs, streams []string
	positions     []int64
}

func (s *skippedEvents) add(id streamID, position int64) {
	s.orgs, s.streams, s.positions = append(s.orgs, id.org), append(s.streams, string(id.stream)), append(s.positions, position)
}

func (s *skippedEvents) none() bool { return len(s.positions) == 0 }

func (s *skippedEvents) remember(batch *pgx.Batch, schema string) {
	if s.none() {
		return
	}
	batch.Queue(`
		UPDATE view_parked p SET events = p.events + s.events, last_position = s.last
		  FROM (SELECT u.org, u.stream, count(*) AS events, max(u.position) AS last
		          FROM unnest($2::text[], $3::text[], $4::bigint[]) AS u(org, stream, position) GROUP BY u.org, u.stream) s
		 WHERE p.schema = $1 AND p.org = s.org AND p.stream = s.stream`, schema, s.orgs, s.streams, s.positions)
}

// Parked is a stream that waits in a view.
type Parked struct {
	View   string `json:"view"`
	Schema string `json:"schema"`
	// Org and Stream are empty for RoleQuery, which learns the hash: 16 bytes of the
	// SHA-256 of "org/stream".
	Org           string     `json:"org,omitempty"`
	Stream        domain.Tag `json:"stream,omitempty"`
	StreamHash    string     `json:"stream_hash"`
	FirstPosition int64      `json:"first_position"`
	LastPosition  int64      `json:"last_position"`
	Events        int64      `json:"events"`
	Reason        string     `json:"reason"`
	ParkedAt      time.Time  `json:"parked_at"`
}

// ListParked reads the parked streams of all views that answer, oldest first.
// RoleProjector.
func ListParked(ctx context.Context, pool *pgxpool.Pool) ([]Parked, error) {
	return listParked(ctx, pool, "p.org, p.stream", math.MaxInt32)
}

// ListParkedHashes is ListParked without what RoleQuery may not see, up to a limit.
func ListParkedHashes(ctx context.Context, pool *pgxpool.Pool, limit int) ([]Parked, error) {
	return listParked(ctx, pool, "'', ''", limit)
}

func listParked(ctx context.Context, pool *pgxpool.Pool, names string, limit int) ([]Parked, error) {
	rows, err := pool.Query(ctx, `
		SELECT v.name, p.schema, `+names+`, p.stream_hash, p.first_position, p.last_position, p.events, p.reason, p.parked_at
		  FROM view_parked p JOIN view_pointers v ON v.schema = p.schema ORDER BY p.first_position, v.name LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("listing parked streams: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Parked, err error) {
		err = row.Scan(&p.View, &p.Schema, &p.Org, (*string)(&p.Stream), &p.StreamHash, &p.FirstPosition, &p.LastPosition, &p.Events, &p.Reason, &p.ParkedAt)
		p.ParkedAt = p.ParkedAt.UTC()
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing parked streams: %w", err)
	}
	return found, nil
}

// Retried says what a retry has done.
type Retried struct {
	View string `json:"view"`
	// Freed streams are complete again; Left still wait, as what stopped them stops
	// them still.
	Freed int `json:"freed"`
	Left  int `json:"left"`
}

// retryView is the job: it retries in all schemas of the view that this program writes.
func retryView(ctx context.Context, options Options, p Projection) (Retried, error) {
	done := Retried{View: p.Name}
	v, err := loadView(ctx, options.Pool, p.Name)
	if err != nil {
		return done, err
	}
	if v.previousVersion == p.Version {
		if _, err := retryStreams(ctx, options, p, v.previous, ""); err != nil {
			return done, err
		}
	}
	if v.version != p.Version {
		return done, &versionError{view: v.version, program: p.Version}
	}
	done, err = retryStreams(ctx, options, p, v.schema, "")
	done.View = p.Name
	return done, err
}

// retryStreams retries those parked for a reason, or for any when it is empty.
func retryStreams(ctx context.Context, options Options, p Projection, schema, reason string) (Retried, error) {
	var done Retried
	rows, err := options.Pool.Query(ctx, `SELECT org, stream FROM view_parked
		WHERE schema = $1 AND ($2 = '' OR reason = $2) ORDER BY first_position`, schema, reason)
	if err != nil {
		return done, fmt.Errorf("reading parked streams of %s: %w", schema, err)
	}
	streams, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (streamID, error) {
		var id streamID
		err := row.Scan(&id.org, (*string)(&id.stream))
		return id, err
	})
	if err != nil {
		return done, fmt.Errorf("reading parked streams of %s: %w", schema, err)
	}
	for _, id := range streams {
		freed, err := retryStream(ctx, options, p, schema, id)
		if err != nil {
			return done, fmt.Errorf("retrying a parked stream of view %s: %w", p.Name, err)
		}
		if freed {
			done.Freed++
		} else {
			done.Left++
		}
		options.Notify()
	}
	return done, nil
}

// retryStream goes on in ever smaller steps to the event that cannot be applied.
func retryStream(ctx context.Context, options Options, p Projection, schema string, id streamID) (freed bool, err error) {
	limit := maxRetryEvents
	for {
		left, err := retryStep(ctx, options, p, schema, id, limit)
		switch {
		case poisonReason(err) != "" && limit == 1:
			return false, nil
		case poisonReason(err) != "":
			limit /= 2
		case err != nil:
			return false, err
		case !left:
			return true, nil
		}
	}
}

// retryStep applies the next events of a parked stream, and frees it when there are no
// more. left reports that it is still parked.
func retryStep(ctx context.Context, options Options, p Projection, schema string, id streamID, limit int) (left bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, options.Pool, func(tx pgx.Tx) error {
		var position, next int64
		// The checkpoint is held: what it passes later is not skipped any more.
		if err := tx.QueryRow(ctx, `SELECT position FROM view_checkpoints WHERE schema = $1 FOR UPDATE`, schema).Scan(&position); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT next_version FROM view_parked WHERE schema = $1 AND org = $2 AND stream = $3`,
			schema, id.org, string(id.stream)).Scan(&next)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // freed by another meanwhile
		}
		if err != nil {
			return err
		}
		events, err := options.Store.ReadStream(ctx, id.org, id.stream, next, limit+1)
		if err != nil {
			return fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
		}
		for len(events) > 0 && events[len(events)-1].Position > position {
			events = events[:len(events)-1]
		}
		if left = len(events) > limit; left {
			events = events[:limit+1]
		}
		return replay(ctx, tx, &writer{options: options, projection: p, at: checkpoint{schema: schema}}, id, events, limit)
	})
	return left, err
}

// replay applies events of a parked stream, all but what goes beyond the limit; that
// one shows where the stream goes on.
func replay(ctx context.Context, tx pgx.Tx, w *writer, id streamID, events []domain.Event, limit int) error {
	handled, _, err := w.sort(events[:min(limit, len(events))])
	if err == nil {
		err = w.unseal(ctx, handled)
	}
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(withoutSync)
	if err := applyTo(w.projection, batch, quoted(w.at.schema), handled); err != nil {
		return err
	}
	if len(events) > limit {
		next := events[limit]
		batch.Queue(`UPDATE view_parked SET next_version = $4, first_position = $5, events = greatest(events - $6, 1)
			WHERE schema = $1 AND org = $2 AND stream = $3`, w.at.schema, id.org, string(id.stream), next.Version, next.Position, len(handled))
	} else {
		batch.Queue(`DELETE FROM view_parked WHERE schema = $1 AND org = $2 AND stream = $3`, w.at.schema, id.org, string(id.stream))
		batch.Queue(`UPDATE view_checkpoints SET revision = revision + 1 WHERE schema = $1`, w.at.schema)
	}
	return tx.SendBatch(ctx, batch).Close()
}
