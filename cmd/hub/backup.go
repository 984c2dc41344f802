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
	"github.com/reactdjango-hub/backend/migrations"
)

func newBackup() *cobra.Command {
	var keys string
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write the log and its receipts to a file, checked event by event, and its keys to another", Args: cobra.ExactArgs(1),
		Long: "Takes a snapshot of the log at MIGRATE_DATABASE_URL, while it is being written to, and\n" +
			"puts it into FILE, or on standard output for -. The keys of sealed values, which are wrapped,\n" +
			"go into the file that --keys names: keep it apart, and replace it after an erasure, by\n" +
			"`hub keys backup`. SECRET_KEY is in neither: keep it elsewhere.",
	}
	cmd.Flags().StringVar(&keys, "keys", "", "file for the keys of sealed values")
	cmd.RunE = doing(func(cmd *cobra.Command, args []string) error {
		return withLogOwner(cmd.Context(), func(conn *pgx.Conn) error { return backUp(cmd, conn, args[0], keys) })
	})
	return cmd
}

func backUp(cmd *cobra.Command, conn *pgx.Conn, name, keys string) error {
	out, progress := cmd.OutOrStdout(), watchProgress(cmd.OutOrStdout(), "events")
	if name == "-" {
		out, progress = cmd.ErrOrStderr(), func(int64, int64) {}
	}
	var summary archive.Summary
	write := func(to archive.Files) (err error) {
		summary, err = archive.Backup(cmd.Context(), conn, to, "hub "+version, progress)
		return err
	}
	// The keys get their name first: newer ones open an older log, and not the other way.
	withKeys := func(log io.Writer) error {
		if keys == "" {
			return write(archive.Files{Log: log})
		}
		return writeWhole(keys, func(to io.Writer) error { return write(archive.Files{Log: log, Keys: to}) })
	}
	var err error
	if name == "-" {
		err = withKeys(cmd.OutOrStdout())
	} else {
		err = writeWhole(name, withKeys)
	}
	if err != nil {
		return err
	}
	say(out, "Backed up", summary)
	switch {
	case keys != "":
		sayKeys(out, "Backed up", summary.Keys)
	case summary.KeysLeftOut > 0:
		fmt.Fprintf(out, "Left out: %d keys, without which sealed values cannot be read; --keys backs them up\n", summary.KeysLeftOut)
	}
	return nil
}

func newKeysBackup() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write the keys of sealed values, wrapped, to a file apart from the log", Args: cobra.ExactArgs(1),
		Long: "Writes the keys at MIGRATE_DATABASE_URL to FILE. After an erasure replace all copies of\n" +
			"that file by a new one: it goes with any older backup of the same log.",
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return withLogOwner(cmd.Context(), func(conn *pgx.Conn) error {
				var summary archive.KeySummary
				err := writeWhole(args[0], func(to io.Writer) (err error) {
					summary, err = archive.BackupKeys(cmd.Context(), conn, to, "hub "+version)
					return err
				})
				if err == nil {
					sayKeys(cmd.OutOrStdout(), "Backed up", summary)
				}
				return err
			})
		}),
	}
}

// restoring is what `hub restore` was told.
type restoring struct {
	keys            string
	verify          bool
	missingAsErased bool
}

func newRestore() *cobra.Command {
	var told restoring
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Fill an empty log from a backup, all of it or nothing", Args: cobra.ExactArgs(1),
		Long: "Reads FILE, or standard input for -, into the log at MIGRATE_DATABASE_URL, which must be\n" +
			"migrated and empty, with the keys of the file that --keys names, and starts a new epoch\n" +
			"there. Views and JetStream follow by themselves.",
		RunE: doing(func(cmd *cobra.Command, args []string) error { return told.restore(cmd, args[0]) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&told.keys, "keys", "", "file of the keys, of the same time as FILE or later")
	flags.BoolVar(&told.missingAsErased, "missing-as-erased", false, "restore sealed values whose keys are missing as erased, for ever")
	flags.BoolVar(&told.verify, "verify-only", false, "check the files and touch no database")
	return cmd
}

func (r restoring) restore(cmd *cobra.Command, name string) error {
	out := cmd.OutOrStdout()
	from := archive.Sources{MissingAsErased: r.missingAsErased}
	log, err := open(cmd, name)
	if err != nil {
		return err
	}
	defer log.Close()
	from.Log = log
	if r.keys != "" {
		keys, err := os.Open(r.keys)
		if err != nil {
			return fmt.Errorf("opening the keys: %w", err)
		}
		defer func() { _ = keys.Close() }() // only read
		from.Keys = keys
	}
	if r.verify {
		return verifyFiles(out, from)
	}
	return withLogOwner(cmd.Context(), func(conn *pgx.Conn) error {
		summary, err := archive.Restore(cmd.Context(), conn, from, watchProgress(out, "events"))
		var missing *archive.MissingKeysError
		if errors.As(err, &missing) {
			return fmt.Errorf("%w (--keys FILE, or --missing-as-erased)", err)
		}
		if err != nil {
			return err
		}
		say(out, "Restored", summary)
		if from.Keys != nil {
			sayKeys(out, "Restored", summary.Keys)
		}
		if summary.Unreadable > 0 {
			fmt.Fprintf(out, "Erased: the sealed values of %d subjects, whose keys are missing\n", summary.Unreadable)
		}
		return nil
	})
}

// verifyFiles says whether files are whole, and fit together.
func verifyFiles(out io.Writer, from archive.Sources) error {
	summary, err := archive.Verify(from.Log, watchProgress(out, "events"))
	if err != nil {
		return err
	}
	say(out, "Intact", summary)
	if from.Keys == nil {
		return nil
	}
	keys, err := archive.VerifyKeys(from.Keys)
	switch {
	case err != nil:
		return err
	case keys.Log != summary.Log:
		return archive.ErrOtherLog
	}
	sayKeys(out, "Intact", keys)
	if keys.Position < summary.Events {
		fmt.Fprintf(out, "Older: the keys of subjects that are new after position %d may be missing\n", keys.Position)
	}
	return nil
}

func sayKeys(out io.Writer, what string, s archive.KeySummary) {
	fmt.Fprintf(out, "%s: %d keys, and %d that are erased, as of %s, position %d\n", what, s.Keys, s.Erased, s.TakenAt.Format("2006-01-02 15:04:05 UTC"), s.Position)
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
	if err := migrations.Log.Check(ctx, conn); err != nil {
		return err
	}
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
