package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestReadsAreForwardedAsTheyCame(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		for name, value := range map[string]string{
			"X-Request-Id": r.Header.Get("X-Request-Id"), "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cache-Control": "private, no-cache", "Hub-Position": "7", "ETag": `"3"`, "Content-Type": "application/json",
		} {
			w.Header().Set(name, value)
		}
		_, _ = w.Write([]byte(`{"items":[]}`))
	}))
	t.Cleanup(upstream.Close)
	e := newEdge(t, func(o *Options) { o.Reads, o.QueryAPIURL = nil, upstream.URL })
	answer := e.call("GET", "/api/entities/?attr.city=Paris%20X&limit=3", "", "Origin", "http://localhost:5173",
		"X-Request-Id", "web-1", "Hub-Min-Position", "7", "If-None-Match", `"2"`)
	if answer.Status != 200 || string(answer.Body) != `{"items":[]}` {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	if seen.Host != "hub.test" || seen.URL.String() != "/api/v1/entities?attr.city=Paris%20X&limit=3" || seen.Header.Get("Authorization") != "Bearer "+e.admin ||
		seen.Header.Get("X-Request-Id") != "web-1" || seen.Header.Get("Hub-Min-Position") != "7" || seen.Header.Get("If-None-Match") != `"2"` || seen.Header.Get("Origin") != "" {
		t.Errorf("forwarded: %s %s %v", seen.Host, seen.URL, seen.Header)
	}
	for _, name := range []string{"X-Request-Id", "X-Content-Type-Options", "Cache-Control", "Access-Control-Allow-Origin", "Etag", "Hub-Position"} {
		if got := answer.Header.Values(name); len(got) != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
	if answer.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("Cache-Control %q", answer.Header.Get("Cache-Control"))
	}
	for _, query := range []string{"type=person;key=x", "%zz=1", "a=%ff&limit=3", "limit=1&limit=2"} { // to be refused there
		if e.call("GET", "/api/v1/entities?"+query, ""); seen.URL.RawQuery != query {
			t.Errorf("%q is forwarded as %q", query, seen.URL.RawQuery)
		}
	}
	// Commands stay here.
	e.call("POST", "/api/v1/entities", `{"type":"t","attributes":{}}`).expect(503, "shutting_down")
}

func TestAQueryAPIThatIsDown(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, url := range []string{gone.URL, ""} {
		e := newEdge(t, func(o *Options) { o.Reads, o.QueryAPIURL = nil, url })
		answer := e.call("GET", "/api/v1/entities", "")
		answer.expect(503, "query_api_unavailable")
		if answer.Header.Get("Retry-After") == "" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", answer.Header)
		}
	}
	for _, url := range []string{"query-api:8010", "ftp://x", "http://", "://"} {
		if _, err := New(Options{Verifier: newIssuer(t).verifier, QueryAPIURL: url}); err == nil {
			t.Errorf("%q is taken for a URL", url)
		}
	}
}

func TestTheQueryAPITakesNoCommands(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	handler := e.api.QueryHandler()
	for _, target := range []struct{ method, path string }{{"POST", "/api/v1/entities"}, {"DELETE", someEntity}, {"PUT", "/api/v1/entity-types/t"}} {
		serve(t, handler, e.request(target.method, target.path, "{}")).expect(405, "method_not_allowed")
	}
	serve(t, handler, e.request("POST", someEntity+"/archive", "")).expect(404, "not_found")
	if got := serve(t, handler, e.request("GET", "/api/openapi.json", "")); got.Status != 200 {
		t.Errorf("openapi.json: %d", got.Status)
	}
}
