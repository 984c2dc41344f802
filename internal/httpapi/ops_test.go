package httpapi

import (
	"log/slog"
	"strings"
	"testing"
)

// ops is a request to the address for operators, under a host name that no list has.
func (e *edge) ops(method, path, body string) *reply {
	e.t.Helper()
	r := e.request(method, path, body, "Authorization", "")
	r.Host = "10.1.2.3:9000"
	return serve(e.t, e.api.OpsHandler(), r)
}

func TestRequestsAreCountedByRouteAndClass(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	e.call("GET", "/api/health/", "")
	e.call("GET", "/api/v1/entities/0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", "", "Authorization", "")
	e.call("GET", "/api/v1/canary-4711", "")
	e.call("CANARY", "/api/v1/entities", "")
	e.call("GET", "/api/docs/assets/start.js", "")

	text := string(e.ops("GET", "/metrics", "").Body)
	for _, line := range []string{
		`hub_http_requests_total{route="GET /api/v1/health",status="2xx"} 1`,
		`hub_http_requests_total{route="GET /api/v1/entities/{id}",status="4xx"} 1`,
		`hub_http_requests_total{route="none",status="4xx"} 2`,
		`hub_http_requests_total{route="GET /api/docs/assets/{name}",status="2xx"} 1`,
		`hub_http_request_duration_seconds_count{route="GET /api/v1/health"} 1`,
		"hub_http_requests_in_flight 1", // this one
		"go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%s is missing", line)
		}
	}
	if strings.Contains(strings.ToLower(text), "canary") || strings.Contains(text, "0197a3a2") {
		t.Error("what callers send has become a label")
	}
}

func TestWhatIsForOperatorsIsNotOnTheMainAddress(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for _, path := range []string{"/metrics", "/log-level", "/debug/pprof/", "/debug/pprof/heap"} {
		e.call("GET", path, "").expect(404, "not_found")
		if got := e.ops("GET", path, ""); got.Status != 200 || len(got.Body) == 0 {
			t.Errorf("%s on the address for operators: %d", path, got.Status)
		}
	}
	e.ops("GET", "/api/v1/entities", "").expect(404, "not_found")
	shown := newEdge(t, func(o *Options) { o.ShowMetrics = true })
	if got := shown.call("GET", "/metrics", "", "Authorization", ""); got.Status != 200 || !strings.Contains(string(got.Body), "hub_build_info") {
		t.Errorf("with ShowMetrics: %d %s", got.Status, got.Body)
	}
}

func TestTheLogLevelChangesWhileTheProcessRuns(t *testing.T) {
	t.Parallel()
	level := new(slog.LevelVar)
	e := newEdge(t, func(o *Options) { o.LogLevel = level })
	if got := e.ops("GET", "/log-level", ""); !strings.Contains(string(got.Body), `"info"`) {
		t.Errorf("at first: %s", got.Body)
	}
	if got := e.ops("PUT", "/log-level", `{"level":"debug"}`); got.Status != 200 || level.Level() != slog.LevelDebug {
		t.Errorf("%d %s, level %s", got.Status, got.Body, level.Level())
	}
	e.ops("PUT", "/log-level", `{"level":"loud"}`).expect(422, "invalid_request")
	e.ops("PUT", "/log-level", `{"level":`).expect(400, "invalid_json")
	e.ops("PUT", "/log-level", `{"level":"info","canary":1}`).expect(422, "unknown_field")
	if level.Level() != slog.LevelDebug {
		t.Errorf("a refused request has changed the level to %s", level.Level())
	}
}
