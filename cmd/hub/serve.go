package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
)

func newServe() *cobra.Command {
	return &cobra.Command{
		Use: "serve ROLE…", Short: "Run some roles of the system: command-api, query-api, relay, projector, reactor, or all",
		Long: "Runs the named roles in this process, on the databases and services that the\n" +
			"environment names. Each role may run in any number of processes.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			roles, err := config.ParseRoles(args)
			if err != nil {
				return err
			}
			return doing(func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), cmd.OutOrStdout(), roles) })(cmd, args)
		},
	}
}

func serve(ctx context.Context, out io.Writer, roles []config.Role) error {
	cfg, err := config.Load(config.Serve(roles...), os.Environ())
	if err != nil {
		return err
	}
	s := newSystem(cfg, roles...)
	if s.secret, err = secretOf(cfg, cfg.DataDir); err != nil {
		return err
	}
	if s.nats, err = connectNATS(cfg, s.log); err != nil {
		return err
	}
	defer s.nats.Close()
	return s.run(ctx, func() { fmt.Fprintf(out, "Hub Backend %s is running: %v\n", version, roles) })
}

// run starts the system, says so, and stops it when ctx ends or a part of it fails.
func (s *system) run(ctx context.Context, started func()) (err error) {
	defer func() {
		if closeErr := s.close(); err == nil {
			err = closeErr
		}
	}()
	if err := s.start(ctx); err != nil {
		return err
	}
	started()
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
		return nil
	case err := <-s.failed:
		return err
	}
}

// secretOf is SECRET_KEY, or where it may be missing a key generated into dir.
func secretOf(cfg config.Config, dir string) ([]byte, error) {
	if cfg.SecretKey != "" {
		return []byte(cfg.SecretKey.Reveal()), nil
	}
	return config.EnsureSecret(dir)
}

func newLog(cfg config.Config, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// connectNATS connects, or goes on trying in the background: the log is the truth,
// and everything but the copy in NATS works without it.
func connectNATS(cfg config.Config, log *slog.Logger) (*nats.Conn, error) {
	options := natsOptions(log)
	if cfg.NATSCreds != "" {
		options = append(options, nats.UserCredentialBytes([]byte(cfg.NATSCreds.Reveal())))
	}
	secured, err := cfg.NATSTLS()
	if err != nil {
		return nil, err
	}
	if secured != nil {
		options = append(options, nats.Secure(secured))
	}
	conn, err := nats.Connect(cfg.NATSURL.Reveal(), append(options, nats.RetryOnFailedConnect(true))...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	return conn, nil
}

func natsOptions(log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name("hub"), nats.MaxReconnects(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("NATS is gone", "error", err) }),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS is back") }),
	}
}
