package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/access"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/logevent"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/organization"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/internal/lease"
	"github.com/reactdjango-hub/backend/internal/ratelimit"
	"github.com/reactdjango-hub/backend/internal/telemetry"
	"github.com/reactdjango-hub/backend/migrations"
	"github.com/reactdjango-hub/backend/projections"
	"github.com/reactdjango-hub/backend/reactions"
	"github.com/reactdjango-hub/backend/readmodels"
)

// Pool sizes. More back-ends than cores only slow PostgreSQL down; the loop, the
// relay and each projection use one connection at a time.
const (
	commandConnections   = 4
	relayConnections     = 3
	projectorConnections = 4
	queryConnections     = 8
	reportConnections    = 1
)

const (
	// partitionInterval is how often room ahead in the log is looked after; two
	// partitions ahead last for hours at any rate that was measured.
	partitionInterval = time.Minute
	// verifyInterval is how often each view is held against the log by itself.
	verifyInterval = 24 * time.Hour
	// drainTimeout bounds how long a stopping process lets requests finish.
	drainTimeout = 15 * time.Second
)

// system is all that runs in one process: some roles and what they share.
type system struct {
	cfg   config.Config
	roles []config.Role
	// dev is hub dev, which shows on one address what services keep apart.
	dev    bool
	secret []byte
	// masters are the master keys that follow from the secret.
	masters *keyring.Masters
	// unwrapped are the keys that all keyrings of this process have in memory.
	unwrapped *keyring.Cache
	nats      *nats.Conn
	feed      *subscription.Feed
	log       *slog.Logger
	// level is that of log; operators change it while the process runs.
	level   *slog.LevelVar
	metrics *telemetry.Registry
	// tracer is nil where traces are sent nowhere.
	tracer *telemetry.Tracer

	api     *httpapi.API
	relay   *relay.Relay
	engine  *projections.Engine
	reactor *reactions.Engine
	// views is any pool of this process that reads where the views are; nil when no role
	// needs them.
	views *pgxpool.Pool
	// store is any store of this process, for probing the log; nil when no role reads it.
	store    *eventstore.Store
	reads    *readmodels.Store
	verifier *identity.Verifier
	limiter  *ratelimit.Limiter // nil while requests are not limited
	servers  []*http.Server
	draining atomic.Bool

	pools []*pgxpool.Pool
	// background are the parts that work until stop; they get the context that stop ends.
	background sync.WaitGroup
	stop       context.CancelFunc
	// failed gets the first fault that ends the process.
	failed chan error
}

func newSystem(cfg config.Config, roles ...config.Role) *system {
	s := &system{cfg: cfg, roles: roles, level: new(slog.LevelVar), metrics: telemetry.New(version), unwrapped: keyring.NewCache(), failed: make(chan error, 1)}
	s.level.Set(cfg.LogLevel)
	s.log = newLog(cfg, s.level)
	s.tracer = s.newTracer()
	return s
}

// codec knows every event of every area.
func codec() *eventstore.Codec { return eventstore.NewCodec(kinds()...) }

// kinds are all events that there are.
func kinds() []domain.EventKind {
	return slices.Concat(access.Kinds(), entity.Kinds(), ledger.Kinds(), member.Kinds(), logevent.Kinds(), organization.Kinds())
}

// folds say what the boundaries of every area fold to.
func folds() domain.Folds {
	all := domain.Folds{}
	for _, area := range []domain.Folds{entity.Folds(), ledger.Folds(), member.Folds(), organization.Folds()} {
		maps.Copy(all, area)
	}
	return all
}

// accessLevel is that of a line for each request: services write it, and hub dev where
// asked to, so that a person at its terminal sees what is out of the ordinary.
func (s *system) accessLevel() slog.Level {
	if s.dev {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (s *system) runs(role config.Role) bool { return slices.Contains(s.roles, role) }

// start brings up the roles of s.roles. On an error the caller still calls close.
func (s *system) start(ctx context.Context) (err error) {
	if s.masters, err = mastersOf(s.cfg, s.secret); err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	appended, viewed := eventstore.NewSignal(), func() {}

	options := httpapi.Options{
		QueryAPIURL:    s.cfg.QueryAPIURL,
		Verifier:       s.newVerifier(background),
		Health:         s.health,
		Ready:          s.ready,
		RequestHashKey: config.DeriveKey(s.secret, "request hashes"), TicketKey: config.DeriveKey(s.secret, "stream tickets"),
		AllowedHosts: s.cfg.AllowedHosts, CORSAllowedOrigins: s.cfg.CORSAllowedOrigins,
		Kinds:   kinds(),
		Version: version, Log: s.log, LogLevel: s.level, Metrics: s.metrics, Tracer: s.tracer, Probes: true, ShowMetrics: s.dev, AccessLevel: s.accessLevel(),
	}
	if err := s.newLimiter(); err != nil {
		return err
	}
	options.Limiter = s.limiter
	if s.runs(config.QueryAPI) {
		reads, err := s.startReads(ctx, background)
		if err != nil {
			return err
		}
		options.Reads, viewed = reads, reads.Notify
		if options.Operations, err = s.startOperations(ctx); err != nil {
			return err
		}
		if err := s.startLogReads(ctx, background, &options); err != nil {
			return err
		}
	}
	if s.runs(config.CommandAPI) && options.Reads == nil {
		views, err := s.openReports(ctx, background)
		if err != nil {
			return err
		}
		options.Views = views
	}
	if s.runs(config.Projector) {
		if err := s.startProjector(ctx, background, viewed); err != nil {
			return err
		}
	}
	if s.runs(config.Relay) {
		if err := s.startRelay(ctx, background, appended); err != nil {
			return err
		}
	}
	if s.needsLoop() {
		loop, keys, err := s.startLoop(ctx, background, appended)
		if err != nil {
			return err
		}
		if s.runs(config.CommandAPI) {
			options.Loop = loop
		}
		if s.runs(config.Reactor) {
			if err := s.startReactor(ctx, background, loop.Submit, keys); err != nil {
				return err
			}
		}
	}
	if s.api, err = httpapi.New(options); err != nil {
		return err
	}
	return s.listen()
}

func (s *system) newVerifier(background context.Context) *identity.Verifier {
	s.verifier = identity.NewVerifier(identity.Options{
		URL: s.cfg.IdentityServiceURL, Issuer: s.cfg.IdentityIssuer, Audience: "hub-backend", Verified: s.observer(background), Log: s.log,
		Development: s.dev || s.cfg.Debug, Metrics: s.metrics,
		Transport: func(base http.RoundTripper) http.RoundTripper {
			return s.tracer.Transport("fetch keys of the issuer", base)
		},
	})
	if s.runs(config.CommandAPI) || s.runs(config.QueryAPI) {
		s.work(background, "identity keys", func(ctx context.Context) error {
			s.verifier.Run(ctx)
			return nil
		})
	}
	return s.verifier
}

// newLimiter makes the limiter, if requests are limited.
func (s *system) newLimiter() (err error) {
	if s.cfg.RateLimit == config.RateLimitOff {
		return nil
	}
	trust, err := s.cfg.RedisTLS()
	if err != nil {
		return err
	}
	s.limiter, err = ratelimit.New(ratelimit.Options{PerMinute: s.cfg.RateLimit, RedisURL: s.cfg.RedisURL.Reveal(), TLS: trust, Log: s.log, Metrics: s.metrics})
	return err
}

// work runs do beside everything else until the process stops.
func (s *system) work(ctx context.Context, name string, do func(context.Context) error) {
	s.background.Go(func() {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// fail ends the process: a part that cannot go on must not be missing unseen.
func (s *system) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

func (s *system) startLoop(ctx, background context.Context, appended *eventstore.Signal) (*commands.Loop, *keyring.Keyring, error) {
	pool, err := s.pool(ctx, "commands", migrations.Log, s.cfg.DatabaseURL, eventstore.RoleCommand, commandConnections)
	if err != nil {
		return nil, nil, err
	}
	store := eventstore.New(pool)
	s.store = store
	if err := store.EnsurePartitions(ctx); err != nil {
		return nil, nil, err
	}
	keys, err := s.keys(ctx, pool, false)
	if err != nil {
		return nil, nil, err
	}
	s.work(background, "receipts", eventstore.NewPurge(store, s.log, s.metrics).Run)
	s.work(background, "partitions", func(ctx context.Context) error { return s.keepPartitions(ctx, store) })
	loop := commands.New(commands.Options{
		Store: store, Codec: codec(), Folds: folds(), Keys: keys, Log: s.log, Appended: s.announce(appended),
		Metrics: s.metrics, Tracer: s.tracer, Fingerprint: programFingerprint(s.log),
	})
	s.work(background, "command loop", func(ctx context.Context) error {
		loop.Run(ctx)
		return nil
	})
	return loop, keys, nil
}

// announce tells the relay that the log has grown, here or in its own process. A
// lost word costs a fraction of a second: the relay also looks by itself.
func (s *system) announce(appended *eventstore.Signal) func(int64) {
	if s.runs(config.Relay) {
		return func(int64) { appended.Wake() }
	}
	return func(position int64) {
		// An error means that NATS is down, which the relay and health show.
		_ = s.nats.Publish(relay.NudgeSubject, strconv.AppendInt(nil, position, 10))
	}
}

func (s *system) keepPartitions(ctx context.Context, store *eventstore.Store) error {
	ticker := time.NewTicker(partitionInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := store.EnsurePartitions(ctx); err != nil {
				s.log.Error("the log's next partitions could not be made", slog.Any("error", err))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *system) startRelay(ctx, background context.Context, appended *eventstore.Signal) error {
	pool, err := s.pool(ctx, "relay", migrations.Log, s.cfg.DatabaseURL, eventstore.RoleRelay, relayConnections)
	if err != nil {
		return err
	}
	store := eventstore.New(pool)
	s.store = store
	s.relay, err = relay.New(s.nats, store, appended, relay.Options{
		Stream: relay.StreamConfig{Replicas: s.cfg.NATSReplicas, MaxAge: s.cfg.StreamMaxAge, MaxBytes: s.cfg.StreamMaxBytes},
		Lease:  lease.New(lease.Options{Pool: pool, Table: lease.LogTable, Name: "relay", Log: s.log}),
		Log:    s.log, Metrics: s.metrics, Tracer: s.tracer,
	})
	if err != nil {
		return err
	}
	s.work(background, "relay", s.relay.Run)
	return nil
}

func (s *system) startProjector(ctx, background context.Context, viewed func()) error {
	options, err := s.projectionOptions(ctx)
	if err != nil {
		return err
	}
	if options.Feed, err = s.events(); err != nil {
		return err
	}
	options.Notify = viewed
	if !s.runs(config.QueryAPI) {
		// As with announce: the query API also looks by itself.
		options.Notify = func() { _ = s.nats.Publish(projections.NudgeSubject, nil) }
	}
	options.VerifyEvery = verifyInterval
	s.engine, s.views = projections.New(options), options.Pool
	s.engine.Prepare(ctx)
	s.work(background, "projector", s.engine.Run)
	return nil
}

func (s *system) startReads(ctx, background context.Context) (*readmodels.Store, error) {
	pool, err := s.pool(ctx, "queries", migrations.Projections, s.cfg.QueryDatabaseURL, eventstore.RoleQuery, queryConnections)
	if err != nil {
		return nil, err
	}
	reads := readmodels.New(readmodels.Options{
		Pool: pool, CursorKey: config.DeriveKey(s.secret, "cursors"), Log: s.log, Metrics: s.metrics,
	})
	s.reads, s.views = reads, pool
	s.work(background, "view watcher", reads.Run)
	if !s.runs(config.Projector) {
		if _, err := s.nats.Subscribe(projections.NudgeSubject, func(*nats.Msg) { reads.Notify() }); err != nil {
			return nil, fmt.Errorf("subscribing to the projector's nudges: %w", err)
		}
	}
	return reads, nil
}

// close stops what start started, in the order in which work flows: no new
// requests, running ones finish, the queue is decided, then everything behind it. The
// address for operators is the last of those that listen, so that they can watch.
func (s *system) close() error {
	s.draining.Store(true)
	s.endWaits()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var errs []error
	for _, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests on %s did not finish: %w", server.Addr, err))
		}
	}
	if s.stop != nil {
		s.stop()
	}
	s.background.Wait()
	for _, pool := range s.pools {
		pool.Close()
	}
	if s.limiter != nil {
		errs = append(errs, s.limiter.Close())
	}
	s.closeTracer()
	return errors.Join(errs...)
}
