package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/readmodels"
)

const companyType = `{"title":"Company","relationships":[{"kind":"owner","target":"company","acyclic":true},{"kind":"partner","target":"company","on_archive":"detach"}]}`

// companies makes the type company and n of them.
func (e *edge) companies(n int) []string {
	e.t.Helper()
	if answer := e.call("PUT", "/api/v1/entity-types/company", companyType); answer.Status != 201 {
		e.t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	ids := make([]string, n)
	for i := range ids {
		made, _ := e.create(`{"type":"company","attributes":{"n":` + fmt.Sprint(i) + `}}`)
		ids[i] = made.ID
	}
	return ids
}

func (e *edge) relate(source, kind, target string, headers ...string) *reply {
	e.t.Helper()
	return e.call("POST", "/api/v1/entities/"+source+"/relationships", `{"kind":"`+kind+`","target_id":"`+target+`"}`, headers...)
}

// related reads relationships after a receipt, as kind, source, target and depth.
func (e *edge) related(id, query string, since int64) ([]string, readmodels.RelationshipPage) {
	e.t.Helper()
	answer := e.call("GET", "/api/v1/entities/"+id+"/relationships"+query, "", after(since)...)
	if answer.Status != 200 {
		e.t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	var page readmodels.RelationshipPage
	answer.json(&page)
	found := []string{}
	for _, r := range page.Items {
		found = append(found, fmt.Sprint(r.Kind, " ", r.Source, " ", r.Target, " ", r.Depth))
	}
	return found, page
}

func TestTheLifeOfARelationship(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	ids := e.companies(3)
	added := e.relate(ids[0], "owner", ids[1], "If-Match", `"1"`, "Idempotency-Key", "k")
	receipt := added.receipt()
	if added.Status != 200 || receipt.ID != ids[0] || receipt.Version != 2 || added.Header.Get("ETag") != `"2"` || receipt.Events[0].Type != "relationship.added" {
		t.Fatalf("%v %s", added.Header, added.Body)
	}
	if again := e.relate(ids[0], "owner", ids[1], "If-Match", `"1"`, "Idempotency-Key", "k"); again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%v", again.Header)
	}
	if noop := e.relate(ids[0], "owner", ids[1]).receipt(); len(noop.Events) != 0 || noop.Version != 2 {
		t.Errorf("twice: %+v", noop)
	}
	e.relate(ids[0], "owner", ids[2], "If-Match", `"1"`).expect(412, "version_conflict")
	e.relate(ids[1], "owner", ids[0]).expect(409, "relationship_cycle")
	// Whatever version, but of what is there: the walk is as long as without.
	e.relate(ids[1], "owner", ids[2], "If-Match", "*").receipt()
	e.relate(ids[2], "owner", ids[0], "If-Match", "*").expect(409, "relationship_cycle")
	would := e.call("POST", "/api/v1/entities/"+ids[2]+"/relationships?dry_run=true", `{"kind":"partner","target_id":"`+ids[1]+`"}`).receipt()
	sameJSON(t, "dry run", would.Events[0].Data, []byte(`{"kind":"partner","target_id":"`+ids[1]+`","source_type":"company","target_type":"company"}`))
	shown := e.relate(ids[2], "partner", ids[1], "Prefer", "return=representation")
	last := shown.receipt()
	read := e.call("GET", "/api/v1/entities/"+ids[2], "", after(*last.Position)...)
	sameJSON(t, "the source", last.Resource, read.Body)

	// The target of an owner stays in use; a partner goes.
	e.call("POST", "/api/v1/entities/"+ids[1]+"/archive", "").expect(409, "relationship_restricted")
	refused := e.call("DELETE", "/api/v1/entities/"+ids[1], "")
	var held struct {
		Relationships []struct {
			Kind       string
			SourceType string `json:"source_type"`
			Count      int
		}
	}
	if refused.json(&held); len(held.Relationships) != 1 || held.Relationships[0].Kind != "owner" || held.Relationships[0].SourceType != "company" || held.Relationships[0].Count != 1 {
		t.Errorf("%s", refused.Body)
	}
	path := "/api/v1/entities/" + ids[0] + "/relationships/owner/" + ids[1]
	if gone := e.call("DELETE", path, "", "If-Match", `"2"`).receipt(); gone.Version != 3 || gone.Events[0].Type != "relationship.removed" {
		t.Errorf("%+v", gone)
	}
	e.call("DELETE", path, "").expect(404, "not_found")
	archived := e.call("DELETE", "/api/v1/entities/"+ids[1], "").receipt()
	if len(archived.Events) != 2 || archived.Events[1].Type != "relationship.removed" || archived.Version != 3 {
		t.Errorf("%+v", archived)
	}
	if found, _ := e.related(ids[2], "", *archived.Position); len(found) != 0 {
		t.Errorf("still %v", found)
	}
	e.relate(ids[2], "partner", ids[1]).expect(409, "conflict")
	e.relate(ids[1], "partner", ids[2]).expect(409, "conflict")
}

func TestRefusedRelationships(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	ids := e.companies(2)
	customer, _ := e.create(`{"type":"customer","attributes":{}}`)
	e.relate(ids[0], "likes", ids[1]).expect(422, "unknown_kind")
	e.relate(customer.ID, "owner", ids[1]).expect(422, "unknown_kind")
	e.relate(ids[0], "owner", customer.ID).expect(422, "wrong_target_type")
	e.relate(someID, "owner", ids[0]).expect(404, "not_found")
	e.call("POST", "/api/v1/entities/"+ids[0]+"/relationships", `{"kind":"owner"}`).expect(422, "invalid_request")
	e.call("DELETE", "/api/v1/entities/"+ids[0]+"/relationships/owner/x", "").expect(404, "not_found")
	missing := e.relate(ids[0], "owner", someID).expect(422, "unknown_target")
	if other := e.relate(ids[0], "owner", "no id").expect(422, "unknown_target"); other.Detail != missing.Detail {
		t.Errorf("%v and %v", missing, other)
	}
	for body, want := range map[string]string{
		`{"relationships":[{"kind":"x","target":"ghost"}]}`:                          "unknown_type",
		`{"relationships":[{"kind":"X","target":"company"}]}`:                        "invalid_relationships",
		`{"relationships":[{"kind":"x","target":"company","on_archive":"cascade"}]}`: "invalid_request",
		`{"relationships":[{"kind":"x"}]}`:                                           "invalid_request",
	} {
		e.call("PUT", "/api/v1/entity-types/t", body).expect(422, want)
	}
	e.relate(ids[0], "owner", ids[1]).receipt()
	last := e.relate(ids[0], "partner", ids[1]).receipt()
	e.call("GET", "/api/v1/entities", "", after(*last.Position)...)
	narrower := e.call("PUT", "/api/v1/entity-types/company", `{"title":"Company"}`)
	narrower.expect(409, "narrowing_change")
	if got := narrower.impact(); got.Entities != 2 || got.Examined != 2 || got.Invalid != 1 {
		t.Errorf("%+v", got)
	}
	for query, code := range map[string]string{
		"?depth=6": "invalid_request", "?direction=up": "invalid_request", "?expand=source": "invalid_expand", "?direction=in&expand=target": "invalid_expand", "?expand=source.type": "invalid_expand", "?expand=target.type.name": "invalid_expand",
		"?fields=x": "invalid_fields", "?limit=501": "invalid_request", "?status=gone": "invalid_request", "?x=1": "unknown_parameter",
	} {
		e.call("GET", "/api/v1/entities/"+ids[0]+"/relationships"+query, "").expect(422, code)
	}
	e.call("GET", "/api/v1/entities/"+ids[0]+"/relationships?cursor=x", "").expect(400, "invalid_cursor")

	// What belongs to another organisation is as if it were not there, in both directions.
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{"admin"}})
	theirs := e.companies(1)
	if p := e.relate(theirs[0], "owner", ids[0]).expect(422, "unknown_target"); p.Detail != missing.Detail {
		t.Errorf("told apart: %v and %v", p, missing)
	}
}

func TestRelationshipsAreRead(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	ids := e.companies(4)
	var last commands.Receipt
	for _, pair := range [][3]any{{0, "owner", 1}, {1, "owner", 2}, {2, "partner", 0}, {0, "partner", 3}, {3, "partner", 3}} {
		e.relate(ids[pair[0].(int)], pair[1].(string), ids[pair[2].(int)]).json(&last)
	}
	row := func(source int, kind string, target, depth int) string {
		return fmt.Sprint(kind, " ", ids[source], " ", ids[target], " ", depth)
	}
	for _, test := range []struct {
		id    int
		query string
		want  []string
	}{
		{0, "", []string{row(0, "owner", 1, 1), row(0, "partner", 3, 1)}},
		{0, "?kind=owner", []string{row(0, "owner", 1, 1)}},
		{0, "?direction=in", []string{row(2, "partner", 0, 1)}},
		// Through the circle and back to its beginning, and no further.
		{0, "?depth=5", []string{row(0, "owner", 1, 1), row(0, "partner", 3, 1), row(1, "owner", 2, 2), row(3, "partner", 3, 2), row(2, "partner", 0, 3)}},
		{0, "?depth=2&kind=owner", []string{row(0, "owner", 1, 1), row(1, "owner", 2, 2)}},
		{2, "?direction=in&depth=2", []string{row(1, "owner", 2, 1), row(0, "owner", 1, 2)}},
		{0, "?status=archived", []string{}},
	} {
		if found, page := e.related(ids[test.id], test.query, last.Position); fmt.Sprint(found) != fmt.Sprint(test.want) || page.Truncated || page.NextCursor != nil {
			t.Errorf("%d%s: got %v, want %v", test.id, test.query, found, test.want)
		}
	}
	found, page := e.related(ids[0], "?limit=1", last.Position)
	if len(found) != 1 || page.NextCursor == nil || page.Truncated {
		t.Fatalf("%v %+v", found, page)
	}
	if rest, next := e.related(ids[0], "?limit=1&cursor="+*page.NextCursor, last.Position); len(rest) != 1 || rest[0] != row(0, "partner", 3, 1) || next.NextCursor != nil {
		t.Errorf("%v %+v", rest, next)
	}
	e.call("GET", "/api/v1/entities/"+ids[0]+"/relationships?depth=2&cursor="+*page.NextCursor, "").expect(422, "invalid_depth")
	if found, page = e.related(ids[0], "?depth=5&limit=3", last.Position); len(found) != 3 || !page.Truncated || page.NextCursor != nil {
		t.Errorf("%v %+v", found, page)
	}

	// The far end in place of its id.
	answer := e.call("GET", "/api/v1/entities/"+ids[0]+"/relationships?expand=target&fields=kind,target,target_id&kind=owner", "")
	var expanded struct {
		Items []struct {
			Kind   string
			Source *string
			// TargetID is what the relationship was added with.
			TargetID string `json:"target_id"`
			Target   json.RawMessage
		}
	}
	answer.json(&expanded)
	sameJSON(t, "expanded", expanded.Items[0].Target, e.call("GET", "/api/v1/entities/"+ids[1], "").Body)
	if expanded.Items[0].Kind != "owner" || expanded.Items[0].Source != nil || expanded.Items[0].TargetID != ids[1] {
		t.Errorf("%s", answer.Body)
	}
	// And its type in place of its name, one step further.
	answer = e.call("GET", "/api/v1/entities/"+ids[0]+"/relationships?expand=target.type&kind=owner", "")
	answer.json(&expanded)
	sameJSON(t, "expanded twice", expanded.Items[0].Target, e.call("GET", "/api/v1/entities/"+ids[1]+"?expand=type", "").Body)
	whole := e.shown("/api/v1/entities/" + ids[0] + "/relationships?expand=target,target.type&fields=target.key,target.type.name&kind=owner")
	if !strings.Contains(whole, `"items":[{"target":{"key":null,"type":{"name":"company"}}}]`) {
		t.Errorf("%s", whole)
	}
	if unchanged := e.call("GET", "/api/v1/entities/"+ids[0]+"/relationships", "", "If-None-Match", e.call("GET", "/api/v1/entities/"+ids[0]+"/relationships", "").Header.Get("ETag")); unchanged.Status != 304 {
		t.Errorf("%d", unchanged.Status)
	}
	e.call("GET", "/api/v1/entities/"+someID+"/relationships", "").expect(404, "not_found")

	// A source that is archived is left out unless asked for.
	var archived commands.Receipt
	e.call("DELETE", "/api/v1/entities/"+ids[2]+"/relationships/partner/"+ids[0], "").receipt()
	e.call("DELETE", "/api/v1/entities/"+ids[0], "").json(&archived)
	if found, _ := e.related(ids[1], "?direction=in", archived.Position); len(found) != 0 {
		t.Errorf("%v", found)
	}
	if found, _ := e.related(ids[1], "?direction=in&status=all", archived.Position); len(found) != 1 {
		t.Errorf("%v", found)
	}
	history := e.call("GET", "/api/v1/entities/"+ids[0]+"/history", "", after(archived.Position)...)
	if got := string(history.Body); history.Status != 200 || strings.Count(got, `"type":"relationship.added"`) != 2 || !strings.Contains(got, `"type":"entity.archived"`) ||
		!strings.Contains(got, `"changes":[{"path":"/relationships/owner","from":null,"to":"`+ids[1]+`"}]`) {
		t.Errorf("%d %s", history.Status, got)
	}
}
