package main

import (
	"context"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/readmodels"
)

// openReports lets a command API report what a write means for the entities that are
// there. It works without: nothing is asked of that database before a report is.
func (s *system) openReports(ctx context.Context) (*readmodels.Store, error) {
	pool, err := s.openPool(ctx, "reports", s.cfg.QueryDatabaseURL, eventstore.RoleQuery, reportConnections)
	if err != nil {
		return nil, err
	}
	return readmodels.New(readmodels.Options{Pool: pool, CursorKey: config.DeriveKey(s.secret, "cursors"), Log: s.log}), nil
}
