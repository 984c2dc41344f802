package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/telemetry"
	"github.com/reactdjango-hub/backend/readmodels"
)

// issuer is a development issuer with a verifier of its tokens.
type issuer struct {
	url      string
	verifier *identity.Verifier
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String()
	dev, err := identity.NewDevIssuer(t.TempDir(), url)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = dev.Handler(nil)
	server.Start()
	t.Cleanup(server.Close)
	return &issuer{url: url, verifier: identity.NewVerifier(identity.Options{URL: url, Audience: "hub-backend", Development: true})}
}

// token is an access token of ana of acme with these roles.
func (i *issuer) token(t testing.TB, roles ...string) string {
	t.Helper()
	return i.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: roles})
}

func (i *issuer) tokenOf(t testing.TB, request identity.TokenRequest) string {
	t.Helper()
	token, err := identity.RequestToken(t.Context(), i.url, request)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// stoppedLoop refuses every command with shutting_down: it stands where a test is
// only about what happens before the loop.
func stoppedLoop(t testing.TB) *commands.Loop {
	t.Helper()
	loop := commands.New(commands.Options{Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	loop.Run(ctx)
	return loop
}

// noClear opens nothing: it stands where a test has nothing that is sealed.
func noClear() *Clear {
	away := errors.New("nothing is sealed in this test")
	return &Clear{
		Open: func(context.Context, string, []domain.Sealed) ([]json.RawMessage, error) { return nil, away },
		Hasher: func(context.Context, string) (func(...string) []byte, error) {
			return func(...string) []byte { return nil }, nil
		},
		Record: func(context.Context, string, domain.Actor, string, []Seen) error { return away },
	}
}

func noAccesses(context.Context, string, AccessQuery) (AccessPage, readmodels.Snapshot, error) {
	return AccessPage{Items: []RecordedAccess{}}, readmodels.Snapshot{}, nil
}

// edge is an API under test, without a database.
type edge struct {
	t       testing.TB
	api     *API
	issuer  *issuer
	handler http.Handler
	admin   string
	log     *logged
}

func newEdge(t testing.TB, change func(*Options)) *edge {
	t.Helper()
	e := &edge{t: t, issuer: newIssuer(t), log: &logged{}}
	o := Options{
		Loop: stoppedLoop(t), Reads: new(readmodels.Store), Operations: new(Operations), Events: new(Events), Clear: noClear(), Accesses: noAccesses, Verifier: e.issuer.verifier, RequestHashKey: []byte("key"), TicketKey: make([]byte, 32), AllowedHosts: []string{"hub.test"},
		CORSAllowedOrigins: []string{"http://localhost:5173"}, Version: "test", Probes: true,
		Log: slog.New(slog.NewTextHandler(e.log, nil)), LogLevel: new(slog.LevelVar), Metrics: telemetry.New("test"),
	}
	if change != nil {
		change(&o)
	}
	var err error
	if e.api, err = New(o); err != nil {
		t.Fatal(err)
	}
	e.handler = e.api.Handler()
	e.admin = e.issuer.token(t, "admin")
	return e
}

// logged collects what is logged.
type logged struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// reply is an answer, read to its end.
type reply struct {
	t      testing.TB
	Status int
	Header http.Header
	Body   []byte
}

// call sends a request as admin; headers are name, value, name, value, and an
// empty value takes a header away.
func (e *edge) call(method, target, body string, headers ...string) *reply {
	e.t.Helper()
	return serve(e.t, e.handler, e.request(method, target, body, headers...))
}

func (e *edge) request(method, target, body string, headers ...string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	r.Host = "hub.test"
	r.Header.Set("Authorization", "Bearer "+e.admin)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	setHeaders(r.Header, headers)
	return r
}

func setHeaders(to http.Header, headers []string) {
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			to.Del(headers[i])
			continue
		}
		to.Set(headers[i], headers[i+1])
	}
}

func serve(t testing.TB, handler http.Handler, r *http.Request) *reply {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	result := recorder.Result()
	body, err := io.ReadAll(result.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &reply{t: t, Status: result.StatusCode, Header: result.Header, Body: body}
}

// problem reads a problem answer and checks what all of them have in common.
func (r *reply) problem() Problem {
	r.t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		r.t.Fatalf("status %d, content type %q, want a problem: %s", r.Status, got, r.Body)
	}
	var p Problem
	decoder := json.NewDecoder(bytes.NewReader(r.Body))
	if err := decoder.Decode(&p); err != nil {
		r.t.Fatalf("%v in %s", err, r.Body)
	}
	if p.Status != r.Status || p.Code == "" || p.Title == "" || p.Detail == "" || p.Type != problemType+p.Code {
		r.t.Errorf("incomplete problem: %s", r.Body)
	}
	if p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-Id") {
		r.t.Errorf("request id %q in the body, %q in the header", p.RequestID, r.Header.Get("X-Request-Id"))
	}
	if !catalogued(p.Code) {
		r.t.Errorf("code %q is not in the catalogue", p.Code)
	}
	return p
}

// expect checks status and code of a problem and returns it.
func (r *reply) expect(status int, code string) Problem {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("status %d, want %d %s: %s", r.Status, status, code, r.Body)
	}
	p := r.problem()
	if p.Code != code {
		r.t.Fatalf("code %s, want %s: %s", p.Code, code, r.Body)
	}
	return p
}

func (r *reply) json(into any) {
	r.t.Helper()
	if err := json.Unmarshal(r.Body, into); err != nil {
		r.t.Fatalf("status %d: %v in %s", r.Status, err, r.Body)
	}
}

func catalogued(code string) bool {
	for _, entry := range catalogue {
		if entry.code == code {
			return true
		}
	}
	return false
}
