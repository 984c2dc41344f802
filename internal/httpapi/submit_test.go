package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// answering is an edge whose commands get this outcome; it keeps the last one.
func answering(t testing.TB, receipt commands.Receipt, err error) (*edge, *commands.Submission) {
	t.Helper()
	e := newEdge(t, nil)
	last := &commands.Submission{}
	e.api.send = func(_ context.Context, s commands.Submission) (commands.Receipt, error) {
		*last = s
		return receipt, err
	}
	e.handler = e.api.Handler()
	return e, last
}

func TestWhatACommandKnowsOfItsRequest(t *testing.T) {
	t.Parallel()
	e, last := answering(t, commands.Receipt{ID: "x", Version: 3, Position: 9}, nil)
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "acme", Person: "p-1", Roles: []string{"editor"}})
	e.call("PATCH", someEntity, `{"tags":["a"]}`, "If-Match", `"2"`, "Hub-Reason", "Grüße", "X-Request-Id", "web-1", "Idempotency-Key", "k")
	meta := last.Meta
	if meta.Org != "acme" || meta.Actor != (domain.Actor{Sub: "ana", Person: "p-1"}) || meta.IfMatch == nil || *meta.IfMatch != 2 ||
		meta.Reason != "Grüße" || meta.RequestID != "web-1" || meta.CorrelationID != "web-1" || last.IdempotencyKey != "k" || len(last.RequestHash) != 32 {
		t.Errorf("%+v", last)
	}
	if patch, ok := last.Decider.(entities.PatchEntity); !ok || string(patch.Patch) != `{"tags":["a"]}` {
		t.Errorf("decider %+v", last.Decider)
	}
	e.call("DELETE", someEntity, "")
	if last.Meta.IfMatch != nil || last.IdempotencyKey != "" || last.RequestHash != nil {
		t.Errorf("%+v", last)
	}
}

func TestNumbersReachTheDomainAsWritten(t *testing.T) {
	t.Parallel()
	e, last := answering(t, commands.Receipt{ID: "x", Version: 1, Created: true}, nil)
	e.call("POST", "/api/v1/entities", `{"type":"t","attributes":{"a":1.10,"b":12345678901234567890,"c":1E2}}`)
	made := last.Decider.(entities.CreateEntity)
	if string(made.Attributes["a"]) != "1.10" || string(made.Attributes["b"]) != "12345678901234567890" || string(made.Attributes["c"]) != "1E2" {
		t.Errorf("%s", made.Attributes)
	}
	if made.ID.Version() != 7 {
		t.Errorf("id %s", made.ID)
	}
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	events := []commands.ReceiptEvent{{Type: "entity.created", Position: 41}, {Type: "entity.updated", Position: 42}}
	e, _ := answering(t, commands.Receipt{ID: "id-1", Version: 2, Position: 42, Events: events, Created: true, Replayed: true}, nil)
	answer := e.call("POST", "/api/v1/entities", `{"type":"t","attributes":{}}`)
	const body = `{"id":"id-1","version":2,"position":42,"events":[{"type":"entity.created","position":41},{"type":"entity.updated","position":42}]}`
	if answer.Status != 201 || strings.TrimSpace(string(answer.Body)) != body {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	for name, want := range map[string]string{
		"Location": "/api/v1/entities/id-1", "ETag": `"2"`, "Hub-Position": "42", "Idempotency-Replayed": "true",
		"Cache-Control": "no-store", "Content-Type": "application/json",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	e, _ = answering(t, commands.Receipt{ID: "t", Version: 1, Position: 7}, nil)
	noop := e.call("PUT", "/api/v1/entity-types/t", `{"title":"T"}`)
	if noop.Status != 200 || noop.Header.Get("Location") != "" || noop.Header.Get("Idempotency-Replayed") != "" ||
		!strings.Contains(string(noop.Body), `"events":[]`) || noop.Header.Get("Hub-Position") != "7" {
		t.Errorf("%d %v %s", noop.Status, noop.Header, noop.Body)
	}
	e, _ = answering(t, commands.Receipt{ID: "t", Version: 1, Position: 7, Created: true}, nil)
	made := e.call("PUT", "/api/v1/entity-types/t", `{"title":"T"}`)
	if made.Status != 201 || made.Header.Get("Location") != "/api/v1/entity-types/t" {
		t.Errorf("%d %v", made.Status, made.Header)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	e, _ := answering(t, commands.Receipt{Replayed: true}, problem.StaleVersion(5))
	answer := e.call("DELETE", someEntity, "", "If-Match", `"4"`)
	answer.expect(412, "version_conflict")
	var body struct{ Version int64 }
	answer.json(&body)
	if body.Version != 5 || answer.Header.Get("Idempotency-Replayed") != "true" || answer.Header.Get("ETag") != "" {
		t.Errorf("%v %s", answer.Header, answer.Body)
	}
}

// huma's reading of Accept panics on some; by then the command is done.
func TestAnyAcceptIsAnswered(t *testing.T) {
	t.Parallel()
	e, _ := answering(t, commands.Receipt{ID: "id-1", Version: 1, Created: true}, nil)
	for _, accept := range []string{"n;W ", "*/*;q=", "text/html", ";", ",", "application/json;q=0", "a;q=1 "} {
		answer := e.call("POST", "/api/v1/entities", `{"type":"t","attributes":{}}`, "Accept", accept)
		if answer.Status != 201 || answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%q: %d %s", accept, answer.Status, answer.Body)
		}
	}
}

func TestIfMatchAnyAsksForSomethingThatExists(t *testing.T) {
	t.Parallel()
	e, last := answering(t, commands.Receipt{ID: "t", Version: 1}, nil)
	e.call("PUT", "/api/v1/entity-types/t", `{}`, "If-Match", "*")
	for created, code := range map[bool]string{true: "version_conflict", false: ""} {
		decider := last.Decider.(conditional)
		decider.Decider = decides(domain.Decision{Created: created})
		_, err := decider.Decide(nil, domain.Meta{})
		if p := problem.Of(err); (p == nil) != (code == "") || p != nil && (p.Code != code || p.Kind != problem.Stale) {
			t.Errorf("created %v: %v", created, err)
		}
	}
	if last.Meta.IfMatch != nil {
		t.Errorf("version %d", *last.Meta.IfMatch)
	}
}

// decides is a decider with one decision.
type decides domain.Decision

func (decides) Boundaries(domain.Reader) []domain.Tag { return nil }
func (d decides) Decide(domain.Reader, domain.Meta) (domain.Decision, error) {
	return domain.Decision(d), nil
}

// A command may take longer than a client may take to send it.
func TestTheReadDeadlineEndsWithTheBody(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(o *Options) { o.AllowedHosts = []string{"*"} })
	passed := make(chan error, 1)
	e.api.send = func(ctx context.Context, _ commands.Submission) (commands.Receipt, error) {
		waited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		<-waited.Done()
		passed <- ctx.Err()
		return commands.Receipt{ID: "x", Version: 1, Created: true}, nil
	}
	server := httptest.NewUnstartedServer(e.api.Handler())
	server.Config.ReadTimeout = 50 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	r, err := http.NewRequest(http.MethodPost, server.URL+"/api/v1/entities", strings.NewReader(`{"type":"t","attributes":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+e.admin)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if err := <-passed; err != nil || answer.StatusCode != http.StatusCreated {
		t.Errorf("status %d, the request's context: %v", answer.StatusCode, err)
	}
}

// BenchmarkCreateEdge is all that the edge does for one write, without network and
// loop.
func BenchmarkCreateEdge(b *testing.B) {
	e, _ := answering(b, commands.Receipt{
		ID: "0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11", Version: 1, Position: 42, Created: true,
		Events: []commands.ReceiptEvent{{Type: "entity.created", Position: 42}},
	}, nil)
	body := `{"type":"airport","key":"LFPG","attributes":{"name":"Charles de Gaulle International Airport","city":"Paris","country":"France","iata":"CDG","latitude":49.012798,"longitude":2.55,"altitude":392},"tags":["import"]}`
	if !json.Valid([]byte(body)) {
		b.Fatal("the body is not JSON")
	}
	r := e.request("POST", "/api/v1/entities", body, "Idempotency-Key", "row-17")
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(body))
		recorder := httptest.NewRecorder()
		e.handler.ServeHTTP(recorder, r)
		if recorder.Code != http.StatusCreated {
			b.Fatalf("%d %s", recorder.Code, recorder.Body)
		}
	}
}
