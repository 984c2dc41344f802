package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/eventstore/archive"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/local"
)

func newBackup() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write the log and its receipts to a file, checked event by event", Args: cobra.ExactArgs(1),
		Long: "Takes a snapshot of the log at MIGRATE_DATABASE_URL, while it is being written to, and\n" +
			"puts it into FILE, or on standard output for -. SECRET_KEY is not in it: keep it elsewhere.",
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return withLogOwner(cmd.Context(), func(conn *pgx.Conn) error {
				out := cmd.OutOrStdout()
				if args[0] == "-" {
					_, err := archive.Backup(cmd.Context(), conn, out, "hub "+version, func(int64, int64) {})
					return err
				}
				var summary archive.Summary
				err := writeWhole(args[0], func(to io.Writer) (err error) {
					summary, err = archive.Backup(cmd.Context(), conn, to, "hub "+version, watchProgress(out, "events"))
					return err
				})
				if err == nil {
					say(out, "Backed up", summary)
				}
				return err
			})
		}),
	}
}

func newRestore() *cobra.Command {
	var verify bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Fill an empty log from a backup, all of it or nothing", Args: cobra.ExactArgs(1),
		Long: "Reads FILE, or standard input for -, into the log at MIGRATE_DATABASE_URL, which must be\n" +
			"migrated and empty, and starts a new epoch there. Views and JetStream follow by themselves.",
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			from, err := open(cmd, args[0])
			if err != nil {
				return err
			}
			defer from.Close()
			progress := watchProgress(cmd.OutOrStdout(), "events")
			if verify {
				summary, err := archive.Verify(from, progress)
				if err == nil {
					say(cmd.OutOrStdout(), "Intact", summary)
				}
				return err
			}
			return withLogOwner(cmd.Context(), func(conn *pgx.Conn) error {
				summary, err := archive.Restore(cmd.Context(), conn, from, progress)
				if err == nil {
					say(cmd.OutOrStdout(), "Restored", summary)
				}
				return err
			})
		}),
	}
	cmd.Flags().BoolVar(&verify, "verify-only", false, "check the file and touch no database")
	return cmd
}

func say(out io.Writer, what string, s archive.Summary) {
	fmt.Fprintf(out, "%s: %d events and %d receipts as of %s, epoch %s\n", what, s.Events, s.Receipts, s.TakenAt.Format("2006-01-02 15:04:05 UTC"), s.Epoch)
}

func open(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the backup: %w", err)
	}
	return file, nil
}

// withLogOwner gives do a superuser's connection to the log: the one that the environment
// names for migrations, or that of a running hub dev.
func withLogOwner(ctx context.Context, do func(*pgx.Conn) error) error {
	cfg, err := config.Load(config.Tool(), os.Environ())
	if err != nil {
		return err
	}
	url := cfg.MigrateDatabaseURL.Reveal()
	if url == "" {
		dir, _, err := local.ResolveDataDir(cfg.DataDir)
		if err != nil {
			return err
		}
		if url, err = local.RunningPostgres(filepath.Join(dir, postgresDir), databaseName); err != nil {
			return fmt.Errorf("start `hub dev` first, or set MIGRATE_DATABASE_URL: %w", err)
		}
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting to the log: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return do(conn)
}

// writeWhole writes a file that is there under its name only when it is complete and on
// disk.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if err := write(file); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return fmt.Errorf("naming the file: %w", err)
	}
	return nil
}
