package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/local"
)

// toolConfig is the environment for a tool that needs the databases: those that it
// names, or the private one of a hub dev that runs on the same data directory.
func toolConfig() (config.Config, error) {
	cfg, err := config.Load(config.Tool(), os.Environ())
	if err != nil || cfg.DatabaseURL != "" {
		return cfg, err
	}
	dir, _, err := local.ResolveDataDir(cfg.DataDir)
	if err != nil {
		return cfg, err
	}
	url, err := local.RunningPostgres(filepath.Join(dir, postgresDir), databaseName)
	if err != nil {
		return cfg, fmt.Errorf("start `hub dev` first, or set DATABASE_URL: %w", err)
	}
	cfg.DatabaseURL, cfg.ProjectionDatabaseURL = config.Secret(url), config.Secret(url)
	return cfg, nil
}
