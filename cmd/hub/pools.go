package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// poolNames are those of all pools, for the metrics: whoever has one is told by it.
var poolNames = []string{"commands", "relay", "views", "projector", "queries", "reports", "events", "clear", "operations", "operations_log", "reactions", "reactor"}

// openPool opens a pool that close closes, and measures it. Nothing is asked of the
// database yet.
func (s *system) openPool(ctx context.Context, name string, url config.Secret, role eventstore.Role, connections int32) (*pgxpool.Pool, error) {
	pool, err := eventstore.OpenPool(ctx, url.Reveal(), role, connections, s.roundTrips(name))
	if err != nil {
		return nil, err
	}
	s.pools = append(s.pools, pool)
	s.measurePool(name, pool)
	return pool, nil
}

// measurePool shows how near a pool is to its limit.
func (s *system) measurePool(name string, pool *pgxpool.Pool) {
	at := telemetry.At{Name: "pool", Value: name}
	s.metrics.Sample("hub_database_connections_used", "Connections that are at work.", func() float64 { return float64(pool.Stat().AcquiredConns()) }, at)
	s.metrics.Sample("hub_database_connections_limit", "Connections that a pool may have.", func() float64 { return float64(pool.Stat().MaxConns()) }, at)
	s.metrics.Sample("hub_database_wait_seconds", "Time spent waiting for a connection, since the start.", func() float64 { return pool.Stat().EmptyAcquireWaitTime().Seconds() }, at)
}

// roundTrips measure those of a pool: pgx tells them of each.
type roundTrips struct {
	seconds *telemetry.Histogram
	failed  *telemetry.Counter
}

func (s *system) roundTrips(pool string) *roundTrips {
	of := telemetry.Label{Name: "pool", Values: poolNames}
	return &roundTrips{
		seconds: s.metrics.Histograms("hub_database_round_trip_seconds", "Time of one round trip, until its rows are read.", telemetry.Seconds(), of).With(pool),
		failed: s.metrics.Counters("hub_database_failures_total",
			"Round trips that failed: the server refused, or did not answer. A few are the course of things, as of two who make one key.", of).With(pool),
	}
}

// begun is the key of when a round trip has begun.
type begun struct{}

func (*roundTrips) start(ctx context.Context) context.Context {
	return context.WithValue(ctx, begun{}, time.Now())
}

func (r *roundTrips) end(ctx context.Context, err error) {
	if at, measured := ctx.Value(begun{}).(time.Time); measured {
		r.seconds.Observe(time.Since(at).Seconds())
	}
	// Who goes away says nothing about the database.
	if err != nil && !errors.Is(err, context.Canceled) {
		r.failed.Inc()
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (r *roundTrips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return r.start(ctx)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (r *roundTrips) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	r.end(ctx, data.Err)
}

// TraceBatchStart implements pgx.BatchTracer.
func (r *roundTrips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return r.start(ctx)
}

// TraceBatchQuery implements pgx.BatchTracer.
func (*roundTrips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (r *roundTrips) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	r.end(ctx, data.Err)
}
