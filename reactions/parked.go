package reactions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/domain"
)

// maxParked bounds what waits for somebody to look at it. A reaction that would park
// more is broken as a whole; it stops until some are retried or dropped.
const maxParked = 10_000

// behindReason is why an event is parked that was not tried.
const behindReason = "an earlier event of its stream is parked"

// errParkingFull says that a reaction stands still: see maxParked.
var errParkingFull = fmt.Errorf("%d events are parked already: retry or drop some", maxParked)

// parking is where Watermill's poison queue leads: a row of reaction_parked.
type parking struct{ options Options }

// Publish parks an event that could not be reacted to.
func (p *parking) Publish(_ string, messages ...*message.Message) error {
	for _, msg := range messages {
		event, err := eventOf(msg)
		if err != nil {
			return err
		}
		// The message's own context may have run out with its last attempt.
		ctx := context.WithoutCancel(msg.Context())
		name := message.HandlerNameFromCtx(ctx)
		if err := park(ctx, p.options.Pool, name, event, msg.Metadata.Get(middleware.ReasonForPoisonedKey), attempts(msg)); err != nil {
			return err
		}
	}
	return nil
}

// Close has nothing to close.
func (*parking) Close() error { return nil }

// Database is what a pool and a transaction have in common.
type Database interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// park notes that an event was tried and failed.
func park(ctx context.Context, db Database, reaction string, e domain.Event, reason string, attempts int) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	tag, err := db.Exec(ctx, `
		INSERT INTO reaction_parked AS p (reaction, position, event_id, org, stream, stream_hash, type, reason, attempts, retry, parked_at)
		SELECT $1, $2, $3, $4, $5, $10, $6, $7, $8, false, clock_timestamp()
		 WHERE EXISTS (SELECT FROM reaction_parked WHERE reaction = $1 AND position = $2)
		    OR (SELECT count(*) FROM reaction_parked WHERE reaction = $1) < $9
		ON CONFLICT (reaction, position) DO UPDATE
		   SET event_id = excluded.event_id, org = excluded.org, stream = excluded.stream, stream_hash = excluded.stream_hash, type = excluded.type,
		       reason = excluded.reason, attempts = p.attempts + excluded.attempts, retry = false, parked_at = excluded.parked_at`,
		reaction, e.Position, e.ID, e.Org, string(e.Stream), e.Type, reason, attempts, maxParked, streamHash(e))
	if err != nil {
		return fmt.Errorf("parking position %d of the reaction %s: %w", e.Position, reaction, err)
	}
	if tag.RowsAffected() == 0 {
		return errParkingFull
	}
	return nil
}

// parkBehind parks an event if an earlier one of its stream is parked, and reports
// whether it did.
func (s *subscriber) parkBehind(ctx context.Context, e domain.Event) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var behind, full bool
	err := s.options.Pool.QueryRow(ctx, `
		WITH parked AS (
		  INSERT INTO reaction_parked (reaction, position, event_id, org, stream, stream_hash, type, reason, attempts, retry, parked_at)
		  SELECT $1, $2, $3, $4, $5, $9, $6, $7, 0, false, clock_timestamp()
		   WHERE EXISTS (SELECT FROM reaction_parked WHERE reaction = $1 AND org = $4 AND stream = $5 AND position < $2)
		     AND (SELECT count(*) FROM reaction_parked WHERE reaction = $1) < $8
		  ON CONFLICT (reaction, position) DO NOTHING)
		SELECT EXISTS (SELECT FROM reaction_parked WHERE reaction = $1 AND org = $4 AND stream = $5 AND position < $2),
		       (SELECT count(*) FROM reaction_parked WHERE reaction = $1) >= $8`,
		s.reaction.Name, e.Position, e.ID, e.Org, string(e.Stream), e.Type, behindReason, maxParked, streamHash(e)).Scan(&behind, &full)
	switch {
	case err != nil:
		return false, fmt.Errorf("looking for parked events of the reaction %s: %w", s.reaction.Name, err)
	case behind && full:
		return false, errParkingFull
	}
	return behind, nil
}

// streamHash names a stream to those who may not know what organisations there are.
func streamHash(e domain.Event) string {
	sum := sha256.Sum256([]byte(e.Org + "/" + string(e.Stream)))
	return hex.EncodeToString(sum[:16])
}

// countParked counts what is parked of the reaction.
func (s *subscriber) countParked(ctx context.Context) (count int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = s.options.Pool.QueryRow(ctx, `SELECT count(*) FROM reaction_parked WHERE reaction = $1`, s.reaction.Name).Scan(&count)
	if err != nil {
		return 0, fmt.Errorf("counting parked events of the reaction %s: %w", s.reaction.Name, err)
	}
	s.update(func(status *Status) { status.Parked = count })
	return count, nil
}

// parkedEvent is what was parked at a position. After a fork another event is there.
type parkedEvent struct {
	Position int64
	ID       uuid.UUID
}

// due are events to be taken up again, the first of each stream: those asked for,
// and those that were only parked behind one that is not there any more.
func (s *subscriber) due(ctx context.Context) ([]parkedEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := s.options.Pool.Query(ctx, `
		SELECT p.position, p.event_id FROM reaction_parked p
		 WHERE p.reaction = $1 AND (p.retry OR p.attempts = 0)
		   AND NOT EXISTS (SELECT FROM reaction_parked e
		                    WHERE e.reaction = p.reaction AND e.org = p.org AND e.stream = p.stream AND e.position < p.position)
		 ORDER BY p.position LIMIT 100`, s.reaction.Name)
	if err == nil {
		var found []parkedEvent
		if found, err = pgx.CollectRows(rows, pgx.RowToStructByPos[parkedEvent]); err == nil {
			return found, nil
		}
	}
	return nil, fmt.Errorf("looking for parked events of the reaction %s: %w", s.reaction.Name, err)
}

func (s *subscriber) unpark(ctx context.Context, position int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	_, err := s.options.Pool.Exec(ctx, `DELETE FROM reaction_parked WHERE reaction = $1 AND position = $2`, s.reaction.Name, position)
	if err != nil {
		return fmt.Errorf("taking position %d of the reaction %s off the parked: %w", position, s.reaction.Name, err)
	}
	return nil
}

// ErrUnknownReaction is returned for a name that no reaction has.
var ErrUnknownReaction = errors.New("there is no reaction of this name")

// Listing is a reaction as the database has it, whoever does it.
type Listing struct {
	Name      string    `json:"name"`
	Position  int64     `json:"position"`
	Epoch     uuid.UUID `json:"epoch"`
	UpdatedAt time.Time `json:"updated_at"`
	// Parked counts all; Items are the first of them.
	Parked int64    `json:"parked"`
	Items  []Parked `json:"items"`
}

// Parked is an event that waits for somebody to look at it.
type Parked struct {
	Position int64     `json:"position"`
	EventID  uuid.UUID `json:"event_id"`
	// Org and Stream are empty for RoleQuery, which learns the hash: 16 bytes of the
	// SHA-256 of "org/stream".
	Org        string `json:"org,omitempty"`
	Stream     string `json:"stream,omitempty"`
	StreamHash string `json:"stream_hash"`
	Type       string `json:"type"`
	Reason     string `json:"reason"`
	Attempts   int    `json:"attempts"`
	// Retry says that it has been asked for and not happened yet.
	Retry    bool      `json:"retry"`
	ParkedAt time.Time `json:"parked_at"`
}

// maxListed bounds the parked events that are listed of each reaction.
const maxListed = 100

// List reads all reactions by name, with the first of their parked events.
// RoleProjector.
func List(ctx context.Context, pool *pgxpool.Pool) ([]Listing, error) {
	return list(ctx, pool, "org, stream, ")
}

// ListHashes is List without what RoleQuery may not see.
func ListHashes(ctx context.Context, pool *pgxpool.Pool) ([]Listing, error) {
	return list(ctx, pool, "")
}

func list(ctx context.Context, pool *pgxpool.Pool, names string) ([]Listing, error) {
	rows, err := pool.Query(ctx, `
		SELECT c.name, c.position, c.epoch, c.updated_at, (SELECT count(p.position) FROM reaction_parked p WHERE p.reaction = c.name),
		       coalesce((SELECT json_agg(f ORDER BY f.position) FROM (
		           SELECT `+names+`position, event_id, stream_hash, type, reason, attempts, retry, parked_at FROM reaction_parked p
		            WHERE p.reaction = c.name ORDER BY position LIMIT $1) f), '[]')
		  FROM reaction_checkpoints c ORDER BY c.name`, maxListed)
	if err != nil {
		return nil, fmt.Errorf("listing reactions: %w", err)
	}
	listings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Listing, error) {
		var l Listing
		err := row.Scan(&l.Name, &l.Position, &l.Epoch, &l.UpdatedAt, &l.Parked, &l.Items)
		l.UpdatedAt = l.UpdatedAt.UTC()
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing reactions: %w", err)
	}
	return listings, nil
}

// Retry asks for parked events of a reaction to be taken up again, by whoever does the
// reaction, within a second or so: the one at the position, or all when that is 0. It
// returns how many. RoleProjector or RoleQuery. Errors: ErrUnknownReaction.
func Retry(ctx context.Context, db Database, name string, position int64) (int64, error) {
	return changeParked(ctx, db, name, `UPDATE reaction_parked SET retry = true WHERE reaction = $1 AND $2::bigint IN (0, position)`, position)
}

// Drop gives up parked events of a reaction, as Retry selects them; those behind them
// go on.
func Drop(ctx context.Context, db Database, name string, position int64) (int64, error) {
	return changeParked(ctx, db, name, `DELETE FROM reaction_parked WHERE reaction = $1 AND $2::bigint IN (0, position)`, position)
}

func changeParked(ctx context.Context, db Database, name, statement string, position int64) (int64, error) {
	var known bool
	if err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM reaction_checkpoints WHERE name = $1)`, name).Scan(&known); err != nil {
		return 0, fmt.Errorf("finding the reaction %s: %w", name, err)
	}
	if !known {
		return 0, fmt.Errorf("%w: %s", ErrUnknownReaction, name)
	}
	tag, err := db.Exec(ctx, statement, name, position)
	if err != nil {
		return 0, fmt.Errorf("changing parked events of the reaction %s: %w", name, err)
	}
	return tag.RowsAffected(), nil
}
