package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// leaving is a route that is to go.
func leaving(d *deprecation) *route {
	return &route{
		Method: http.MethodGet, Path: "/api/v1/leaving", ID: "getLeaving", Kind: personal, Status: http.StatusOK,
		Tag: "Organization", Summary: "A route that goes", Description: "It goes.", Deprecated: d,
		register: handle(func(context.Context, *struct{}) (*struct{ Body Me }, error) { return &struct{ Body Me }{}, nil }),
	}
}

// Whoever calls a route that is to go is told so with every answer, refusals included, and
// is counted; other routes say nothing.
func TestCallersOfARouteThatGoesAreTold(t *testing.T) {
	t.Parallel()
	issuer, registry, log := newIssuer(t), telemetry.New("test"), &logged{}
	a, err := New(Options{Verifier: issuer.verifier, TicketKey: make([]byte, 32), AllowedHosts: []string{"*"}, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	require.NoError(t, err)
	line := leaving(&deprecation{
		Since: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), Sunset: time.Date(2027, 5, 25, 12, 0, 0, 0, time.UTC), Link: "https://docs.example/leaving",
	})
	a.metrics = newEdgeMetrics(registry, []routeKey{{line.Method, line.Path}, {http.MethodGet, basePath + "/me"}})
	adapter := newAdapter(a.stages)
	api := newHuma(adapter)
	line.add(api)
	for _, other := range a.routes() {
		if other.ID == "getMe" {
			other.add(api)
		}
	}
	handler := a.front(adapter)
	ask := func(path, token string) *http.Response {
		recorder := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		handler.ServeHTTP(recorder, r)
		return recorder.Result()
	}
	token := issuer.token(t, "viewer")
	for status, with := range map[int]string{http.StatusOK: token, http.StatusUnauthorized: ""} {
		answer := ask("/api/v1/leaving", with)
		assert.Equal(t, status, answer.StatusCode)
		assert.Equal(t, "@1795564800", answer.Header.Get("Deprecation"), "RFC 9745")
		assert.Equal(t, "Tue, 25 May 2027 12:00:00 GMT", answer.Header.Get("Sunset"), "RFC 8594")
		assert.Equal(t, `<https://docs.example/leaving>; rel="deprecation"`, answer.Header.Get("Link"))
	}
	other := ask("/api/v1/me", token)
	assert.Equal(t, http.StatusOK, other.StatusCode)
	for _, name := range []string{"Deprecation", "Sunset", "Link"} {
		assert.Empty(t, other.Header.Get(name))
	}
	recorder := httptest.NewRecorder()
	registry.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Contains(t, recorder.Body.String(), `hub_http_deprecated_requests_total{route="GET /api/v1/leaving"} 2`)
	assert.Contains(t, log.String(), "org=acme")
	assert.Regexp(t, `route=/api/v1/leaving.*deprecated=true`, log.String())
	assert.NotRegexp(t, `route=/api/v1/me .*deprecated`, log.String())

	described, err := json.Marshal(api.OpenAPI().Paths["/api/v1/leaving"].Get)
	require.NoError(t, err)
	assert.Contains(t, string(described), `"deprecated":true`)
	assert.Contains(t, string(described), `"x-sunset":"2027-05-25"`)
	assert.Contains(t, string(described), "It goes. Deprecated since 2026-11-25: see https://docs.example/leaving. Gone after 2027-05-25.")
}

func TestADeprecationThatSaysNothingIsAMistake(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, d := range []*deprecation{{}, {Since: now}, {Link: "/x"}, {Since: now, Link: "/x", Sunset: now.Add(-time.Hour)}} {
		assert.Panics(t, func() { leaving(d).add(newHuma(describing{})) })
	}
	assert.NotPanics(t, func() { leaving(&deprecation{Since: now, Link: "/x"}).add(newHuma(describing{})) })
}
