package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/local"
	"github.com/reactdjango-hub/backend/migrations"
)

const (
	// databaseName is that of the private PostgreSQL.
	databaseName = "hub"
	// postgresDir and natsDir are below HUB_DATA_DIR.
	postgresDir = "postgres"
	natsDir     = "nats"
	// stopTimeout is for what is embedded; PostgreSQL's fast shutdown takes 0.2 s.
	stopTimeout = 30 * time.Second
)

func newDev() *cobra.Command {
	return &cobra.Command{
		Use: "dev", Short: "Run the whole system in this process, with everything it needs embedded", Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error { return dev(cmd.Context(), cmd.OutOrStdout()) }),
	}
}

// embedded is what hub dev runs in place of what the environment does not name.
type embedded struct {
	postgres *local.Postgres
	nats     *local.NATS
	issuer   *http.Server
	lock     *local.DirLock
}

func dev(ctx context.Context, out io.Writer) (err error) {
	cfg, err := config.Load(config.Dev(), os.Environ())
	if err != nil {
		return err
	}
	dir, note, err := local.ResolveDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	if note != "" {
		fmt.Fprintln(out, note)
	}
	var e embedded
	defer func() {
		if stopErr := e.stop(); err == nil {
			err = stopErr
		}
	}()
	if e.lock, err = local.LockDir(dir); err != nil {
		return err
	}
	s := newSystem(cfg, config.AllRoles()...)
	s.dev = true
	if s.secret, err = secretOf(cfg, dir); err != nil {
		return err
	}
	if err := e.start(ctx, s, dir); err != nil {
		return err
	}
	defer s.nats.Close()
	if err := migrateForDev(ctx, s.cfg); err != nil {
		return err
	}
	return s.run(ctx, func() { welcome(ctx, out, s.cfg, e.issuer != nil) })
}

// start embeds what s.cfg leaves open and completes s.cfg with it.
func (e *embedded) start(ctx context.Context, s *system, dir string) error {
	if s.cfg.DatabaseURL == "" {
		if err := e.startPostgres(ctx, s, filepath.Join(dir, postgresDir)); err != nil {
			return err
		}
	}
	if s.cfg.IdentityServiceURL == "" {
		if err := e.startIssuer(s, filepath.Join(dir, "keys")); err != nil {
			return err
		}
	}
	var err error
	if s.cfg.NATSURL != "" {
		s.nats, err = connectNATS(s.cfg, s.log)
		return err
	}
	e.nats, err = local.StartNATS(local.NATSOptions{StoreDir: filepath.Join(dir, natsDir), ListenAddr: s.cfg.DevNATSAddr, ReadOnly: true, Log: s.log})
	if err != nil {
		return err
	}
	s.nats, err = e.nats.Connect(natsOptions(s.log)...)
	return err
}

func (e *embedded) startPostgres(ctx context.Context, s *system, dir string) error {
	var err error
	if e.postgres, err = local.StartPostgres(ctx, local.PostgresOptions{DataDir: dir, Durable: true, Log: s.log}); err != nil {
		return err
	}
	go func() {
		<-e.postgres.Done()
		if !s.draining.Load() {
			s.fail(errors.New("the private PostgreSQL has ended; its log is in " + dir))
		}
	}()
	if err := ensureDatabase(ctx, e.postgres.URL("postgres")); err != nil {
		return err
	}
	url := config.Secret(e.postgres.URL(databaseName))
	for _, target := range []*config.Secret{&s.cfg.DatabaseURL, &s.cfg.MigrateDatabaseURL, &s.cfg.ProjectionDatabaseURL, &s.cfg.QueryDatabaseURL} {
		if *target == "" {
			*target = url
		}
	}
	return nil
}

func ensureDatabase(ctx context.Context, serverURL string) error {
	conn, err := pgx.Connect(ctx, serverURL)
	if err != nil {
		return fmt.Errorf("connecting to the private PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, databaseName).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+databaseName)
	return err
}

func (e *embedded) startIssuer(s *system, keyDir string) error {
	url := "http://" + s.cfg.DevIdentityAddr
	server, failed, err := serveIssuer(s.cfg, keyDir, url)
	if err != nil {
		return err
	}
	e.issuer, s.cfg.IdentityServiceURL = server, url
	go func() {
		if err, broken := <-failed; broken {
			s.fail(err)
		}
	}()
	return nil
}

func migrateForDev(ctx context.Context, cfg config.Config) error {
	if err := migrations.Log.Up(ctx, cfg.MigrateDatabaseURL.Reveal()); err != nil {
		return err
	}
	return migrations.Projections.Up(ctx, cfg.ProjectionDatabaseURL.Reveal())
}

func (e *embedded) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	if e.issuer != nil {
		errs = append(errs, e.issuer.Shutdown(ctx))
	}
	if e.nats != nil {
		e.nats.Stop()
	}
	if e.postgres != nil {
		errs = append(errs, e.postgres.Stop(ctx))
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Unlock())
	}
	return errors.Join(errs...)
}

// welcome prints where everything is and a command that works as it stands.
func welcome(ctx context.Context, out io.Writer, cfg config.Config, issuer bool) {
	base := "http://" + cfg.HTTPAddr
	if cfg.TLSCert != "" {
		base = "https://" + cfg.HTTPAddr
	}
	fmt.Fprintf(out, "\nHub Backend %s is running.\n\n  API      %s/api/v1\n  Docs     %s/api/docs\n  Health   %s/api/health/\n", version, base, base, base)
	if !issuer {
		fmt.Fprintln(out)
		return
	}
	fmt.Fprintf(out, "  Tokens   %s/token (or: hub token --sub ana --org acme --role admin)\n", cfg.IdentityServiceURL)
	token, err := identity.RequestToken(ctx, cfg.IdentityServiceURL, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: []string{"admin"}})
	if err != nil {
		// The issuer runs in this process, so only a stop in this moment gets here.
		slog.Warn("no token for the example", slog.Any("error", err))
		return
	}
	fmt.Fprintf(out, "\nTry it:\n\n  curl -X PUT %s/api/v1/entity-types/customer \\\n    -H 'Authorization: Bearer %s' \\\n    -H 'Content-Type: application/json' \\\n    -d '{\"title\":\"Customer\",\"schema\":{\"type\":\"object\"}}'\n\n", base, token)
}
