package httpapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// audited is a system with the types file, of which every read is recorded, and note, of
// which none is, and the records.
type audited struct {
	*edge
	// recorded has who, which entities and by which route; away is what recording fails with.
	recorded []string
	away     error
	position string
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	s := startSystem(t)
	s.project(t)
	a := &audited{}
	a.edge = newEdge(t, func(o *Options) {
		o.Loop, o.Reads = s.loop, s.reads
		o.Clear.Record = func(_ context.Context, org string, actor domain.Actor, _ string, seen []Seen) error {
			for _, one := range seen {
				a.recorded = append(a.recorded, fmt.Sprintf("%s %s %s %d %s", org, actor.Sub, one.Route, len(one.Attributes), strings.Join(one.Subjects, ",")))
			}
			return a.away
		}
	})
	relations := `"relationships":[{"kind":"about","target":"file","on_archive":"detach"}]`
	for _, body := range []string{`file {"title":"F","schema":{"type":"object"},"search":["name"],"audit_reads":"all"}`, `note {"title":"N","schema":{"type":"object"},"search":["name"],` + relations + `}`} {
		name, definition, _ := strings.Cut(body, " ")
		if answer := a.call("PUT", "/api/v1/entity-types/"+name, definition); answer.Status != 201 {
			t.Fatalf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	return a
}

func (a *audited) made(typeName, name string) string {
	receipt, answer := a.create(`{"type":"` + typeName + `","attributes":{"name":"` + name + `"}}`)
	a.position = answer.Header.Get("Hub-Position")
	return receipt.ID
}

// reads calls a path and gives what was recorded of it.
func (a *audited) reads(path string, headers ...string) []string {
	a.t.Helper()
	a.recorded = nil
	answer := a.call("GET", path, "", append(headers, "Hub-Min-Position", a.position)...)
	if answer.Status != 200 && answer.Status != 304 {
		a.t.Fatalf("%s: %d %s", path, answer.Status, answer.Body)
	}
	return a.recorded
}

// Where a type says so, every way of reading an entity is recorded before it is answered,
// whoever reads, and names the entities that were shown and no others.
func TestEveryReadIsRecordedWhereTheTypeSaysSo(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	first, second, note := a.made("file", "one"), a.made("file", "two"), a.made("note", "three")
	for _, target := range []string{first, second} {
		answer := a.call("POST", "/api/v1/entities/"+note+"/relationships", `{"kind":"about","target_id":"`+target+`"}`)
		if a.position = answer.Header.Get("Hub-Position"); answer.Status != 200 {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
	}
	both := []string{first, second}
	slices.Sort(both)
	one, list, history := "/api/v1/entities/{id}", "/api/v1/entities", "/api/v1/entities/{id}/history"
	a.admin = a.issuer.tokenOf(t, identity.TokenRequest{Sub: "vera", Org: "acme", Roles: []string{"viewer"}})
	for path, want := range map[string]string{
		list + "/" + first:                                 one + " 0 " + first,
		list + "/" + first + "?fields=id":                  one + " 0 " + first,
		list + "/" + first + "?at_version=1":               one + " 0 " + first,
		list + "/" + first + "/history":                    history + " 0 " + first,
		list + "/" + note + "/history":                     "",
		list + "?type=file":                                list + " 0 " + strings.Join(both, ","),
		list + "?count=true":                               list + " 0 " + strings.Join(both, ","),
		list + "?q=one":                                    list + " 0 " + first,
		list + "?type=note":                                "",
		list + "?id=" + second + "," + note:                list + " 0 " + second,
		list + "?key=nobody":                               "",
		list + "/" + note:                                  "",
		list + "/" + note + "/relationships":               list + "/{id}/relationships 0 " + strings.Join(both, ","),
		list + "/" + note + "/relationships?expand=target": list + "/{id}/relationships 0 " + strings.Join(both, ","),
		list + "/" + first + "/relationships":              list + "/{id}/relationships 0 " + first,
		list + "/" + first + "/relationships?direction=in": list + "/{id}/relationships 0 " + first,
	} {
		var expected []string
		if want != "" {
			expected = []string{"acme vera GET " + want}
		}
		if got := a.reads(path); !slices.Equal(got, expected) {
			t.Errorf("%s: recorded %q, want %q", path, got, expected)
		}
	}

	// A 304 shows nothing.
	for _, path := range []string{list + "/" + first, list + "?type=file", list + "/" + first + "/history", list + "/" + note + "/relationships", list + "/" + first + "?fields=id"} {
		tag := a.call("GET", path, "").Header.Get("ETag")
		if got := a.reads(path, "If-None-Match", tag); len(got) > 0 {
			t.Errorf("%s: a 304 was recorded: %q", path, got)
		}
	}

	// What cannot be recorded is not answered; all else is.
	a.away = errors.New("the log is away")
	for _, path := range []string{list + "/" + first, list + "?type=file", list + "/" + first + "/history", list + "/" + note + "/relationships"} {
		a.call("GET", path, "").expect(503, "recorded_reads_unavailable")
	}
	a.reads(list + "/" + note)
}

// The state of a time is a read of it, too.
func TestReadsOfThePastAreRecorded(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	first := a.made("file", "one")
	var shown struct {
		CreatedAt string `json:"created_at"`
	}
	a.call("GET", "/api/v1/entities/"+first, "", "Hub-Min-Position", a.position).json(&shown)
	for path, route := range map[string]string{
		"/api/v1/entities/" + first + "?as_of=" + shown.CreatedAt:        "/api/v1/entities/{id}",
		"/api/v1/entities?type=file&as_of=" + shown.CreatedAt:            "/api/v1/entities",
		"/api/v1/entities?as_of=" + shown.CreatedAt + "&sort=updated_at": "/api/v1/entities",
	} {
		if got, want := a.reads(path), []string{"acme ana GET " + route + " 0 " + first}; !slices.Equal(got, want) {
			t.Errorf("%s: recorded %q, want %q", path, got, want)
		}
	}
	// What the type says now counts, also for the past.
	answer := a.call("PUT", "/api/v1/entity-types/file", `{"title":"F","schema":{"type":"object"},"search":["name"],"force":true}`)
	a.position = answer.Header.Get("Hub-Position")
	for _, path := range []string{"/api/v1/entities?type=file&as_of=" + shown.CreatedAt, "/api/v1/entities/" + first, "/api/v1/entities/" + first + "/history"} {
		if got := a.reads(path); len(got) > 0 {
			t.Errorf("%s: recorded %q", path, got)
		}
	}
}

// Whoever is answered a write with the entity has read it, also when nothing had to change.
func TestAnswersToWritesAreReads(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	first, note := a.made("file", "one"), a.made("note", "three")
	prefer := []string{"Prefer", "return=representation"}
	path := "/api/v1/entities/"
	writes := []struct{ method, path, body, route string }{
		{"PATCH", path + first, `{"tags":["x"]}`, "PATCH /api/v1/entities/{id}"},
		{"PATCH", path + first, `{"tags":["x"]}`, "PATCH /api/v1/entities/{id}"},
		{"PATCH", path + first + "?dry_run=true", `{"tags":["y"]}`, "PATCH /api/v1/entities/{id}"},
		{"PUT", path + first + "/acl", `{"entries":[]}`, "PUT /api/v1/entities/{id}/acl"},
		{"POST", path + first + "/archive", "", "POST /api/v1/entities/{id}/archive"},
		{"POST", path + first + "/restore", "", "POST /api/v1/entities/{id}/restore"},
	}
	for _, w := range writes {
		a.recorded = nil
		answer := a.call(w.method, w.path, w.body, prefer...)
		if answer.receipt().Resource == nil {
			t.Errorf("%s %s: no resource", w.method, w.path)
		}
		if want := []string{"acme ana " + w.route + " 0 " + first}; !slices.Equal(a.recorded, want) {
			t.Errorf("%s %s: recorded %q, want %q", w.method, w.path, a.recorded, want)
		}
		a.recorded = nil
		if a.call(w.method, w.path, w.body); len(a.recorded) > 0 {
			t.Errorf("%s %s without a representation: recorded %q", w.method, w.path, a.recorded)
		}
	}
	// An answer that is given again is a read again.
	keyed := append(slices.Clone(prefer), "Idempotency-Key", "k")
	for range 2 {
		a.recorded = nil
		answer := a.call("PATCH", path+first, `{"tags":["z"]}`, keyed...)
		if answer.receipt().Resource == nil || len(a.recorded) != 1 {
			t.Errorf("recorded %q: %s", a.recorded, answer.Body)
		}
	}
	a.recorded = nil
	for range 2 {
		if a.call("PATCH", path+note, `{"tags":["z"]}`, keyed[0], keyed[1], "Idempotency-Key", "of-a-note").receipt().Resource == nil || len(a.recorded) > 0 {
			t.Errorf("recorded %q", a.recorded)
		}
	}
	// The write is done whether or not it can be recorded that its outcome was seen.
	a.away = errors.New("the log is away")
	answer := a.call("PATCH", path+first, `{"tags":["w"]}`, prefer...)
	if receipt := answer.receipt(); receipt.Resource != nil || len(receipt.Events) != 1 || answer.Header.Get("Preference-Applied") != "" {
		t.Errorf("%s", answer.Body)
	}
}
