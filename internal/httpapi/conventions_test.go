package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Media types are compared as RFC 9110 §8.3.1 says, and what a body may be is said once.
func TestMediaOfBodies(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for media, code := range map[string]string{
		"APPLICATION/JSON":                              "shutting_down",
		"Application/Merge-Patch+JSON":                  "shutting_down",
		`application/merge-patch+json; charset="UTF-8"`: "shutting_down",
		"application/json; profile=x":                   "shutting_down",
		"application/json-patch+json":                   "unsupported_media_type",
		"application/*":                                 "unsupported_media_type",
		"application/json, text/plain":                  "unsupported_media_type",
		"application/json; charset=utf-16":              "unsupported_media_type",
	} {
		if p := e.call("PATCH", someEntity, `{"tags":[]}`, "Content-Type", media).problem(); p.Code != code {
			t.Errorf("%s: %s, want %s", media, p.Code, code)
		}
	}
	twice := e.request("PATCH", someEntity, `{"tags":[]}`)
	twice.Header.Add("Content-Type", "text/plain")
	serve(t, e.handler, twice).expect(415, "unsupported_media_type")
}

func TestBodiesAreNotCompressed(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for _, coding := range []string{"gzip", "identity, br", "GZIP"} {
		for _, path := range []string{someEntity + "/archive", someEntity + "/restore"} {
			answer := e.call("POST", path, "\x1f\x8b\x08", "Content-Encoding", coding)
			answer.expect(415, "unsupported_content_encoding")
			if got := answer.Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("%s: Accept-Encoding %q", coding, got)
			}
		}
	}
	e.call("PATCH", someEntity, `{"tags":[]}`, "Content-Encoding", "Identity").expect(503, "shutting_down")
}

// A precondition is kept or refused, never left out.
func TestIfNoneMatchOfAWrite(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	const ghost = "/api/v1/entity-types/ghost"
	if made := e.call("PUT", ghost, `{"title":"G"}`, "If-None-Match", "*"); made.Status != 201 {
		t.Fatalf("%d %s", made.Status, made.Body)
	}
	for _, body := range []string{`{"title":"G"}`, `{"title":"Other"}`} {
		refused := e.call("PUT", ghost, body, "If-None-Match", " * ")
		refused.expect(412, "version_conflict")
		var extra struct{ Version int64 }
		if refused.json(&extra); extra.Version != 1 {
			t.Errorf("%s", refused.Body)
		}
	}
	for _, junk := range []string{`"1"`, "", `*, "1"`} {
		r := e.request("PUT", ghost, `{"title":"Other"}`)
		r.Header["If-None-Match"] = []string{junk}
		serve(t, e.handler, r).expect(400, "invalid_if_none_match")
	}
	if answer := e.call("PUT", ghost, `{"title":"G"}`, "If-Match", `"1"`); answer.Status != 200 {
		t.Errorf("something was written: %d %s", answer.Status, answer.Body)
	}
}

func TestHeadersOfFreshness(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	position := e.call("GET", "/api/v1/entities", "").Header.Get("Hub-Position")
	epoch := e.call("GET", "/api/v1/entities", "").Header.Get("Hub-Epoch")
	for _, test := range []struct {
		name  string
		lines []string
		code  string
	}{
		{"Hub-Min-Position", []string{position}, ""},
		{"Hub-Min-Position", []string{""}, "invalid_min_position"},
		{"Hub-Min-Position", []string{"+1"}, "invalid_min_position"},
		{"Hub-Min-Position", []string{"-1"}, "invalid_min_position"},
		{"Hub-Min-Position", []string{"1e2"}, "invalid_min_position"},
		{"Hub-Min-Position", []string{"1", "1"}, "invalid_min_position"},
		{"Hub-Min-Position", []string{"9223372036854775808"}, "invalid_min_position"},
		{"Hub-Epoch", []string{strings.ToUpper(epoch)}, ""},
	} {
		r := e.request("GET", "/api/v1/entities", "")
		r.Header["Hub-Min-Position"] = []string{"1"}
		r.Header[test.name] = test.lines
		answer := serve(t, e.handler, r)
		if test.code != "" {
			answer.expect(400, test.code)
		} else if answer.Status != 200 {
			t.Errorf("%s %q: %d %s", test.name, test.lines, answer.Status, answer.Body)
		}
	}
	// The last position that can be sent is only late.
	late := e.call("GET", "/api/v1/entities", "", "Hub-Min-Position", "9223372036854775807", "Prefer", "wait=0")
	late.expect(503, "projection_lagging")
	if seconds, err := strconv.Atoi(late.Header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("Retry-After %q", late.Header.Get("Retry-After"))
	}
}

// Browsers sort the names that a preflight asks for; others write them as they like.
func TestPreflightsOfOtherClients(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	preflight := func(names ...string) *reply {
		r := e.request("OPTIONS", "/api/entities/", "", "Authorization", "", "Origin", "http://localhost:5173", "Access-Control-Request-Method", "PUT")
		r.Header["Access-Control-Request-Headers"] = names
		return serve(t, e.handler, r)
	}
	for _, names := range [][]string{
		{"X-Request-Id, Authorization, Content-Type"}, {"If-Match,idempotency-key", " HUB-REASON "}, {"prefer,prefer"}, {"Last-Event-ID"},
	} {
		if got := preflight(names...).Header; got.Get("Access-Control-Allow-Origin") == "" || got.Get("Access-Control-Allow-Headers") == "" {
			t.Errorf("%q is refused: %v", names, got)
		}
	}
	for _, names := range []string{"x-evil", "Authorization, X-Evil"} {
		if got := preflight(names).Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%q is let through", names)
		}
	}
}

func TestVaryKeepsAllItsReasons(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	for _, path := range []string{"/api/v1/me", "/api/v1/entities", "/api/v1/organization"} {
		got := strings.Join(e.call("GET", path, "").Header.Values("Vary"), ", ")
		if !strings.Contains(got, "Origin") || !strings.Contains(got, "Authorization") {
			t.Errorf("%s: Vary %q", path, got)
		}
	}
}

func TestPathsAreTakenApartOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	for _, path := range []string{
		"/api/v1%2Fentities", "/api/v1/entities%2f" + someID, someEntity + "%2Farchive", "/api/v1/entity-types/a%2Fb",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			e.call(method, path, "").expect(404, "not_found")
		}
	}
	if answer := e.call("GET", "/api/v1/%6De", ""); answer.Status != 200 {
		t.Errorf("an encoded letter is the letter: %d %s", answer.Status, answer.Body)
	}
	probe := e.request("GET", "/livez/", "")
	probe.Host = "10.0.0.7"
	if answer := serve(t, e.handler, probe); answer.Status != 200 {
		t.Errorf("a probe with a slash at its end: %d %s", answer.Status, answer.Body)
	}
}

func TestAComparisonNamesItsOperator(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	for _, filter := range []string{"attr.city[]=Paris", "created_at[]=2026-01-01", "attr.city[like]=P", "attr.city[gte=30", "attr.city[gte]x=30", "created_at[gte=2026"} {
		e.call("GET", "/api/v1/entities?"+filter, "").expect(422, "invalid_filter")
	}
	if answer := e.call("GET", "/api/v1/entities?attr.city[][eq]=Paris", ""); answer.Status != 200 {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
}
