package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/migrations"
)

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the databases to this version's schema, or back",
		Long: "Acts on MIGRATE_DATABASE_URL (the log; a superuser, because event triggers need one)\n" +
			"and PROJECTION_DATABASE_URL (the read tables); both default to DATABASE_URL.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("name up, down or status") },
	}
	cmd.AddCommand(
		migrateStep("up", "Migrate up; does nothing when all is up to date", migrations.Set.Up),
		migrateStep("down", "Remove everything; refused unless the log is empty", migrations.Set.Down),
		newMigrateStatus(),
	)
	return cmd
}

// databases are the schemas and where each belongs.
type database struct {
	set migrations.Set
	url string
}

func databases() ([]database, error) {
	cfg, err := config.Load(config.Migrate(), os.Environ())
	if err != nil {
		return nil, err
	}
	return []database{
		{migrations.Log, cfg.MigrateDatabaseURL.Reveal()},
		{migrations.Projections, cfg.ProjectionDatabaseURL.Reveal()},
	}, nil
}

func migrateStep(name, short string, do func(migrations.Set, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			targets, err := databases()
			if err != nil {
				return err
			}
			for _, d := range targets {
				if err := do(d.set, cmd.Context(), d.url); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func newMigrateStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "List the version of each schema", Args: cobra.NoArgs}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		targets, err := databases()
		if err != nil {
			return err
		}
		var rows []migrations.Status
		for _, d := range targets {
			status, err := d.set.Status(cmd.Context(), d.url)
			if err != nil {
				return err
			}
			rows = append(rows, status)
		}
		return list(*output, cmd.OutOrStdout(), rows, []string{"schema", "version", "dirty"}, func(s migrations.Status) []string {
			return []string{s.Set, fmt.Sprint(s.Version), fmt.Sprint(s.Dirty)}
		})
	})
	return cmd
}
