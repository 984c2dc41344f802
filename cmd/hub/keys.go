package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/internal/local"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Look after the keys that seal personal and sensitive values", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("name rotate, list or backup") },
	}
	cmd.AddCommand(newKeysRotate(), newKeysList(), newKeysBackup())
	return cmd
}

func newKeysRotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Wrap all keys anew by SECRET_KEY, which replaces SECRET_KEY_PREVIOUS", Args: cobra.NoArgs,
		Long: "Wraps the keys at MIGRATE_DATABASE_URL anew. No event is touched and nobody has to stop.\n" +
			"It may be broken off and begun again. docs/operations.md says what to do before and after.",
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			return withMasters(cmd.Context(), func(conn *pgx.Conn, masters *keyring.Masters) error {
				done, err := keyring.Rotate(cmd.Context(), conn, masters, watchProgress(cmd.OutOrStdout(), "keys"))
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "Wrapped anew: %d keys\n", done)
				}
				return err
			})
		}),
	}
}

func newKeysList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "Count the keys by organisation and by the master key that wraps them", Args: cobra.NoArgs}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withMasters(cmd.Context(), func(conn *pgx.Conn, masters *keyring.Masters) error {
			rows, err := keyring.List(cmd.Context(), conn, masters)
			if err != nil {
				return err
			}
			return list(*output, cmd.OutOrStdout(), rows, []string{"org", "master", "current", "keys", "erased", "newest"}, func(l keyring.Listing) []string {
				return []string{
					l.Org, l.Master, strconv.FormatBool(l.Current), strconv.FormatInt(l.Keys, 10), strconv.FormatInt(l.Erased, 10),
					l.Newest.Format(time.RFC3339),
				}
			})
		})
	})
	return cmd
}

// withMasters gives do the owner's connection and the master keys of the environment, or
// of a hub dev.
func withMasters(ctx context.Context, do func(*pgx.Conn, *keyring.Masters) error) error {
	cfg, err := config.Load(config.Tool(), os.Environ())
	if err != nil {
		return err
	}
	masters, err := mastersOfTool(cfg)
	if err != nil {
		return err
	}
	return withLogOwner(ctx, func(conn *pgx.Conn) error { return do(conn, masters) })
}

// mastersOfTool are the master keys of the environment, or of a hub dev; a tool makes none
// up.
func mastersOfTool(cfg config.Config) (*keyring.Masters, error) {
	secret := []byte(cfg.SecretKey.Reveal())
	if len(secret) == 0 {
		dir, _, err := local.ResolveDataDir(cfg.DataDir)
		if err != nil {
			return nil, err
		}
		if secret, err = config.FindSecret(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, errNoSecret
		} else if err != nil {
			return nil, err
		}
	}
	return mastersOf(cfg, secret)
}

var errNoSecret = errors.New("set SECRET_KEY to that of the services")

// mastersOf are the master keys that follow from SECRET_KEY and SECRET_KEY_PREVIOUS.
func mastersOf(cfg config.Config, secret []byte) (*keyring.Masters, error) {
	var others [][]byte
	if cfg.SecretKeyPrevious != "" {
		others = append(others, config.DeriveKey([]byte(cfg.SecretKeyPrevious.Reveal()), "master key"))
	}
	return keyring.NewMasters(config.DeriveKey(secret, "master key"), others...)
}

// keys is the keyring of a pool on the log's database. It refuses a SECRET_KEY that is not
// the one which the keys there are wrapped by. It is nil in a tool that has no SECRET_KEY,
// which can do what needs no keys.
func (s *system) keys(ctx context.Context, pool *pgxpool.Pool, readOnly bool) (*keyring.Keyring, error) {
	if s.masters == nil {
		return nil, nil //nolint:nilnil // who gets it looks
	}
	keys := keyring.New(keyring.Options{Pool: pool, Masters: s.masters, ReadOnly: readOnly, Cache: s.unwrapped, Metrics: s.metrics})
	return keys, keys.Check(ctx)
}

// watchProgress shows how far it is, at most once a second and at the end: in one place on
// a terminal, elsewhere a line each.
func watchProgress(w io.Writer, of string) func(done, total int64) {
	begin, end := "", "\n"
	if isTerminal(w) {
		begin, end = "\r", "\x1b[K"
	}
	var last time.Time
	return func(done, total int64) {
		now := time.Now()
		if done < total && now.Sub(last) < time.Second {
			return
		}
		last = now
		fmt.Fprintf(w, "%s%d of %d %s%s", begin, done, total, of, end)
		if done >= total && begin != "" {
			fmt.Fprintln(w)
		}
	}
}
