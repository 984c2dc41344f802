package hubtest

import (
	"context"

	"github.com/reactdjango-hub/backend/migrations"
)

// Log is the schema of the event log alone.
func Log() Migration {
	return Migration{Fingerprint: "log " + migrations.Fingerprint(), Up: migrations.Log.Up}
}

// LogAndViews is the event log and, in the same database, the bookkeeping of views.
func LogAndViews() Migration {
	return Migration{
		Fingerprint: "log and views " + migrations.Fingerprint(),
		Up: func(ctx context.Context, url string) error {
			if err := migrations.Log.Up(ctx, url); err != nil {
				return err
			}
			return migrations.Projections.Up(ctx, url)
		},
	}
}
