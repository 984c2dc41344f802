// Package readmodels answers queries from the tables that projections keep: SQL on
// rows of one organisation, no domain logic, no access to the log.
//
//	caller ──▶ WaitFor (read your own write) ──▶ Entity, Entities, … ──▶ rows + Snapshot
//
// Every query is one round trip: the organisation for row-level security and the
// statement travel together. The statement reads the rows, the position they are at
// and the pointer to the schema that holds them from one snapshot, so an answer never
// mixes two states, and a rebuild of the view goes unnoticed.
package readmodels

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// Snapshot says which state of the log an answer shows.
type Snapshot struct {
	Position int64
	Epoch    uuid.UUID
}

// Store answers queries. It is safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	// cursorKey signs cursors; the same in every process that answers queries.
	cursorKey []byte
	log       *slog.Logger
	waiting   *waiting

	mu sync.Mutex
	// schemas are the pointers as seen last, by view.
	schemas map[string]string
}

// Options are what a store needs.
type Options struct {
	// Pool is of eventstore.RoleQuery.
	Pool *pgxpool.Pool
	// CursorKey must be the same in all processes that answer queries, at least 16
	// bytes.
	CursorKey []byte
	// Log is told when the views cannot be read; nil is silent.
	Log *slog.Logger
	// Metrics gets what the store counts; nil counts nowhere.
	Metrics *telemetry.Registry
}

// New makes a store; Run must run for WaitFor to work.
func New(o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{pool: o.Pool, cursorKey: o.CursorKey, log: o.Log, waiting: newWaiting(), schemas: map[string]string{}}
	o.Metrics.Sample("hub_reads_waiting", "Reads that wait for a view to reach a position.", func() float64 {
		s.waiting.mu.Lock()
		defer s.waiting.mu.Unlock()
		return float64(len(s.waiting.queue))
	})
	o.Metrics.Sample("hub_reads_waiting_limit", "Reads that may wait so; more are refused.", func() float64 { return maxWaiting })
	return s
}

// maxSwitches bounds how often one query follows a pointer that has moved. Between
// two swaps lies a whole rebuild.
const maxSwitches = 3

// retryLagging is what callers are told to wait before they ask a view again.
const retryLagging = time.Second

// statement is a query on a view's schema. Its first columns are heads; row is
// called for each row with the scanner of the others.
type statement struct {
	sql  string
	args []any
	row  func(scan func(destinations ...any) error) error
	// cut, of a list with an item in each row, bounds them together (MaxPageBytes) and is
	// told whether rows were left; nil for what is no list, or has small rows.
	cut *bool
	// planned says that one plan fits whatever the arguments are.
	planned bool
}

// The statements that go before. The second one lets a plan be kept that walks in the order
// of an index and looks up by keys: by no other is it right when the tables have grown, and
// none but what has no other is sorted. Compiling it would be decided by costs that are
// charged for what is switched off.
const (
	ofOrg   = `SELECT set_config('hub.org', $1, true)`
	planned = ofOrg + `, set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
		set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true),
		set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)`
)

// heads are the first columns of every statement, and pointed what they are read
// from: $1 is the view's name. The statement's own tables are joined to it from the
// left, so that there is a row even when they have none.
const (
	heads = `p.schema, c.position` + headsBeside
	// headsBeside are those after the position.
	headsBeside = `, c.epoch, c.lost`
	pointed     = `view_pointers p JOIN view_checkpoints c ON c.schema = p.schema AND p.name = $1`
)

// read runs a statement on the schema that the view's pointer names. build is called
// again when that has changed; it must begin with an empty result each time.
func (s *Store) read(ctx context.Context, org, view string, build func(schema string) statement) (Snapshot, error) {
	for range maxSwitches {
		schema, err := s.schema(ctx, view)
		if err != nil {
			return Snapshot{}, err
		}
		answered, at, err := s.send(ctx, org, build(pgx.Identifier{schema}.Sanitize()))
		switch {
		case err == nil && answered == schema:
			return at, nil
		case err == nil, schemaGone(err):
			s.forget(view, schema)
		case problem.Of(err) != nil:
			return Snapshot{}, err
		default:
			return Snapshot{}, databaseError("reading view "+view, err)
		}
	}
	return Snapshot{}, noView()
}

// send makes one round trip. It returns the schema that the pointer names, empty
// when there is none.
func (s *Store) send(ctx context.Context, org string, st statement) (answered string, at Snapshot, err error) {
	var lost bool
	batch := &pgx.Batch{}
	before := ofOrg
	if st.planned {
		before = planned
	}
	batch.Queue(before, org)
	batch.Queue(st.sql, st.args...).Query(func(rows pgx.Rows) error {
		schema, all := repeatedText{}, []any(nil)
		scan := func(destinations ...any) error {
			all = append(append(all[:0], &schema, &at.Position, (*[16]byte)(&at.Epoch), &lost), destinations...)
			return rows.Scan(all...)
		}
		var page room
		for rows.Next() {
			if st.cut != nil {
				if *st.cut = !page.fits(bytesOf(rows.RawValues())); *st.cut {
					break // what is left is read past by the driver
				}
			}
			if err := st.row(scan); err != nil {
				return err
			}
		}
		answered = schema.text
		return rows.Err()
	})
	if err = s.pool.SendBatch(ctx, batch).Close(); err == nil && lost {
		err = restoring()
	}
	return answered, at, err
}

func bytesOf(values [][]byte) (bytes int) {
	for _, value := range values {
		bytes += len(value)
	}
	return bytes
}

// schema is the view's schema as seen last; read from the database the first time.
func (s *Store) schema(ctx context.Context, view string) (string, error) {
	s.mu.Lock()
	schema, known := s.schemas[view]
	s.mu.Unlock()
	if known {
		return schema, nil
	}
	err := s.pool.QueryRow(ctx, `SELECT schema FROM view_pointers WHERE name = $1`, view).Scan(&schema)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", noView()
	}
	if err != nil {
		return "", databaseError("reading the pointer of view "+view, err)
	}
	s.mu.Lock()
	s.schemas[view] = schema
	s.mu.Unlock()
	return schema, nil
}

// forget makes the next query read the pointer, unless another has done so.
func (s *Store) forget(view, schema string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.schemas[view] == schema {
		delete(s.schemas, view)
	}
}

// schemaGone reports that the schema or a table of it does not exist (any more).
func schemaGone(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "42P01" || refused.Code == "3F000")
}

// noView is the answer while no projector has made the view.
func noView() *problem.Problem {
	return problem.New(problem.Unavailable, "projection_lagging",
		"The view is not there yet: no projector has run. Try again in a moment.").Retry(retryLagging)
}

// restoring is the answer while what the view shows is of a history that the log has
// lost, until the view is built anew.
func restoring() error {
	return problem.New(problem.Unavailable, "projection_lagging",
		"The log was restored to an earlier state, and the view is being built anew. Try again in a moment.").Retry(retryLagging)
}

// OnHistory reports whether a position that was seen under an epoch is on the history of
// the log still, as far as the views know it. An epoch that they do not know is not.
func (s *Store) OnHistory(ctx context.Context, epoch string, position int64) (bool, error) {
	id, err := uuid.Parse(epoch)
	if err != nil {
		return false, nil //nolint:nilerr // no epoch of any log
	}
	var on bool
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM view_epochs l WHERE l.epoch = $1
		AND NOT EXISTS (SELECT FROM view_epochs f WHERE f.number > l.number AND f.fork_position < $2))`, id, position).Scan(&on)
	if err != nil {
		return false, databaseError("reading the log's epochs", err)
	}
	return on, nil
}

// databaseError keeps the cause for the log and tells callers apart a database that
// cannot be reached from a fault of ours.
func databaseError(doing string, err error) error {
	var (
		connecting *pgconn.ConnectError
		network    net.Error
		refused    *pgconn.PgError
	)
	away := errors.As(err, &connecting) || pgconn.SafeToRetry(err) || (errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded))
	// Class 57P: the server is starting or stopping.
	away = away || (errors.As(err, &refused) && len(refused.Code) == 5 && refused.Code[:3] == "57P")
	if !away || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	p := problem.New(problem.Unavailable, "views_unavailable", "The read database does not answer. Try again in a moment.").Retry(retryLagging)
	return fmt.Errorf("%w (%s: %w)", p, doing, err)
}
