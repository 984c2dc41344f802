// Package eventstore is the log: appended to in turns, read by stream, tag, type or
// position, never changed. PostgreSQL holds it and enforces its laws (migrations/log);
// this package is the thin typed door to those functions.
//
// A Store acts as the database role that its pool was opened with (OpenPool), so
// what a process may do is decided by PostgreSQL.
package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Role is a database role that a part of the program acts as.
type Role string

// The roles of the services; migrations/log grants each what it needs.
const (
	RoleCommand   Role = "hub_command"
	RoleRelay     Role = "hub_relay"
	RoleProjector Role = "hub_projector"
	RoleQuery     Role = "hub_query"
)

// OpenPool opens a pool of at most maxConns connections, each of which becomes the
// role before first use, whatever login the URL names. A tracer is told of each round
// trip.
func OpenPool(ctx context.Context, databaseURL string, role Role, maxConns int32, tracer ...pgx.QueryTracer) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		// The parser's error repeats parts of the URL, which holds a password.
		return nil, fmt.Errorf("the database URL for %s cannot be read", role)
	}
	config.MaxConns = maxConns
	if len(tracer) > 0 {
		config.ConnConfig.Tracer = tracer[0]
	}
	config.ConnConfig.RuntimeParams["application_name"] = string(role)
	config.ConnConfig.RuntimeParams["client_encoding"] = "UTF8" // a login may have another for its own
	// A hub that hangs within a transaction must not hold the log's lock for ever.
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	if role == RoleProjector {
		// Batches are large and few: planning each anew costs little, and a plan kept
		// from when a table was empty would scan it as a whole long after it is not.
		config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	}
	if role == RoleQuery {
		// The opposite: queries are small and many, and their plans are kept. What was
		// planned for a table of a few rows must not read it as a whole once it is large;
		// nor must what looks dear for that be compiled each time.
		config.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
		config.ConnConfig.RuntimeParams["jit"] = "off"
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET ROLE "+pgx.Identifier{string(role)}.Sanitize())
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the pool of %s: %w", role, err)
	}
	return pool, nil
}

// Store reads and appends to the log through one pool.
type Store struct{ pool *pgxpool.Pool }

// New makes a store that acts as the pool's role.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Head is the position of the last event, 0 for an empty log, and the log's epoch.
func (s *Store) Head(ctx context.Context) (position int64, epoch uuid.UUID, err error) {
	err = s.pool.QueryRow(ctx, `SELECT head, epoch FROM log_head()`).Scan(&position, &epoch)
	if err != nil {
		return 0, uuid.Nil, fmt.Errorf("reading the head of the log: %w", err)
	}
	return position, epoch, nil
}

// RecordedAt is when a position was recorded, the zero time when there is none.
// RoleProjector and RoleQuery only.
func (s *Store) RecordedAt(ctx context.Context, position int64) (time.Time, error) {
	var at *time.Time
	if err := s.pool.QueryRow(ctx, `SELECT log_time($1)`, position).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("reading when position %d was recorded: %w", position, err)
	}
	return orZero(at).UTC(), nil
}

// EnsurePartitions makes room for the next 2 × 2²⁴ events; RoleCommand only.
func (s *Store) EnsurePartitions(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `SELECT ensure_partitions()`); err != nil {
		return fmt.Errorf("creating partitions of the log: %w", err)
	}
	return nil
}
