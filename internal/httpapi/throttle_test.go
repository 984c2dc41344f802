package httpapi

import (
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/ratelimit"
)

func TestRequestsAreLimitedByCaller(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	limiter, err := ratelimit.New(ratelimit.Options{PerMinute: 3, Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, func(o *Options) { o.Limiter = limiter })
	for _, want := range []string{`"default";r=2;t=20`, `"default";r=1;t=40`, `"default";r=0;t=60`} {
		answer := e.call("GET", "/api/v1/me", "")
		if answer.Status != 200 || answer.Header.Get("RateLimit") != want || answer.Header.Get("RateLimit-Policy") != `"default";q=3;w=60` {
			t.Errorf("%d %v, want %s", answer.Status, answer.Header, want)
		}
	}
	// Whatever is asked for, and before it is looked at.
	refused := e.call("POST", "/api/v1/entities", "{", "Origin", "http://localhost:5173")
	refused.expect(429, "rate_limited")
	if refused.Header.Get("Retry-After") != "20" || refused.Header.Get("RateLimit") != `"default";r=0;t=60` || refused.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("%v", refused.Header)
	}
	for _, request := range []identity.TokenRequest{{Sub: "ben", Org: "acme"}, {Sub: "ana", Org: "other"}} {
		if other := e.call("GET", "/api/v1/me", "", "Authorization", "Bearer "+e.issuer.tokenOf(t, request)); other.Status != 200 {
			t.Errorf("%+v: %d", request, other.Status)
		}
	}
	for path, want := range map[string]int{"/api/health/": 200, "/livez": 200, "/api/openapi.json": 200, "/api/v1/nothing": 404} {
		if answer := e.call("GET", path, ""); answer.Status != want || answer.Header.Get("RateLimit") != "" {
			t.Errorf("%s: %d %v", path, answer.Status, answer.Header)
		}
	}
	e.call("GET", "/api/v1/me", "", "Authorization", "").expect(401, "missing_token")
	at = at.Add(20 * time.Second)
	if later := e.call("GET", "/api/v1/me", ""); later.Status != 200 {
		t.Errorf("later: %d", later.Status)
	}
}
