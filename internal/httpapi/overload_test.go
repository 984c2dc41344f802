package httpapi

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/hubtest"
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

// More commands than there is room for: those beyond are refused at once and have done
// nothing, those that were let in are done, and the next one finds room again.
func TestCommandsBeyondTheirRoomAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	e := newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads })
	e.defineCustomer()
	log, err := hubtest.Pool(t, s.url, "").Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Rollback(context.Background()) }()
	if _, err := log.Exec(t.Context(), `LOCK TABLE log_lock IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	const most = 8000 // twice what may wait
	answers, refused := make(chan *reply, most), make(chan struct{})
	full := sync.OnceFunc(func() { close(refused) })
	sent := 0
	for open := true; open; {
		select {
		case <-refused:
			open = false
		default:
			if sent++; sent > most {
				t.Fatal("nobody is refused")
			}
			request := e.request("POST", "/api/v1/entities", `{"type":"customer","attributes":{}}`)
			go func() {
				answer := serve(t, e.handler, request)
				if answer.Status == http.StatusServiceUnavailable {
					full()
				}
				answers <- answer
			}()
		}
	}
	if err := log.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	made := 0
	for range sent {
		switch answer := <-answers; answer.Status {
		case http.StatusCreated:
			made++
		default:
			if answer.expect(503, "overloaded"); answer.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	e.create(`{"type":"customer","attributes":{}}`)
	var recorded int
	err = hubtest.Pool(t, s.url, "").QueryRow(t.Context(), `SELECT count(*) FROM events WHERE type = 'entity.created'`).Scan(&recorded)
	if err != nil || recorded != made+1 || made == 0 || made == sent {
		t.Errorf("%d of %d were made, %d are recorded: %v", made, sent, recorded, err)
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
