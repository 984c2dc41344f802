package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/migrations"
)

const (
	// databaseTimeout is how long a starting process waits for a database that does not
	// answer: long enough for one that starts beside it.
	databaseTimeout = 30 * time.Second
	// databaseRetry is the pause between two attempts of that.
	databaseRetry = 250 * time.Millisecond
)

// pool opens a pool that close closes; name is for its metrics. It refuses a database
// whose schema is not the one of this version, and a login that cannot act as role.
func (s *system) pool(ctx context.Context, name string, schema migrations.Set, url config.Secret, role eventstore.Role, connections int32) (*pgxpool.Pool, error) {
	pool, err := s.openPool(ctx, name, url, role, connections)
	if err != nil {
		return nil, err
	}
	if err := waitForDatabase(ctx, pool, role); err != nil {
		return nil, err
	}
	if err := schema.Check(ctx, pool); err != nil {
		return nil, err
	}
	return pool, nil
}

// waitForDatabase returns when the pool's connections act as role, or says why they
// never will.
func waitForDatabase(ctx context.Context, pool *pgxpool.Pool, role eventstore.Role) error {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	for {
		err := eventstore.CheckRole(ctx, pool, role)
		if err == nil || !mayStillCome(err) {
			return err
		}
		select {
		case <-time.After(databaseRetry):
		case <-ctx.Done():
			return fmt.Errorf("the database of %s does not answer: %w", role, err)
		}
	}
}

// mayStillCome tells a server that is not there yet from one that refuses.
func mayStillCome(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return !errors.Is(err, eventstore.ErrUnfitRole)
	}
	const cannotConnectNow, tooManyConnections = "57P03", "53300"
	return refused.Code == cannotConnectNow || refused.Code == tooManyConnections
}
