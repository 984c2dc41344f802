package httpapi

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/identity"
)

// history is a page of an entity's history as a client sees it.
type history struct {
	Items []struct {
		Version       int64
		Type, By      string
		Reason        *string
		RequestID     string    `json:"request_id"`
		CorrelationID string    `json:"correlation_id"`
		RecordedAt    time.Time `json:"recorded_at"`
		Changes       []struct {
			Path, Attribute string
			From, To        any
		}
	}
	NextCursor *string `json:"next_cursor"`
}

func (r *reply) history() history {
	r.t.Helper()
	if r.Status != 200 {
		r.t.Fatalf("%d %s", r.Status, r.Body)
	}
	var page history
	r.json(&page)
	return page
}

// Who, when, why, from and to: of an archived entity, too.
func TestHistoryOfAnEntity(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{"name":"Ana","city":"Paris"}}`)
	path := "/api/v1/entities/" + receipt.ID
	e.call("PATCH", path, `{"attributes":{"city":"Lyon"}}`, "Hub-Reason", "Customer called", "X-Request-Id", "web-1")
	gone := e.call("DELETE", path, "")
	newest := e.call("GET", path+"/history?limit=2", "", "Hub-Min-Position", gone.Header.Get("Hub-Position"))
	page := newest.history()
	if len(page.Items) != 2 || page.NextCursor == nil || newest.Header.Get("Hub-Position") != gone.Header.Get("Hub-Position") {
		t.Fatalf("%v %s", newest.Header, newest.Body)
	}
	if change := page.Items[1]; change.Version != 2 || change.Type != "entity.updated" || change.By != "ana" || *change.Reason != "Customer called" ||
		change.RequestID != "web-1" || change.CorrelationID == "" || len(change.Changes) != 1 || change.Changes[0].Path != "/attributes/city" ||
		change.Changes[0].Attribute != "city" || change.Changes[0].From != "Paris" || change.Changes[0].To != "Lyon" {
		t.Errorf("%s", newest.Body)
	}
	rest := e.call("GET", path+"/history?limit=2&cursor="+url.QueryEscape(*page.NextCursor), "").history()
	if len(rest.Items) != 1 || rest.Items[0].Version != 1 || rest.NextCursor != nil {
		t.Errorf("%+v", rest)
	}
	oldest := e.call("GET", "/api/entities/"+receipt.ID+"/history/?sort=version&attribute=city", "").history()
	if len(oldest.Items) != 2 || oldest.Items[0].Version != 1 || len(oldest.Items[0].Changes) != 1 {
		t.Errorf("%+v", oldest)
	}
	if same := e.call("GET", path+"/history?limit=2", "", "If-None-Match", newest.Header.Get("ETag")); same.Status != 304 {
		t.Errorf("%d", same.Status)
	}
	counted := e.call("GET", path+"/history?limit=1&count=true&attribute=city&fields=version", "")
	if !strings.Contains(string(counted.Body), `"count":2,"items":[{"version":2}]`) {
		t.Errorf("%s", counted.Body)
	}
	e.call("GET", path+"/history?sort=at", "").expect(422, "invalid_request")
	e.call("GET", path+"/history?cursor=junk", "").expect(400, "invalid_cursor")
	e.call("GET", "/api/v1/entities/junk/history", "").expect(404, "not_found")
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{"admin"}})
	for _, query := range []string{"/history", "?at_version=1", "?as_of=" + url.QueryEscape(time.Now().Format(time.RFC3339Nano))} {
		e.call("GET", path+query, "").expect(404, "not_found")
	}
}

func TestTimeTravel(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{"city":"Paris"},"tags":["vip"]}`)
	path := "/api/v1/entities/" + receipt.ID
	was := string(e.call("GET", path, "", after(receipt.Position)...).Body)
	patched := e.call("PATCH", path, `{"attributes":{"city":"Lyon"},"tags":[]}`)
	other, _ := e.create(`{"type":"customer","key":"C-2","attributes":{"city":"Rome"}}`)
	is := string(e.call("GET", path, "", after(other.Position)...).Body)
	made := e.call("GET", path+"/history?sort=version", "").history().Items
	asOf := func(at time.Time) string { return "as_of=" + url.QueryEscape(at.Format(time.RFC3339Nano)) }

	then := e.call("GET", path+"?"+asOf(made[0].RecordedAt), "")
	if then.Status != 200 || string(then.Body) != was || then.Header.Get("ETag") != `"1"` || then.Header.Get("Hub-Position") != fmt.Sprint(receipt.Position) {
		t.Errorf("%d %v %s, was %s", then.Status, then.Header, then.Body, was)
	}
	if same := e.call("GET", path+"?at_version=1", "", "If-None-Match", `"1"`); same.Status != 304 || same.Header.Get("Hub-Position") != fmt.Sprint(receipt.Position) {
		t.Errorf("%d %v", same.Status, same.Header)
	}
	for query, want := range map[string]string{
		"at_version=1": was, "at_version=2": is, asOf(made[1].RecordedAt): is, asOf(made[1].RecordedAt.Add(-time.Microsecond)): was, asOf(time.Now().Add(time.Second)): is,
	} {
		if got := e.call("GET", path+"?"+query, ""); got.Status != 200 || string(got.Body) != want {
			t.Errorf("%s: %d %s, want %s", query, got.Status, got.Body, want)
		}
	}
	if part := e.call("GET", path+"?at_version=1&fields=attributes.city", ""); string(part.Body) != `{"attributes":{"city":"Paris"}}` {
		t.Errorf("%s", part.Body)
	}
	e.call("GET", path+"?at_version=3", "").expect(404, "not_found")
	e.call("GET", path+"?as_of=2020-02-29", "").expect(404, "not_found")

	for query, want := range map[string]string{
		asOf(made[0].RecordedAt):                              "C-1",
		asOf(made[0].RecordedAt) + "&attr.city=Paris&tag=vip": "C-1",
		asOf(made[1].RecordedAt) + "&attr.city=Paris":         "",
		asOf(time.Now().Add(time.Second)) + "&sort=key":       "C-1 C-2",
		"as_of=2020-02-29":                                    "",
	} {
		answer := e.call("GET", "/api/v1/entities?count=true&"+query, "")
		var page list
		answer.json(&page)
		if got := strings.Join(page.keys(), " "); answer.Status != 200 || got != want || *page.Count != int64(len(page.Items)) {
			t.Errorf("%s: %d %s, want %s", query, answer.Status, got, want)
		}
	}
	at := e.call("GET", "/api/v1/entities?"+asOf(made[1].RecordedAt), "").Header.Get("Hub-Position")
	if at != patched.Header.Get("Hub-Position") {
		t.Errorf("answered at %s", at)
	}
}

func TestTimesThatCannotBeTravelledTo(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	tomorrow := url.QueryEscape(time.Now().Add(24 * time.Hour).Format(time.RFC3339))
	for _, path := range []string{someEntity, "/api/v1/entities"} {
		for _, query := range []string{"as_of=now", "as_of=" + tomorrow, "as_of=2026-13-01", "as_of=0000-01-01", "as_of=1772366400"} {
			e.call("GET", path+"?"+query, "").expect(422, "invalid_as_of")
		}
		e.call("GET", path+"?as_of=2020-01-01&expand=type", "").expect(422, "invalid_expand")
	}
	e.call("GET", someEntity+"?as_of=2020-01-01&at_version=1", "").expect(422, "invalid_as_of")
	e.call("GET", someEntity+"?at_version=1&expand=type", "").expect(422, "invalid_expand")
	for _, version := range []string{"0", "-1", "x", "1.5", "9223372036854775808"} {
		e.call("GET", someEntity+"?at_version="+version, "").expect(422, "invalid_request")
	}
	e.call("GET", "/api/v1/entities?at_version=1", "").expect(422, "unknown_parameter")
	e.call("GET", "/api/v1/entities?updated_at[lt]=0000-01-01", "").expect(422, "invalid_filter")
}
