package httpapi

import (
	"cmp"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// edgeMetrics are the four golden signals of the edge: requests and errors by route and
// class of status, how long they took, and how many are under way.
type edgeMetrics struct {
	inFlight *telemetry.Gauge
	// connections are those that are open, room those that may be, and refused those there
	// was no room for.
	connections, room *telemetry.Gauge
	refused           *telemetry.Counter
	routes            map[routeKey]*routeMetrics
	// none is for what no route was found for, or was refused before that.
	none *routeMetrics
	// deprecated counts, by route, requests for what is to go.
	deprecated *telemetry.Counters
}

// routeKey is what is measured as one: never the path itself, which callers make up.
type routeKey struct{ method, path string }

func (k routeKey) String() string { return k.method + " " + k.path }

// routeMetrics are those of one route, found once.
type routeMetrics struct {
	// classes count requests by the first digit of the status; 0 is an answer cut off.
	classes  [6]*telemetry.Counter
	duration *telemetry.Histogram
}

// classNames are the values of the label "status".
var classNames = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// noRoute is the label of requests that match nothing.
const noRoute = "none"

func newEdgeMetrics(registry *telemetry.Registry, keys []routeKey) *edgeMetrics {
	names := []string{noRoute}
	for _, key := range keys {
		names = append(names, key.String())
	}
	route := telemetry.Label{Name: "route", Values: names}
	requests := registry.Counters("hub_http_requests_total", "Requests answered.", route, telemetry.Label{Name: "status", Values: classNames[:]})
	durations := registry.Histograms("hub_http_request_duration_seconds", "Time from the request's header to the end of the answer.", telemetry.Seconds(), route)
	measure := func(name string) *routeMetrics {
		m := &routeMetrics{duration: durations.With(name)}
		for class, className := range classNames {
			m.classes[class] = requests.With(name, className)
		}
		return m
	}
	m := &edgeMetrics{
		deprecated:  registry.Counters("hub_http_deprecated_requests_total", "Requests for routes that are to go; the access log says whose.", route),
		inFlight:    registry.Gauge("hub_http_requests_in_flight", "Requests that are being answered."),
		connections: registry.Gauge("hub_http_connections", "Connections that are open."),
		room:        registry.Gauge("hub_http_connections_limit", "Connections that may be open, at all addresses together."),
		refused:     registry.Counter("hub_http_connections_refused_total", "Connections refused because too many were open."),
		routes:      map[routeKey]*routeMetrics{}, none: measure(noRoute),
	}
	for _, key := range keys {
		m.routes[key] = measure(key.String())
	}
	return m
}

// routeKeys are all routes and pages, whichever of them a process has.
func (a *API) routeKeys() []routeKey {
	var keys []routeKey
	for _, line := range a.routes() {
		keys = append(keys, routeKey{line.Method, line.Path})
	}
	for _, page := range append(a.pages(), a.opsPages()...) {
		keys = append(keys, routeKey{http.MethodGet, page.path})
	}
	return keys
}

// begin counts a request in; what it returns counts it out, unless that was when a stream
// began, and writes its line of the access log.
func (a *API) begin(e *exchange) (end func()) {
	m, started := a.metrics, time.Now()
	m.inFlight.Add(1)
	e.settle = sync.OnceFunc(func() {
		m.inFlight.Add(-1)
		of := m.none
		if e.route != nil {
			of = m.routes[routeKey{e.route.Method, e.route.Path}]
		}
		class := e.status / 100
		if class < 0 || class >= len(of.classes) {
			class = 0
		}
		of.classes[class].Inc()
		of.duration.Observe(time.Since(started).Seconds())
		e.endSpan()
	})
	return func() {
		e.settle()
		a.held.Add(-e.held)
		if e.slow {
			a.eventMetrics.ended[endSlow].Inc()
		}
		e.logAccess(a.accessLevel, started)
	}
}

// logAccess writes one line: what was asked for by its route, never by what the caller
// sent. Probes and pages come all the time and are for debugging.
func (e *exchange) logAccess(level slog.Level, started time.Time) {
	if e.route != nil && e.route.Kind != command && e.route.Kind != query && e.route.Kind != feed {
		level = slog.LevelDebug
	}
	ctx := e.request.Context()
	if !e.log.Enabled(ctx, level) {
		return
	}
	line := []slog.Attr{
		slog.String("request_id", e.requestID), slog.String("method", method(e.request.Method)),
		slog.String("route", e.pattern()), slog.Int("status", e.status), slog.String("org", e.caller.Org),
		slog.Float64("ms", float64(time.Since(started).Microseconds())/1000),
	}
	if e.route != nil && e.route.Deprecated != nil {
		line = append(line, slog.Bool("deprecated", true))
	}
	if e.correlationID != e.requestID {
		line = append(line, slog.String("trace_id", e.correlationID))
	}
	e.log.LogAttrs(ctx, level, "request", line...)
}

// endSpan says what the access log says.
func (e *exchange) endSpan() {
	if !e.span.Recorded() {
		return
	}
	verb := method(e.request.Method)
	e.span.Rename(verb + " " + e.pattern())
	e.span.Text("http.request.method", verb)
	e.span.Text("http.route", e.pattern())
	e.span.Number("http.response.status_code", int64(e.status))
	e.span.Text("hub.request_id", e.requestID)
	e.span.Text("hub.org", e.caller.Org)
	switch {
	case e.status == 0:
		e.span.Fail("cut_off")
	case e.status >= http.StatusInternalServerError:
		e.span.Fail(cmp.Or(e.problem, "forwarded"))
	case e.problem != "":
		e.span.Text("hub.problem", e.problem)
	}
	e.span.End()
}

// method is a method that exists; callers can send any word for one.
func method(sent string) string {
	switch sent {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return sent
	}
	return "other"
}

// isProbe tells what is asked for by IP address, whatever the allowed hosts.
func isProbe(path string) bool { return path == livePath || path == readyPath || path == metricsPath }
