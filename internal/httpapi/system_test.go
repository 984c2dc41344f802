package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/organization"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/projections"
	"github.com/reactdjango-hub/backend/readmodels"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// system is everything behind the edge on a database of its own.
type system struct {
	url  string
	loop *commands.Loop
	// reads has no view to read before project is called.
	reads  *readmodels.Store
	engine *projections.Engine
}

func startSystem(t testing.TB) *system {
	t.Helper()
	url := hubtest.Database(t, hubtest.LogAndViews())
	codec := eventstore.NewCodec(slices.Concat(entity.Kinds(), ledger.Kinds(), member.Kinds(), organization.Kinds())...)
	folds := organization.Folds()
	maps.Copy(folds, entity.Folds())
	maps.Copy(folds, ledger.Folds())
	maps.Copy(folds, member.Folds())
	keys := func(role eventstore.Role) *keyring.Keyring {
		masters, err := keyring.NewMasters(bytes.Repeat([]byte{7}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return keyring.New(keyring.Options{Pool: hubtest.Pool(t, url, string(role)), Masters: masters})
	}
	loop := commands.New(commands.Options{
		Store: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))), Codec: codec, Folds: folds, Keys: keys(eventstore.RoleCommand),
		Appended: func(int64) {}, Log: slog.New(slog.DiscardHandler),
	})
	reads := readmodels.New(readmodels.Options{Pool: hubtest.Pool(t, url, string(eventstore.RoleQuery)), CursorKey: []byte("0123456789abcdef")})
	pool := hubtest.Pool(t, url, string(eventstore.RoleProjector))
	engine := projections.New(projections.Options{Pool: pool, Store: eventstore.New(pool), Codec: codec, Notify: reads.Notify, Keys: keys(eventstore.RoleProjector)})
	run(t, loop.Run)
	run(t, func(ctx context.Context) { _ = reads.Run(ctx) })
	return &system{url: url, loop: loop, reads: reads, engine: engine}
}

// project brings the views up to date from now on; it returns when all are there.
func (s *system) project(t testing.TB) {
	t.Helper()
	run(t, func(ctx context.Context) { _ = s.engine.Run(ctx) })
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for waited := time.After(time.Minute); ; {
		if _, _, err := s.reads.Organization(t.Context(), "acme"); err == nil {
			_, _, err = s.reads.EntityTypes(t.Context(), "acme", readmodels.Page{})
			if _, _, ofBooks := s.reads.Periods(t.Context(), "acme"); err == nil && ofBooks == nil {
				return
			}
		}
		select {
		case <-poll.C:
		case <-waited:
			t.Fatal("waited in vain for the views")
		}
	}
}

// run runs a part of the system until the test ends.
func run(t testing.TB, part func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { part(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

// newSystem is an edge of a whole system, with the type customer in organisation
// acme.
func newSystem(t testing.TB) *edge {
	t.Helper()
	s := startSystem(t)
	s.project(t)
	e := newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads })
	position := e.defineCustomer()
	if answer := e.call("GET", "/api/v1/entity-types/customer", "", "Hub-Min-Position", position); answer.Status != 200 {
		t.Fatalf("the views: %d %s", answer.Status, answer.Body)
	}
	return e
}

const customerType = `{"title":"Customer","schema":{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0}}}}`

// defineCustomer returns the position of the definition.
func (e *edge) defineCustomer() string {
	e.t.Helper()
	answer := e.call("PUT", "/api/v1/entity-types/customer", customerType)
	if answer.Status != 201 {
		e.t.Fatalf("the type: %d %s", answer.Status, answer.Body)
	}
	return answer.Header.Get("Hub-Position")
}

// create makes a customer and returns its receipt.
func (e *edge) create(body string, headers ...string) (commands.Receipt, *reply) {
	e.t.Helper()
	answer := e.call("POST", "/api/v1/entities", body, headers...)
	if answer.Status != 201 {
		e.t.Fatalf("create %s: %d %s", body, answer.Status, answer.Body)
	}
	var receipt commands.Receipt
	answer.json(&receipt)
	return receipt, answer
}

func TestTheLifeOfAnEntity(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, answer := e.create(`{"type":"customer","key":"C-1","attributes":{"name":"Ana","age":30},"tags":["vip"]}`)
	path := answer.Header.Get("Location")
	if path != "/api/v1/entities/"+receipt.ID || receipt.Version != 1 || len(receipt.Events) != 1 || receipt.Events[0].Type != "entity.created" {
		t.Fatalf("%s %s", path, answer.Body)
	}
	for i, step := range []struct{ method, path, body, event string }{
		{"PATCH", path, `{"attributes":{"age":31}}`, "entity.updated"},
		{"PATCH", "/api/entities/" + receipt.ID + "/", `{"tags":null}`, "entity.updated"},
		{"POST", path + "/archive", "", "entity.archived"},
		{"POST", path + "/restore", "{}", "entity.restored"},
		{"DELETE", path, "", "entity.archived"},
	} {
		want := int64(i + 2)
		answer := e.call(step.method, step.path, step.body, "If-Match", entityTag(want-1))
		var got commands.Receipt
		answer.json(&got)
		if answer.Status != 200 || got.ID != receipt.ID || got.Version != want || len(got.Events) != 1 || got.Events[0].Type != step.event ||
			answer.Header.Get("ETag") != entityTag(want) || answer.Header.Get("Hub-Position") != fmt.Sprint(got.Position) {
			t.Fatalf("%s: %d %v %s", step.method, answer.Status, answer.Header, answer.Body)
		}
	}
	noop := e.call("DELETE", path, "")
	if noop.Status != 200 || !strings.Contains(string(noop.Body), `"events":[]`) || noop.Header.Get("ETag") != `"6"` {
		t.Errorf("archiving twice: %d %s", noop.Status, noop.Body)
	}
	e.call("PATCH", path, `{"attributes":{"age":1}}`).expect(409, "conflict")
}

func TestPreconditions(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","attributes":{}}`)
	path := "/api/v1/entities/" + receipt.ID
	for _, stale := range []string{`"2"`, `W/"1"`, `"0"`, `"one"`} {
		answer := e.call("PATCH", path, `{"tags":["a"]}`, "If-Match", stale)
		answer.expect(412, "version_conflict")
		var body struct{ Version int64 }
		if answer.json(&body); body.Version != 1 {
			t.Errorf("%s: version %d", stale, body.Version)
		}
	}
	if answer := e.call("PATCH", path, `{"tags":["a"]}`, "If-Match", "*"); answer.Status != 200 {
		t.Errorf("any version: %d %s", answer.Status, answer.Body)
	}
	e.call("PUT", "/api/v1/entity-types/ghost", `{"title":"G"}`, "If-Match", "*").expect(412, "version_conflict")
	e.call("PUT", "/api/v1/entity-types/customer", customerType, "If-Match", `"0"`).expect(412, "version_conflict")
	if answer := e.call("PUT", "/api/v1/entity-types/customer", customerType, "If-Match", `"1"`); answer.Status != 200 {
		t.Errorf("the same definition: %d %s", answer.Status, answer.Body)
	}
	ghost := "/api/v1/entities/0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"
	for _, condition := range []string{"", "*", `"1"`} {
		e.call("DELETE", ghost, "", "If-Match", condition).expect(404, "not_found")
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	const body = `{"type":"customer","key":"C-1","attributes":{"name":"Ana"}}`
	first, _ := e.create(body, "Idempotency-Key", "k1")
	again, answer := e.create(body, "Idempotency-Key", "k1")
	if again.ID != first.ID || again.Position != first.Position || answer.Header.Get("Idempotency-Replayed") != "true" || answer.Header.Get("Location") != "/api/v1/entities/"+first.ID {
		t.Errorf("%+v and %+v, %v", first, again, answer.Header)
	}
	// The old paths are the same request.
	if old := e.call("POST", "/api/entities/", body, "Idempotency-Key", "k1"); old.Status != 201 || old.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %v", old.Status, old.Header)
	}
	e.call("POST", "/api/v1/entities", body+" ", "Idempotency-Key", "k1").expect(422, "idempotency_key_reused")
	e.call("POST", "/api/v1/entities", body, "Idempotency-Key", "k1", "If-Match", `"0"`).expect(422, "idempotency_key_reused")
	for i, replayed := range []string{"", "true"} {
		refused := e.call("POST", "/api/v1/entities", body, "Idempotency-Key", "k2")
		refused.expect(409, "key_taken")
		var extra struct{ ID string }
		refused.json(&extra)
		if got := refused.Header.Get("Idempotency-Replayed"); got != replayed || extra.ID != first.ID {
			t.Errorf("refusal %d: replayed %q, %s", i, got, refused.Body)
		}
	}
	// Another caller's keys are his own.
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ben", Org: "acme", Roles: []string{"editor"}})
	e.call("POST", "/api/v1/entities", body, "Idempotency-Key", "k1").expect(409, "key_taken")
}

func TestRefusalsOfTheDomain(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	for body, want := range map[string]string{
		`{"type":"ghost","attributes":{}}`:                                  "unknown_type",
		`{"type":"","attributes":{}}`:                                       "unknown_type",
		`{"type":"customer","attributes":{"age":"old"}}`:                    "invalid_attributes",
		`{"type":"customer","attributes":{"a":{"$sealed":"x"}}}`:            "invalid_attributes",
		`{"type":"customer","attributes":{},"tags":[""]}`:                   "invalid_tags",
		`{"type":"customer","attributes":{},"key":"a\nb"}`:                  "invalid_key",
		`{"type":"` + strings.Repeat("a", 5000) + `","attributes":{}}`:      "unknown_type",
		`{"type":"customer","attributes":{},"key":"a/b c` + "\u00e9" + `"}`: "",
	} {
		answer := e.call("POST", "/api/v1/entities", body)
		if want == "" {
			if answer.Status != 201 {
				t.Errorf("%s: %d %s", body, answer.Status, answer.Body)
			}
			continue
		}
		answer.expect(422, want)
	}
	for path, body := range map[string]string{
		"/api/v1/entity-types/Big":                          `{}`,
		"/api/v1/entity-types/a-b":                          `{}`,
		"/api/v1/entity-types/" + strings.Repeat("a", 5000): `{}`,
		"/api/v1/entity-types/%F0%9F%92%A9":                 `{}`,
	} {
		e.call("PUT", path, body).expect(422, "invalid_type_name")
	}
	for _, schema := range []string{`7`, `"x"`, `{"type":"nonsense"}`, `{"$ref":"http://127.0.0.1:1/x"}`, `{"pattern":"("}`} {
		e.call("PUT", "/api/v1/entity-types/t", `{"title":"T","schema":`+schema+`}`).expect(422, "invalid_schema")
	}
}

func TestOrganisationsAreApart(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{}}`)
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{"admin"}})
	e.call("DELETE", "/api/v1/entities/"+receipt.ID, "").expect(404, "not_found")
	e.call("POST", "/api/v1/entities", `{"type":"customer","attributes":{}}`).expect(422, "unknown_type")
	e.defineCustomer()
	e.create(`{"type":"customer","key":"C-1","attributes":{}}`)
}
