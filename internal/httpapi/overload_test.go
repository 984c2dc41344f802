package httpapi

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/readmodels"
)

// While all room is taken a read is refused at once; a place that is given back serves
// the next one.
func TestReadsBeyondTheirRoomAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	e.api.queries = make(chan struct{}, 2)
	hold, entered := make(chan struct{}), make(chan struct{})
	read := func(run func()) *reply {
		handler := e.api.front(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _, err := observe(r.Context(), e.api, func(context.Context) (int, readmodels.Snapshot, error) {
				run()
				return 0, readmodels.Snapshot{}, nil
			})
			if err != nil {
				exchangeOf(r.Context()).fail(err)
			}
		}))
		return serve(t, handler, e.request("GET", "/api/v1/entities", ""))
	}
	var accepted sync.WaitGroup
	for range 2 {
		accepted.Go(func() {
			if got := read(func() { entered <- struct{}{}; <-hold }); got.Status != 200 {
				t.Errorf("accepted work ended with %d", got.Status)
			}
		})
		<-entered
	}
	refused := read(func() { t.Error("it was let in") })
	refused.expect(503, "too_many_reads")
	if refused.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(hold)
	accepted.Wait()
	if got := read(func() {}); got.Status != 200 {
		t.Errorf("afterwards: %d", got.Status)
	}
}

// RFC 9470: who is allowed, but not surely the one, is told what login is needed.
func TestStepUp(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	line := &route{Method: http.MethodGet, Path: "/api/v1/me", Kind: personal, MFA: true}
	handler := e.api.front(e.api.stages(line, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	call := func(mfa bool) *reply {
		token := e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "acme", MFA: mfa})
		return serve(t, handler, e.request("GET", line.Path, "", "Authorization", "Bearer "+token))
	}
	weak := call(false)
	weak.expect(401, "insufficient_user_authentication")
	const want = `Bearer realm="hub-backend", error="insufficient_user_authentication", error_description="A second factor is needed.", acr_values="mfa", max_age="3600"`
	if got := weak.Header.Get("WWW-Authenticate"); got != want {
		t.Errorf("%s", got)
	}
	if strong := call(true); strong.Status != 204 {
		t.Errorf("%d %s", strong.Status, strong.Body)
	}
}

// A second factor counts for an hour after it was shown, however long the token lives.
func TestASecondFactorGetsOld(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]bool{
		0: true, time.Hour: true, time.Hour + time.Second: false, 24 * time.Hour: false,
		-time.Minute: true, // its clock is ahead of ours
	} {
		if got := strong(identity.Caller{MFA: true, LoggedIn: now.Add(-ago)}, now); got != want {
			t.Errorf("%s ago: %v", ago, got)
		}
	}
	if strong(identity.Caller{LoggedIn: now}, now) {
		t.Error("there was no second factor")
	}
}
