package httpapi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]int{Healthy: 200, Degraded: 200, Unhealthy: 503} {
		e := newEdge(t, func(o *Options) {
			o.Health = func(context.Context) Health {
				return Health{Status: status, Database: "connected", Components: map[string]Component{"nats": {Status: Healthy}}}
			}
		})
		for _, path := range []string{"/api/health/", "/api/health", "/api/v1/health"} {
			answer := e.call("GET", path, "", "Authorization", "")
			var got Health
			answer.json(&got)
			if answer.Status != want || got.Status != status || got.Service != "backend" || got.Version != "test" || got.Timestamp.IsZero() ||
				got.Features == nil || got.Components["nats"].Status != Healthy {
				t.Errorf("%s %s: %d %s", status, path, answer.Status, answer.Body)
			}
		}
	}
}

func TestDependenciesAreProbedSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		probed, status := 0, Healthy
		cache := &healthCache{probe: func(context.Context) Health { probed++; return Health{Status: status} }}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			cache.report(ended)
		}
		if probed != 1 {
			t.Errorf("probed %d times at once", probed)
		}
		<-time.After(healthAge)
		status = Unhealthy
		cache.report(t.Context())
		<-time.After(unhealthyAge)
		status = Healthy
		if got := cache.report(t.Context()).Status; got != Healthy || probed != 3 {
			t.Errorf("%s after %d probes", got, probed)
		}
	})
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(o *Options) { o.Ready = func() error { return errors.New("secret-host is down") } })
	answer := e.call("GET", "/readyz", "", "Authorization", "")
	answer.expect(503, "not_ready")
	if strings.Contains(string(answer.Body), "secret") || !strings.Contains(e.log.String(), "secret-host") {
		t.Errorf("answer %s, log %s", answer.Body, e.log)
	}
	if got := e.call("GET", "/livez", "", "Authorization", ""); got.Status != 200 {
		t.Errorf("livez: %d", got.Status)
	}
	without := newEdge(t, func(o *Options) { o.Probes = false })
	without.call("GET", "/livez", "").expect(404, "not_found")
}
