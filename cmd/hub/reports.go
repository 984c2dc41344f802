package main

import (
	"context"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/readmodels"
)

// openReports lets a command API report what a write means for the entities that are
// there, and select some. It works without: nothing is asked of that database before.
func (s *system) openReports(ctx, background context.Context) (*readmodels.Store, error) {
	pool, err := s.openPool(ctx, "reports", s.cfg.QueryDatabaseURL, eventstore.RoleQuery, reportConnections)
	if err != nil {
		return nil, err
	}
	views := readmodels.New(readmodels.Options{Pool: pool, CursorKey: config.DeriveKey(s.secret, "cursors"), Log: s.log})
	s.work(background, "report watcher", views.Run)
	return views, nil
}
