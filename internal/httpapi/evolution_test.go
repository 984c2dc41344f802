package httpapi

import (
	"fmt"
	"strings"
	"testing"
)

// impactOf is the report beside a receipt or in a refusal.
func (r *reply) impact() Impact {
	r.t.Helper()
	var body struct{ Impact *Impact }
	if r.json(&body); body.Impact == nil {
		r.t.Fatalf("no impact: %d %s", r.Status, r.Body)
	}
	return *body.Impact
}

func TestATypeEvolves(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	const typePath = "/api/v1/entity-types/customer"
	young, _ := e.create(`{"type":"customer","attributes":{"name":"Ana","age":3}}`)
	e.create(`{"type":"customer","attributes":{"name":"Bob","age":40}}`)
	last, _ := e.create(`{"type":"customer","attributes":{"age":5}}`)
	e.call("GET", "/api/v1/entities", "", after(last.Position)...)

	// Wider: nothing to force, and nothing said about impact.
	wider := `{"title":"Customer","schema":{"type":"object","properties":{"name":{"type":["string","null"]},"age":{"type":"number","minimum":0}}}}`
	if answer := e.call("PUT", typePath, wider); answer.Status != 200 || strings.Contains(string(answer.Body), "impact") {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	narrower := `"title":"Customer","schema":{"type":"object","properties":{"name":{"type":["string","null"]},"age":{"type":"number","minimum":18}},"required":["name"]}}`
	refused := e.call("PUT", typePath, "{"+narrower)
	p := refused.expect(409, "narrowing_change")
	if len(p.Errors) != 2 || p.Errors[0].Location != "body.schema/properties/age/minimum" || p.Errors[1].Location != "body.schema/required" {
		t.Errorf("%v", p.Errors)
	}
	if got := refused.impact(); got.Entities != 3 || got.Examined != 3 || got.Invalid != 2 || got.Position < last.Position || got.Failure != "" {
		t.Errorf("%+v", got)
	}
	e.call("PUT", typePath+"?dry_run=true", "{"+narrower).expect(409, "narrowing_change")
	would := e.call("PUT", typePath+"?dry_run=true", `{"force":true,`+narrower)
	if got := would.impact(); got.Invalid != 2 || would.receipt().Version != 3 || !would.receipt().DryRun {
		t.Errorf("%+v %s", got, would.Body)
	}
	forced := e.call("PUT", typePath, `{"force":true,`+narrower, "Idempotency-Key", "k", "Prefer", "return=representation")
	if got := forced.impact(); got.Invalid != 2 || forced.Header.Get("ETag") != `"3"` || forced.Header.Get("Preference-Applied") == "" {
		t.Errorf("%+v %v %s", got, forced.Header, forced.Body)
	}
	if again := e.call("PUT", typePath, `{"force":true,`+narrower, "Idempotency-Key", "k"); again.Header.Get("Idempotency-Replayed") != "true" || again.impact().Invalid != 2 {
		t.Errorf("%v %s", again.Header, again.Body)
	}

	// What does not follow the type any more is read as before, and says what it followed.
	path := "/api/v1/entities/" + young.ID
	read := e.call("GET", path, "", "Hub-Min-Position", forced.Header.Get("Hub-Position"))
	if !strings.Contains(string(read.Body), `"type_version":1`) || !strings.Contains(string(read.Body), `"age":3`) {
		t.Errorf("%s", read.Body)
	}
	if p := e.call("PATCH", path, `{"tags":["x"]}`).expect(422, "invalid_attributes"); len(p.Errors) != 1 || p.Errors[0].Location != "body.attributes/age" {
		t.Errorf("%v", p.Errors)
	}
	e.call("POST", path+"/archive", "").receipt()
	if p := e.call("POST", path+"/restore", "").expect(422, "invalid_attributes"); len(p.Errors) != 1 || p.Errors[0].Location != "body.attributes/age" {
		t.Errorf("%v", p.Errors)
	}
	e.call("POST", path+"/restore", `{"attributes":{"age":30},"x":1}`).expect(422, "unknown_field")
	e.call("POST", path+"/restore", `null`).expect(422, "invalid_request")
	restored := e.call("POST", path+"/restore", `{"attributes":{"age":30}}`, "Content-Type", "application/merge-patch+json", "Prefer", "return=representation")
	receipt := restored.receipt()
	if len(receipt.Events) != 2 || receipt.Version != 4 || !strings.Contains(string(receipt.Resource), `"type_version":3`) {
		t.Errorf("%s", restored.Body)
	}
	read = e.call("GET", path, "", "Hub-Min-Position", fmt.Sprint(*receipt.Position))
	sameJSON(t, "restored", receipt.Resource, read.Body)
	e.call("POST", path+"/restore", `{"tags":["x"]}`).expect(409, "conflict")
}

// Without views the write is done as ever, and the report says that there is none.
func TestTheImpactWithoutViews(t *testing.T) {
	t.Parallel()
	s := startSystem(t) // nobody projects
	e := newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads })
	answer := e.call("PUT", "/api/v1/entity-types/customer", `{"force":true}`)
	if got := answer.impact(); answer.Status != 201 || got.Failure != "projection_lagging" {
		t.Errorf("%d %+v", answer.Status, got)
	}
	e.call("PUT", "/api/v1/entity-types/customer", `{"force":true,"schema":7}`).expect(422, "invalid_schema")
	if got := e.call("PUT", "/api/v1/entity-types/customer", `{"schema":{"required":["a"]}}`).impact(); got.Failure != "projection_lagging" {
		t.Errorf("%+v", got)
	}
}
