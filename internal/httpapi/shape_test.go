package httpapi

import (
	"net/url"
	"strings"
	"testing"
)

// shown is what the server shows of the one entity, or of the items of a list.
func (e *edge) shown(target string) string {
	e.t.Helper()
	answer := e.call("GET", target, "")
	if answer.Status != 200 {
		e.t.Fatalf("%s: %d %s", target, answer.Status, answer.Body)
	}
	return string(answer.Body)
}

func TestFields(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{"name":"Ana","a.b":1,"address":{"zip":"75","city":"Paris"},"none":7},"tags":["vip"]}`)
	path := "/api/v1/entities/" + receipt.ID
	e.call("GET", path, "", after(receipt.Position)...)
	for fields, want := range map[string]string{
		"id":                                `{"id":"` + receipt.ID + `"}`,
		"version,key":                       `{"key":"C-1","version":1}`,
		"key,key":                           `{"key":"C-1"}`,
		"attributes.name":                   `{"attributes":{"name":"Ana"}}`,
		"attributes.name,attributes.ghost":  `{"attributes":{"name":"Ana"}}`,
		"attributes.address.zip,tags":       `{"attributes":{"address":{"zip":"75"}},"tags":["vip"]}`,
		"attributes./a.b":                   `{"attributes":{"a.b":1}}`,
		"attributes.name.first":             `{"attributes":{}}`,
		"attributes.address.zip,attributes": `{"attributes":{"a.b":1,"address":{"zip":"75","city":"Paris"},"name":"Ana","none":7}}`,
		"attributes.address,attributes.address.zip": `{"attributes":{"address":{"zip":"75","city":"Paris"}}}`,
	} {
		target := "?fields=" + url.QueryEscape(fields)
		sameJSON(t, fields, []byte(e.shown(path+target)), []byte(want))
		sameJSON(t, "a list of "+fields, []byte(e.shown("/api/v1/entities"+target)), []byte(`{"items":[`+want+`],"next_cursor":null}`))
	}
	if got := e.shown("/api/v1/entity-types?fields=name"); got != `{"items":[{"name":"customer"}],"next_cursor":null}` {
		t.Errorf("types: %s", got)
	}
	if got := e.shown("/api/v1/entity-types/customer?fields=title,version"); got != `{"title":"Customer","version":1}` {
		t.Errorf("a type: %s", got)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{}}`)
	second, _ := e.create(`{"type":"customer","attributes":{}}`)
	path := "/api/v1/entities/" + receipt.ID
	e.call("GET", path, "", after(second.Position)...)
	var one struct {
		Type struct {
			Name, Title string
			Version     int
		}
	}
	e.call("GET", path+"?expand=type", "").json(&one)
	if one.Type.Name != "customer" || one.Type.Title != "Customer" || one.Type.Version != 1 {
		t.Errorf("%+v", one)
	}
	if got := e.shown(path + "?expand=type&fields=key,type.name"); got != `{"type":{"name":"customer"},"key":"C-1"}` {
		t.Errorf("%s", got)
	}
	if got := e.shown("/api/v1/entities?expand=type&fields=type.title&limit=2"); strings.Count(got, `{"type":{"title":"Customer"}}`) != 2 {
		t.Errorf("%s", got)
	}
}

// The tag of a reduced or expanded answer is its own, and is as good for If-Match.
func TestTagsOfShapes(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{"name":"Ana","age":3}}`)
	path := "/api/v1/entities/" + receipt.ID
	e.call("GET", path, "", after(receipt.Position)...)
	seen := map[string]string{}
	for _, query := range []string{"", "?fields=key", "?fields=attributes.age", "?expand=type"} {
		tag := e.call("GET", path+query, "").Header.Get("ETag")
		if other, found := seen[tag]; found {
			t.Errorf("%q and %q share the tag %s", query, other, tag)
		}
		seen[tag] = query
		if got := e.call("GET", path+query, "", "If-None-Match", `"x", W/`+tag); got.Status != 304 || len(got.Body) > 0 {
			t.Errorf("%q: %d %s", query, got.Status, got.Body)
		}
	}
	expanded := e.call("GET", path+"?expand=type", "").Header.Get("ETag")
	defined := e.call("PUT", "/api/v1/entity-types/customer", strings.Replace(customerType, "Customer", "Client", 1))
	now := e.call("GET", path+"?expand=type", "", "If-None-Match", expanded, "Hub-Min-Position", defined.Header.Get("Hub-Position"))
	if now.Status != 200 {
		t.Errorf("the type has changed: %d", now.Status)
	}
	if got := e.call("PATCH", path, `{"tags":["a"]}`, "If-Match", expanded); got.Status != 200 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	e.call("PATCH", path, `{"tags":["b"]}`, "If-Match", expanded).expect(412, "version_conflict")
}

func TestComparisonsAndIDs(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	old, _ := e.create(`{"type":"customer","key":"old","attributes":{"age":70,"a[b]":1}}`)
	young, _ := e.create(`{"type":"customer","key":"young","attributes":{"age":8,"price.eur":2}}`)
	e.call("GET", "/api/v1/entities", "", after(young.Position)...)
	for query, want := range map[string]string{
		"attr.age[gte]=8&sort=key":       "old young",
		"attr.age[gt]=8":                 "old",
		"attr.age%5Blt%5D=70":            "young",
		"attr.age[gt]=8&attr.age[lt]=70": "",
		"attr.age[ne]=8":                 "old",
		"attr.age[in]=8,9":               "young",
		"attr./price.eur=2":              "young",
		"attr.a[b][eq]=1":                "old",
		"updated_at[lt]=2020-01-01":      "",
		"updated_at[gte]=2020-01-01T00:00:00%2B01:00&sort=key": "old young",
		"created_at[lt]=2999-01-01&sort=-key":                  "young old",
		"key[in]=old,x":                                        "old",
		"version[gt]=1":                                        "",
		"id=" + old.ID + "," + young.ID + "&sort=key":          "old young",
		"id=" + someID:                                         "",
		"id=" + old.ID + "&attr.age[lt]=8":                     "",
		"sort=key&offset=1":                                    "young",
		"sort=key&offset=0":                                    "old young",
		"offset=10000":                                         "",
	} {
		var page list
		answer := e.call("GET", "/api/v1/entities?"+query, "")
		answer.json(&page)
		if got := strings.Join(page.keys(), " "); answer.Status != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", query, answer.Status, got, want)
		}
	}
	first := e.call("GET", "/api/v1/entities?limit=1&attr.age[gte]=8", "")
	var page list
	first.json(&page)
	e.call("GET", "/api/v1/entities?limit=1&attr.age[gte]=9&cursor="+*page.NextCursor, "").expect(400, "invalid_cursor")
	e.call("GET", "/api/v1/entities?limit=1&attr.age[gt]=8&cursor="+*page.NextCursor, "").expect(400, "invalid_cursor")
	if again := e.call("GET", "/api/v1/entities?attr.age[gte]=8&fields=key&cursor="+*page.NextCursor, ""); again.Status != 200 {
		t.Errorf("%d %s", again.Status, again.Body)
	}
}

// All of a list of ids come in one answer, however many a page otherwise has.
func TestIDsAreOnePage(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	var ids []string
	var position int64
	for range 60 {
		receipt, _ := e.create(`{"type":"customer","attributes":{}}`)
		ids, position = append(ids, receipt.ID), receipt.Position
	}
	for query, want := range map[string]int{"": 60, "&limit=10": 10} {
		var page list
		e.call("GET", "/api/v1/entities?id="+strings.Join(ids, ",")+query, "", after(position)...).json(&page)
		if len(page.Items) != want || (page.NextCursor != nil) != (want < 60) {
			t.Errorf("%q: %d items, next %v", query, len(page.Items), page.NextCursor)
		}
	}
}
