package httpapi

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCanonicalPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/":                           "/",
		"/livez":                      "/livez",
		"/api/entities":               "/api/v1/entities",
		"/api/entities/":              "/api/v1/entities",
		"/api/v1/entities/":           "/api/v1/entities",
		"/api/entities/1/archive/":    "/api/v1/entities/1/archive",
		"/api/health/":                "/api/v1/health",
		"/api/docs/":                  "/api/docs",
		"/api/docs/assets/start.js":   "/api/docs/assets/start.js",
		"/api/openapi.json":           "/api/openapi.json",
		"/api/v1":                     "/api/v1",
		"/api/":                       "/api",
		"/api/v2/entities":            "/api/v1/v2/entities",
		"/api/entities//":             "/api/v1/entities/",
		"/api/v1/entities//":          "/api/v1/entities/",
		"/elsewhere/api/v1/entities/": "/elsewhere/api/v1/entities",
	} {
		if got := canonicalPath(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	uuid7 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for sent, kept := range map[string]bool{
		"web-4f1a_B.9": true, strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false, "a b": false, "ä": false, "a/b": false, "{}": false,
	} {
		got := e.call("GET", "/livez", "", "X-Request-Id", sent).Header.Get("X-Request-Id")
		if kept && got != sent || !kept && !uuid7.MatchString(got) {
			t.Errorf("%q: answered %q", sent, got)
		}
	}
	if got := e.call("GET", "/livez", "").Header.Get("X-Request-Id"); !uuid7.MatchString(got) {
		t.Errorf("without one: answered %q", got)
	}
}

func TestOtherHostsAreRefusedExceptToProbes(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	from := func(host, path string) *reply {
		r := e.request("GET", path, "")
		r.Host = host
		return serve(t, e.handler, r)
	}
	from("evil.test", "/api/v1/entities").expect(400, "host_not_allowed")
	from("evil.test", "/api/health/").expect(400, "host_not_allowed")
	from("evil.test", "/api/openapi.json").expect(400, "host_not_allowed")
	for _, path := range []string{"/livez", "/readyz"} {
		if got := from("10.0.0.7:8000", path); got.Status != 200 {
			t.Errorf("%s: status %d", path, got.Status)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for _, path := range []string{"/", "/api", "/api/v1", "/api/v1/", "/api/v2/entities", "/api/v1/entities/a/b/c", "/api/v1/entities//archive",
		"/api/v1/nothing", "/api/scheduling/", "/wp-login.php", "/api/v1/entities/../entities", "/api/docs/assets/../docs.html", "/api/docs/assets/docs.html"} {
		e.call("GET", path, "").expect(404, "not_found")
	}
	for _, test := range []struct{ method, path, allow string }{
		{"DELETE", "/api/v1/entities", "GET, HEAD, POST, OPTIONS"},
		{"POST", "/api/entities/x/", "GET, HEAD, PATCH, DELETE, OPTIONS"},
		{"GET", "/api/v1/entities/x/archive", "POST, OPTIONS"},
		{"PATCH", "/api/v1/entity-types/x", "GET, HEAD, PUT, OPTIONS"},
		{"BREW", "/api/v1/entity-types", "GET, HEAD, OPTIONS"},
		{"POST", "/api/openapi.json", "GET, HEAD, OPTIONS"},
		{"POST", "/livez", "GET, HEAD, OPTIONS"},
	} {
		answer := e.call(test.method, test.path, "")
		answer.expect(405, "method_not_allowed")
		if got := answer.Header.Get("Allow"); got != test.allow {
			t.Errorf("%s %s: Allow %q, want %q", test.method, test.path, got, test.allow)
		}
	}
	answer := e.call("OPTIONS", "/api/v1/entities", "", "Authorization", "")
	if answer.Status != 204 || answer.Header.Get("Allow") != "GET, HEAD, POST, OPTIONS" {
		t.Errorf("OPTIONS: %d, Allow %q", answer.Status, answer.Header.Get("Allow"))
	}
	e.call("OPTIONS", "/api/v1/nothing", "").expect(404, "not_found")
}

// Scripts may send every header that the description or the page of conventions names, and
// those of traces, and read every header that an answer is described with.
func TestCrossOriginHasEveryHeaderThatIsNamed(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	sent, answered := describedHeaders(t)
	sent = append(sent, "traceparent", "tracestate")
	page, err := os.ReadFile("../../docs/http.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "## Headers of requests")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	names := regexp.MustCompile("(?m)^\\| `([A-Za-z-]+)").FindAllStringSubmatch(table, -1)
	require.Greater(t, len(names), 10)
	for _, name := range names {
		sent = append(sent, name[1])
	}
	for _, name := range sent {
		preflight := e.call("OPTIONS", "/api/v1/entities", "", "Authorization", "", "Origin", "http://localhost:5173",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", name)
		assert.Equal(t, strings.ToLower(name), preflight.Header.Get("Access-Control-Allow-Headers"), "%s is refused", name)
	}
	exposed := strings.Split(strings.ToLower(e.call("GET", "/api/v1/me", "", "Origin", "http://localhost:5173").Header.Get("Access-Control-Expose-Headers")), ", ")
	for _, name := range answered {
		assert.Contains(t, exposed, strings.ToLower(name))
	}
}

// describedHeaders are those of requests and of answers in the OpenAPI document.
func describedHeaders(t *testing.T) (sent, answered []string) {
	t.Helper()
	type parameter struct{ Name, In string }
	type response struct{ Headers map[string]any }
	var document struct {
		Components struct {
			Parameters map[string]parameter
			Responses  map[string]response
		}
		Paths map[string]map[string]struct {
			Parameters []parameter
			Responses  map[string]response
		}
	}
	spec, err := Spec()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(spec, &document))
	parameters, responses := slices.Collect(maps.Values(document.Components.Parameters)), slices.Collect(maps.Values(document.Components.Responses))
	for _, operations := range document.Paths {
		for _, operation := range operations {
			parameters = append(parameters, operation.Parameters...)
			responses = slices.AppendSeq(responses, maps.Values(operation.Responses))
		}
	}
	for _, p := range parameters {
		if p.In == "header" {
			sent = append(sent, p.Name)
		}
	}
	for _, r := range responses {
		answered = slices.AppendSeq(answered, maps.Keys(r.Headers))
	}
	require.NotEmpty(t, sent)
	require.NotEmpty(t, answered)
	return sent, answered
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	const headers = "authorization,content-type,hub-epoch,hub-min-position,hub-reason,idempotency-key,if-match,if-none-match,prefer,x-request-id"
	preflight := e.call("OPTIONS", "/api/entities/", "", "Authorization", "", "Origin", "http://localhost:5173",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", headers)
	if preflight.Status != 204 || preflight.Header.Get("Access-Control-Allow-Origin") != "http://localhost:5173" ||
		preflight.Header.Get("Access-Control-Allow-Headers") != headers {
		t.Errorf("preflight: %d %v", preflight.Status, preflight.Header)
	}
	refused := e.call("OPTIONS", "/api/entities/", "", "Origin", "http://evil.test", "Access-Control-Request-Method", "POST")
	if refused.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin is allowed: %v", refused.Header)
	}
	// Errors carry the headers too, or a script could not read them.
	answer := e.call("GET", "/api/v1/nothing", "", "Origin", "http://localhost:5173")
	exposed := answer.Header.Get("Access-Control-Expose-Headers")
	for _, name := range []string{"Etag", "Location", "Hub-Position", "Hub-Epoch", "Idempotency-Replayed", "Retry-After", "Ratelimit",
		"Ratelimit-Policy", "Deprecation", "Sunset", "Www-Authenticate", "X-Request-Id"} {
		if !strings.Contains(strings.ToLower(exposed), strings.ToLower(name)) {
			t.Errorf("%s is not exposed: %s", name, exposed)
		}
	}
	none := newEdge(t, func(o *Options) { o.CORSAllowedOrigins = nil })
	if got := none.call("GET", "/livez", "", "Origin", "http://evil.test").Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("without a list %q is allowed", got)
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(o *Options) { o.AllowedHosts = []string{"*"} })
	server := httptest.NewServer(e.handler)
	t.Cleanup(server.Close)
	for _, path := range []string{"/api/health/", "/api/openapi.json", "/api/docs/", "/livez"} {
		answer, err := http.Head(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, answer.StatusCode)
		}
	}
}

func TestAPanicIsAProblem(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	broken := e.api.front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret-host") }))
	answer := serve(t, broken, e.request("GET", "/api/v1/entities", ""))
	p := answer.expect(500, "internal")
	if strings.Contains(string(answer.Body), "secret") || !strings.Contains(e.log.String(), p.RequestID) || !strings.Contains(e.log.String(), "secret-host") {
		t.Errorf("answer %s, log %s", answer.Body, e.log)
	}
	late := e.api.front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half"))
		panic("too late")
	}))
	defer func() {
		if cause, ok := recover().(error); !ok || !errors.Is(cause, http.ErrAbortHandler) {
			t.Error("an answer that has begun must be cut off")
		}
	}()
	serve(t, late, e.request("GET", "/api/v1/entities", ""))
}

func TestEveryAnswerHasSecurityHeaders(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for _, path := range []string{"/api/v1/entities", "/api/health/", "/api/docs", "/nothing"} {
		header := e.call("GET", path, "", "Authorization", "").Header
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") == "" {
			t.Errorf("%s: %v", path, header)
		}
	}
}
