package httpapi

import (
	"net/url"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/internal/identity"
)

func TestSearchingEntities(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	e.call("GET", "/api/v1/entities?q=ana", "").expect(422, "not_searchable")
	for _, search := range []string{`["nom"]`, `["name","name"]`, `[""]`} {
		e.call("PUT", "/api/v1/entity-types/customer", strings.Replace(customerType, "{", `{"search":`+search+`,`, 1)).expect(422, "invalid_search_attributes")
	}
	e.call("PUT", "/api/v1/entity-types/customer", `{"search":"name"}`).expect(422, "invalid_request")
	defined := e.call("PUT", "/api/v1/entity-types/customer", strings.Replace(customerType, "{", `{"search":["name"],`, 1))
	if defined.Status != 200 {
		t.Fatalf("%d %s", defined.Status, defined.Body)
	}
	for _, body := range []string{
		`{"type":"customer","key":"C-1","attributes":{"name":"José Müller"}}`, `{"type":"customer","key":"C-2","attributes":{"name":"Josefine Maier"},"tags":["vip"]}`,
		`{"type":"customer","key":"C-3","attributes":{"name":"Bob","city":"San José"}}`,
	} {
		e.create(body)
	}
	last, _ := e.create(`{"type":"customer","key":"C-4","attributes":{"name":"Jose"}}`)
	for query, want := range map[string]string{
		"q=JOSE&count=true":      "C-4 C-1 C-2",
		"q=jose&sort=key":        "C-1 C-2 C-4",
		"q=jose&sort=-key":       "C-4 C-2 C-1",
		"q=jos+mull":             "C-1",
		"q=muler":                "C-1",
		"q=jose&tag=vip":         "C-2",
		"q=jose&attr.name=Jose":  "C-4",
		"q=bob&type=customer":    "C-3",
		"q=san":                  "",
		"q=":                     "C-4 C-3 C-2 C-1",
		"q=Jose%CC%81+&sort=key": "C-1 C-2 C-4",
	} {
		answer := e.call("GET", "/api/v1/entities?"+query, "", after(last.Position)...)
		var page list
		answer.json(&page)
		if got := strings.Join(page.keys(), " "); answer.Status != 200 || got != want || strings.Contains(string(answer.Body), "truncated") {
			t.Errorf("%s: %d %s, want %s", query, answer.Status, answer.Body, want)
		}
	}
	first := e.call("GET", "/api/v1/entities?q=jose&limit=2&fields=key", "")
	var page list
	first.json(&page)
	next := e.call("GET", "/api/v1/entities?q=jose&limit=2&cursor="+url.QueryEscape(*page.NextCursor), "")
	next.json(&page)
	if got := strings.Join(page.keys(), " "); got != "C-2" {
		t.Errorf("the next page: %s", next.Body)
	}
	if same := e.call("GET", "/api/v1/entities?q=jose&limit=2&fields=key", "", "If-None-Match", first.Header.Get("ETag")); same.Status != 304 {
		t.Errorf("%d", same.Status)
	}
	for query, code := range map[string]string{
		"q=...": "invalid_search", "q=a&as_of=2020-01-01": "invalid_search", "q=a&type=ghost": "not_searchable", "q=" + strings.Repeat("a", 201): "invalid_request", "q=a&sort=rank": "invalid_request",
	} {
		e.call("GET", "/api/v1/entities?"+query, "").expect(422, code)
	}
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{"admin"}})
	e.call("GET", "/api/v1/entities?q=jose", "").expect(422, "not_searchable")
}
