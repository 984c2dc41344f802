// Package httpapi is the HTTP edge: it turns requests into commands for the loop
// and queries on the read tables, and what those say into answers. It knows HTTP,
// and no business rule.
//
// A request passes, from the outside in: the front (front.go: request id, host,
// CORS, paths), the adapter (adapter.go: gorilla/mux finds the route), the stages
// (stages.go, body.go: caller, permission, query, body), huma (schema of the
// input), and the handler of its line in routes.go. Whatever goes wrong anywhere
// becomes an answer in errors.go.
package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/ratelimit"
	"github.com/reactdjango-hub/backend/internal/telemetry"
	"github.com/reactdjango-hub/backend/readmodels"
)

// noDeadline takes a deadline away.
var noDeadline time.Time

// Options are what the API is made of.
type Options struct {
	// Loop takes the commands; nil where another process does, and then there are
	// no routes for them.
	Loop *commands.Loop
	// Reads answers the queries; nil where another process does, and then they are
	// forwarded to QueryAPIURL.
	Reads       *readmodels.Store
	QueryAPIURL string
	// Views are read for what commands report beside their receipts; Reads when nil.
	Views    *readmodels.Store
	Verifier *identity.Verifier
	// Health makes the report of /api/health/; it is called at most every 5 s while
	// the system is healthy. Nil reports nothing but that the process answers.
	Health func(context.Context) Health
	// Ready returns nil while the process can serve. Nil means always.
	Ready func() error
	// Operations answers what is under /operations; needed where Reads is.
	Operations *Operations
	// Events answers the event streams; needed where Reads is.
	Events *Events
	// Clear opens sensitive values and records it; needed where Reads is.
	Clear *Clear
	// Accesses lists who has seen what; needed where Reads is.
	Accesses func(ctx context.Context, org string, q AccessQuery) (AccessPage, readmodels.Snapshot, error)
	// TicketKey seals stream tickets, 32 bytes; the same in every process with an API.
	TicketKey []byte
	// Limiter counts the requests of each caller; nil lets them all through.
	Limiter *ratelimit.Limiter
	// RequestHashKey keys the hashes of idempotent requests; the same in every
	// process that takes commands or operations.
	RequestHashKey []byte
	// AllowedHosts has Django's meaning, see hosts. Empty allows none.
	AllowedHosts       []string
	CORSAllowedOrigins []string
	// Kinds are all events that there are, for the description of the streams.
	Kinds []domain.EventKind
	// Version is the build's, shown by the health report.
	Version string
	Log     *slog.Logger
	// AccessLevel is that of the line for each request; zero is info.
	AccessLevel slog.Level
	// LogLevel is what PUT /log-level changes; nil takes the route away.
	LogLevel *slog.LevelVar
	// Metrics gets what the edge counts and is shown at /metrics; nil counts nowhere.
	Metrics *telemetry.Registry
	// Tracer records what becomes of a request; nil records nothing.
	Tracer *telemetry.Tracer
	// Probes adds /livez and /readyz to the main addresses, ShowMetrics /metrics.
	Probes, ShowMetrics bool
}

// API makes the handlers of a process.
type API struct {
	// send and queue are the loop's Submit and Queue; nil where another process takes the
	// commands.
	send     func(context.Context, commands.Submission) (commands.Receipt, error)
	queue    func(context.Context, commands.Submission) func() (commands.Receipt, error)
	reads    *readmodels.Store
	views    *readmodels.Store
	verifier *identity.Verifier
	limiter  *ratelimit.Limiter
	// queries has room for those that are under way.
	queries chan struct{}
	// examining is held by who examines entities.
	examining chan struct{}
	// selections has room for those that are under way.
	selections chan struct{}
	// held is how many bytes of bodies all requests hold; OpsHandler shares it.
	held           *atomic.Int64
	health         *healthCache
	ready          func() error
	requestHashKey []byte
	hosts          hosts
	origins        []string
	version        string
	log            *slog.Logger
	probes         bool
	showMetrics    bool
	accessLevel    slog.Level
	level          *slog.LevelVar
	registry       *telemetry.Registry
	metrics        *edgeMetrics
	tracer         *telemetry.Tracer
	queryAPI       http.Handler
	operations     *Operations
	events         *Events
	clear          *Clear
	accesses       func(context.Context, string, AccessQuery) (AccessPage, readmodels.Snapshot, error)
	eventMetrics   *eventMetrics
	tickets        *identity.Tickets
	seats          *seats
	// feedPages has room for those that are in memory.
	feedPages chan struct{}
	// stopping is closed when streams are to end.
	stopping   chan struct{}
	endStreams func()
	spec       []byte
	asyncSpec  []byte
}

// New checks the options and makes the API.
func New(o Options) (*API, error) {
	if o.Verifier == nil {
		return nil, errors.New("httpapi: a verifier is needed")
	}
	if (o.Loop != nil || o.Reads != nil) && len(o.RequestHashKey) == 0 {
		return nil, errors.New("httpapi: taking commands or operations needs a key for request hashes")
	}
	a := &API{
		reads: o.Reads, views: cmp.Or(o.Views, o.Reads), examining: make(chan struct{}, 1), selections: make(chan struct{}, maxSelections), verifier: o.Verifier, limiter: o.Limiter, queries: make(chan struct{}, maxQueries), ready: o.Ready, requestHashKey: o.RequestHashKey,
		hosts: o.AllowedHosts, origins: o.CORSAllowedOrigins, version: o.Version, log: o.Log, probes: o.Probes,
		showMetrics: o.ShowMetrics, accessLevel: o.AccessLevel, level: o.LogLevel, registry: o.Metrics, tracer: o.Tracer,
		held: new(atomic.Int64), health: &healthCache{probe: o.Health}, operations: o.Operations,
		events: o.Events, clear: o.Clear, accesses: o.Accesses, seats: new(seats), feedPages: make(chan struct{}, maxPages), stopping: make(chan struct{}),
	}
	var err error
	if a.tickets, err = identity.NewTickets(o.TicketKey); err != nil {
		return nil, fmt.Errorf("httpapi: the key of tickets: %w", err)
	}
	a.endStreams = sync.OnceFunc(func() { close(a.stopping) })
	a.eventMetrics = newEventMetrics(o.Metrics, a.seats)
	if o.Reads != nil && (o.Operations == nil || o.Events == nil || o.Clear == nil || o.Accesses == nil) {
		return nil, errors.New("httpapi: answering queries needs Operations, Events, Clear and Accesses")
	}
	a.metrics = newEdgeMetrics(o.Metrics, a.routeKeys())
	if o.Loop != nil {
		a.send, a.queue = o.Loop.Submit, o.Loop.Queue
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.ready == nil {
		a.ready = func() error { return nil }
	}
	if a.health.probe == nil {
		a.health.probe = func(context.Context) Health { return Health{Status: Healthy, Database: "unknown"} }
	}
	if a.spec, err = Spec(); err != nil {
		return nil, err
	}
	if a.asyncSpec, err = AsyncSpec(o.Kinds); err != nil {
		return nil, err
	}
	target, err := url.Parse(o.QueryAPIURL)
	if err != nil || o.QueryAPIURL != "" && (target.Host == "" || target.Scheme != "http" && target.Scheme != "https") {
		return nil, errors.New("httpapi: the query API's address is not an http or https URL")
	}
	a.queryAPI = newQueryProxy(target, o.Tracer, a.stopping)
	return a, nil
}

// Handler is the front door: commands, reads or reads forwarded, health, docs.
func (a *API) Handler() http.Handler {
	return a.handler(func(k kind) bool { return (k != command || a.send != nil) && a.onMain(k) }, a.pages())
}

// QueryHandler is the query API alone: reads, health, docs.
func (a *API) QueryHandler() http.Handler {
	return a.handler(func(k kind) bool { return k != command && a.onMain(k) }, a.pages())
}

func (a *API) onMain(k kind) bool { return k != operator && (k != probe || a.probes) }

// OpsHandler is what operators and their tools ask on an address of their own. It
// answers under any host name: probes come by IP address.
func (a *API) OpsHandler() http.Handler {
	ops := *a
	ops.hosts, ops.origins = hosts{"*"}, nil
	return ops.handler(func(k kind) bool { return k == probe || k == operator && a.level != nil }, a.opsPages())
}

func (a *API) handler(has func(kind) bool, pages []page) http.Handler {
	routes := newAdapter(a.stages)
	api := newHuma(routes)
	for _, line := range a.routes() {
		if has(line.Kind) {
			line.add(api)
		}
	}
	for _, page := range pages {
		routes.handle(&route{Method: http.MethodGet, Path: page.path, Kind: static}, page.handler)
	}
	return a.front(routes)
}
