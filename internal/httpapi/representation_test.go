package httpapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// receiptOf is a receipt with everything that it may have.
type receiptOf struct {
	ID       string
	Version  int64
	Position *int64
	Events   []struct {
		Type     string
		Position *int64
		Data     json.RawMessage
	}
	DryRun   bool            `json:"dry_run"`
	Resource json.RawMessage `json:"resource"`
}

func (r *reply) receipt() receiptOf {
	r.t.Helper()
	if r.Status != 200 && r.Status != 201 && r.Status != 202 {
		r.t.Fatalf("status %d: %s", r.Status, r.Body)
	}
	var body receiptOf
	r.json(&body)
	return body
}

// sameJSON compares two documents by what they say.
func sameJSON(t *testing.T, what string, got, want []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%s: %v in %s", what, err, got)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatalf("%s: %v in %s", what, err, want)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s:\n%s\nbut a read answers\n%s", what, got, want)
	}
}

// What return=representation adds is what the read of the resource then answers, for
// every command.
func TestTheRepresentationIsWhatAReadAnswers(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	bob := e.issuer.token(t, "editor")
	made, _ := e.create(`{"type":"customer","key":"C-1","attributes":{"name":"Ana & <Bob>","age":30,"n":1.50,"big":12345678901234567890,"o":{"b":[1,null],"aa":"é"}},"tags":["vip","eu"]}`)
	bare, _ := e.create(`{"type":"customer","attributes":{}}`)
	entity := "/api/v1/entities/" + made.ID
	for _, step := range []struct{ method, path, body, read string }{
		{"PUT", "/api/v1/entity-types/supplier", `{"title":"S & Co","schema":{"type":"object","required":["a"],"properties":{"a":{}}}}`, "/api/v1/entity-types/supplier"},
		{"PUT", "/api/v1/entity-types/supplier", `{"title":"Supplier"}`, "/api/v1/entity-types/supplier"},
		{"PUT", "/api/v1/entity-types/supplier", `{"title":"Supplier","search":["b","a"]}`, "/api/v1/entity-types/supplier"},
		{"PUT", "/api/v1/entity-types/supplier", `{"title":"Supplier"}`, "/api/v1/entity-types/supplier"},
		{"PUT", "/api/v1/organization", `{"timezone":"Europe/Paris","base_currency":"EUR"}`, "/api/v1/organization"},
		{"PUT", "/api/v1/organization", `{"timezone":"Europe/Paris","base_currency":"EUR"}`, "/api/v1/organization"},
		{"POST", "/api/v1/entities", `{"type":"customer","key":"C-2","attributes":{"name":"Eva"}}`, ""},
		{"PATCH", entity, `{"attributes":{"age":31,"n":null},"tags":null}`, entity},
		{"PATCH", entity, `{"attributes":{"age":31}}`, entity},
		{"POST", entity + "/archive", "", entity},
		{"POST", entity + "/restore", "", entity},
		{"DELETE", entity, "", entity},
		{"PATCH", "/api/v1/entities/" + bare.ID, `{"tags":["x"]}`, "/api/v1/entities/" + bare.ID},
	} {
		e.admin, bob = bob, e.admin // who changed it differs from who made it
		if step.method == "PUT" {   // only an admin may
			e.admin, bob = bob, e.admin
		}
		name := step.method + " " + step.path + " " + step.body
		answer := e.call(step.method, step.path, step.body, "Prefer", "wait=3, Return=representation")
		receipt := answer.receipt()
		if answer.Header.Get("Preference-Applied") != "return=representation" {
			t.Errorf("%s: %v", name, answer.Header)
		}
		read := step.read
		if read == "" {
			read = answer.Header.Get("Location")
		}
		seen := e.call("GET", read, "", "Hub-Min-Position", fmt.Sprint(*receipt.Position))
		sameJSON(t, name, receipt.Resource, seen.Body)
		if seen.Header.Get("ETag") != answer.Header.Get("ETag") {
			t.Errorf("%s: version %s, read %s", name, answer.Header.Get("ETag"), seen.Header.Get("ETag"))
		}
	}
	if plain := e.call("PATCH", entity, `{}`, "Prefer", "return=minimal"); strings.Contains(string(plain.Body), "resource") || plain.Header.Get("Preference-Applied") != "" {
		t.Errorf("unasked: %v %s", plain.Header, plain.Body)
	}
}

// The first answer again, although the entity has changed since.
func TestTheRepresentationOfAReplay(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	const body = `{"type":"customer","attributes":{"name":"Ana"}}`
	first := e.call("POST", "/api/v1/entities", body, "Idempotency-Key", "k", "Prefer", "return=representation")
	e.call("PATCH", first.Header.Get("Location"), `{"attributes":{"name":"Eva"}}`).receipt()
	again := e.call("POST", "/api/v1/entities", body, "Idempotency-Key", "k", "Prefer", "return=representation")
	if again.Status != 201 || again.Header.Get("Idempotency-Replayed") != "true" || again.Header.Get("Preference-Applied") == "" {
		t.Errorf("%d %v", again.Status, again.Header)
	}
	sameJSON(t, "replay", again.Body, first.Body)
}

func TestDryRuns(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	const body = `{"type":"customer","key":"C-1","attributes":{"name":"Ana"},"tags":["vip"]}`
	before := e.call("PUT", "/api/v1/entity-types/customer", customerType).Header.Get("Hub-Position")
	for range 2 { // the first leaves nothing that the second could meet
		answer := e.call("POST", "/api/v1/entities?dry_run=true", body, "Prefer", "return=representation", "Idempotency-Key", "k")
		would := answer.receipt()
		if answer.Status != 200 || answer.Header.Get("Location") != "" || answer.Header.Get("ETag") != "" || answer.Header.Get("Hub-Position") != before {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
		if would.ID != uuid.Nil.String() || would.Version != 1 || would.Position != nil || !would.DryRun || !strings.Contains(string(answer.Body), `"position":null`) ||
			len(would.Events) != 1 || would.Events[0].Type != "entity.created" || would.Events[0].Position != nil {
			t.Errorf("%s", answer.Body)
		}
		sameJSON(t, "data", would.Events[0].Data, []byte(strings.TrimSuffix(body, "}")+`,"type_version":1}`))
		var shown struct{ ID, Key, Status, CreatedBy string }
		if err := json.Unmarshal(would.Resource, &shown); err != nil || shown.ID != uuid.Nil.String() || shown.Key != "C-1" || shown.Status != "active" {
			t.Errorf("%v %s", err, would.Resource)
		}
	}
	// The key of the dry runs is as good as new.
	made := e.call("POST", "/api/v1/entities", body, "Idempotency-Key", "k")
	if made.Status != 201 || made.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v %s", made.Status, made.Header, made.Body)
	}
	path := made.Header.Get("Location")
	e.call("POST", "/api/v1/entities?dry_run=true", body).expect(409, "key_taken")
	e.call("PATCH", path+"?dry_run=true", `{"tags":[]}`, "If-Match", `"7"`).expect(412, "version_conflict")
	e.call("PATCH", path+"?dry_run=true", `{"attributes":{"age":"old"}}`).expect(422, "invalid_attributes")
	would := e.call("PATCH", path+"?dry_run=true", `{"tags":[]}`, "If-Match", `"1"`).receipt()
	if would.Version != 2 || string(would.Events[0].Data) != `{"tags":[]}` {
		t.Errorf("%+v", would)
	}
	if noop := e.call("PATCH", path+"?dry_run=true", `{"tags":["vip"]}`).receipt(); len(noop.Events) != 0 || noop.Version != 1 {
		t.Errorf("%+v", noop)
	}
	if wet := e.call("PATCH", path+"?dry_run=false", `{"tags":[]}`).receipt(); wet.Version != 2 || wet.Position == nil || wet.DryRun || wet.Events[0].Data != nil {
		t.Errorf("%+v", wet)
	}
	e.call("PATCH", path+"?dry_run=yes", `{"tags":[]}`).expect(422, "invalid_request")
	e.call("GET", path+"?dry_run=true", "").expect(422, "unknown_parameter")
	e.call("POST", "/api/v1/entities?dry_run=true", body, "Authorization", "Bearer "+e.issuer.token(t, "viewer")).expect(403, "forbidden")
}

// What is done is answered as done, although it cannot be shown.
func TestAResourceThatCannotBeShown(t *testing.T) {
	t.Parallel()
	e, last := answering(t, commands.Receipt{
		ID: "id-1", Version: 1, Position: 7, Created: true, Resource: &commands.Resource{ID: "no uuid", State: entity.Entity{}},
	}, nil)
	answer := e.call("POST", "/api/v1/entities", `{"type":"t","attributes":{}}`, "Prefer", "return=representation")
	if answer.Status != 201 || answer.Header.Get("Preference-Applied") != "" || strings.Contains(string(answer.Body), "resource") || last.Represent != "entity" {
		t.Errorf("%d %v %s", answer.Status, answer.Header, answer.Body)
	}
	if !strings.Contains(e.log.String(), "resource not shown") {
		t.Error("nobody is told")
	}
}
