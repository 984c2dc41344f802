package httpapi

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/internal/identity"
)

// as is the header of somebody of acme.
func (e *edge) as(sub string, roles []string, groups ...string) []string {
	return []string{"Authorization", "Bearer " + e.issuer.tokenOf(e.t, identity.TokenRequest{Sub: sub, Org: "acme", Roles: roles, Groups: groups})}
}

func (e *edge) share(id, entries string, headers ...string) *reply {
	e.t.Helper()
	return e.call("PUT", "/api/v1/entities/"+id+"/acl", `{"entries":[`+entries+`]}`, headers...)
}

func TestSharingAnEntity(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	made, answer := e.create(`{"type":"customer","key":"C-1","attributes":{"name":"Ana"}}`)
	path := answer.Header.Get("Location")
	shared := e.share(made.ID, `{"principal":"user:bob","permissions":["write"]},{"principal":"group:sales","permissions":["read"]}`, "If-Match", `"1"`)
	receipt := shared.receipt()
	if shared.Status != 200 || receipt.Version != 2 || receipt.Events[0].Type != "entity.access_changed" || shared.Header.Get("ETag") != `"2"` {
		t.Fatalf("%d %s", shared.Status, shared.Body)
	}
	seen := after(*receipt.Position)
	if got := e.call("GET", path+"/acl", "", seen...); got.Header.Get("ETag") != `"2"` ||
		string(got.Body) != `{"entries":[{"principal":"group:sales","permissions":["read"]},{"principal":"user:bob","permissions":["write"]}]}` {
		t.Errorf("%v %s", got.Header, got.Body)
	}
	if noop := e.share(made.ID, `{"principal":"group:sales","permissions":["read","read"]},{"principal":"user:bob","permissions":["write"]}`).receipt(); len(noop.Events) != 0 {
		t.Errorf("%+v", noop)
	}

	// Who is not named has nothing of it, whatever the roles.
	eve := e.as("eve", []string{"editor", "privacy", "analyst"}, "marketing")
	missing := e.call("GET", "/api/v1/entities/"+someID, "", append(eve, seen...)...).problem()
	for _, request := range [][2]string{
		{"GET", path}, {"GET", path + "?at_version=1"}, {"GET", path + "/history"}, {"GET", path + "/relationships"}, {"GET", path + "/acl"}, {"GET", path + "/access"},
		{"GET", path + "/access?principal=user:bob"}, {"PATCH", path}, {"DELETE", path}, {"POST", path + "/archive"}, {"PUT", path + "/acl"}, {"POST", path + "/relationships"},
	} {
		body := map[string]string{"PATCH": `{"tags":["x"]}`, "PUT": `{"entries":[]}`, "POST": `{"kind":"owner","target_id":"` + someID + `"}`}[request[0]]
		if strings.HasSuffix(request[1], "/archive") {
			body = ""
		}
		headers := eve
		if request[0] == "GET" {
			headers = slices.Concat(eve, seen)
		}
		hidden := e.call(request[0], request[1], body, headers...).expect(404, "not_found")
		if !strings.Contains(request[1], "at_version") && hidden.Detail != missing.Detail {
			t.Errorf("%v: %s", request, hidden.Detail)
		}
	}
	if list := e.call("GET", "/api/v1/entities?count=true", "", append(eve, seen...)...); string(list.Body) != `{"items":[],"next_cursor":null,"count":0}` {
		t.Errorf("%s", list.Body)
	}
	taken := e.call("POST", "/api/v1/entities", `{"type":"customer","key":"C-1","attributes":{}}`, eve...)
	if taken.expect(409, "key_taken"); strings.Contains(string(taken.Body), made.ID) {
		t.Errorf("%s", taken.Body)
	}

	// Who is named needs no role beside that of reading at all.
	if got := e.call("PATCH", path, `{"attributes":{"name":"Eva"}}`, e.as("bob", []string{"viewer"})...); got.Status != 200 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	e.call("PATCH", path, `{"attributes":{"name":"Eva"}}`, e.as("bob", []string{"auditor"})...).expect(403, "forbidden")
	e.call("PATCH", path, `{"attributes":{"name":"Eva"}}`, e.as("eve", []string{"editor"}, "sales")...).expect(403, "forbidden")
	e.share(made.ID, ``, e.as("bob", []string{"editor"})...).expect(403, "forbidden")
	// And out of the group is out, with the next token.
	if got := e.call("GET", path, "", append(e.as("eve", []string{"viewer"}, "sales"), seen...)...); got.Status != 200 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	changed := e.share(made.ID, `{"principal":"group:sales","permissions":["read"]}`).receipt()
	for _, groups := range [][]string{nil, {"user:sales"}, {"Sales"}} {
		e.call("GET", path, "", append(e.as("eve", []string{"viewer"}, groups...), after(*changed.Position)...)...).expect(404, "not_found")
	}
}

func TestRefusedSharing(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	made, _ := e.create(`{"type":"customer","attributes":{}}`)
	e.share(made.ID, `{"principal":"team:x","permissions":["read"]}`).expect(422, "invalid_acl")
	e.share(made.ID, `{"principal":"role:editors","permissions":["read"]}`).expect(422, "invalid_acl")
	e.share(made.ID, `{"principal":"user:ana","permissions":["paint"]}`).expect(422, "invalid_acl")
	e.share(made.ID, `{"principal":"user:ana","permissions":[]}`).expect(422, "invalid_acl")
	e.call("PUT", "/api/v1/entities/"+made.ID+"/acl", `{}`).expect(422, "invalid_request")
	e.call("PUT", "/api/v1/entities/"+made.ID+"/acl", `{"entries":null}`).expect(422, "invalid_request")
	e.share(made.ID, ``, "If-Match", `"7"`).expect(412, "version_conflict")
	e.share(made.ID, ``, e.as("eve", []string{"viewer"})...).expect(403, "forbidden")
	if got := e.share(made.ID, `{"principal":"user:bob","permissions":["share"]},{"principal":"user:eve","permissions":["read"]}`); got.Status != 200 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	bob := e.as("bob", []string{"editor"})
	e.share(made.ID, `{"principal":"user:bob","permissions":["write","share"]}`, bob...).expect(403, "cannot_grant")
	e.share(made.ID, ``, bob...).expect(403, "cannot_grant")
	if got := e.share(made.ID, `{"principal":"user:bob","permissions":["share"]}`, bob...); got.Status != 200 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

// explained is an answer of access, as "allowed because" of read, write and share.
func (e *edge) explained(id, principal string, headers ...string) (EntityAccess, string) {
	e.t.Helper()
	answer := e.call("GET", "/api/v1/entities/"+id+"/access?principal="+url.QueryEscape(principal), "", headers...)
	if answer.Status != 200 {
		e.t.Fatalf("%s: %d %s", principal, answer.Status, answer.Body)
	}
	var access EntityAccess
	answer.json(&access)
	var texts []string
	for _, v := range []Verdict{access.Read, access.Write, access.Share} {
		texts = append(texts, map[bool]string{true: "yes ", false: "no "}[v.Allowed]+v.Because)
	}
	return access, strings.Join(texts, ", ")
}

func TestExplainingAccess(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	bare, _ := e.create(`{"type":"customer","attributes":{}}`)
	made, _ := e.create(`{"type":"customer","attributes":{}}`)
	receipt := e.share(made.ID, `{"principal":"user:bob","permissions":["write"]},{"principal":"group:sales","permissions":["read","write"]},{"principal":"role:viewer","permissions":["write"],"deny":true}`).receipt()
	seen := after(*receipt.Position)
	for _, test := range []struct{ id, principal, want string }{
		{bare.ID, "role:editor", "yes role, yes role, yes role"},
		{bare.ID, "role:viewer", "yes role, no no_role, no no_role"},
		{bare.ID, "group:sales", "no no_role, no no_role, no no_role"},
		{made.ID, "", "yes admin, yes admin, yes admin"},
		{made.ID, "role:admin", "yes admin, yes admin, yes admin"},
		{made.ID, "user:bob", "yes allowed, yes allowed, no not_named"},
		{made.ID, "group:sales", "yes allowed, yes allowed, no not_named"},
		{made.ID, "role:viewer", "no not_named, no denied, no not_named"},
		{made.ID, "role:editor", "no not_named, no not_named, no not_named"},
	} {
		if _, got := e.explained(test.id, test.principal, seen...); got != test.want {
			t.Errorf("%s of %s: %s, want %s", test.principal, test.id, got, test.want)
		}
	}
	access, _ := e.explained(made.ID, "user:bob", seen...)
	if access.Known || len(access.Write.Entries) != 1 || access.Write.Entries[0].Principal != "user:bob" || access.Share.Entries == nil {
		t.Errorf("%+v", access)
	}
	// The own access anybody may ask for, with what the own token says.
	own, text := e.explained(made.ID, "", append(e.as("bob", []string{"viewer"}), seen...)...)
	if text != "yes allowed, no denied, no not_named" || own.Principal != "user:bob" || !own.Known || own.Roles[0] != "viewer" {
		t.Errorf("%s %+v", text, own)
	}
	bob := append(e.as("bob", []string{"viewer"}), seen...)
	e.call("GET", "/api/v1/entities/"+made.ID+"/access?principal=user:eve", "", bob...).expect(403, "forbidden")
	e.call("GET", "/api/v1/entities/"+made.ID+"/access?principal=group:sales", "", bob...).expect(403, "forbidden")
	e.call("GET", "/api/v1/entities/"+made.ID+"/acl", "", bob...).expect(403, "forbidden")
	// Entries let nobody do what the API keeps from all of their roles.
	receipt = e.share(bare.ID, `{"principal":"role:auditor","permissions":["write","share"]}`).receipt()
	seen = after(*receipt.Position)
	_, text = e.explained(bare.ID, "", append(e.as("olga", []string{"auditor"}), seen...)...)
	if text != "yes allowed, no no_role, no no_role" {
		t.Errorf("%s", text)
	}
	if _, text = e.explained(bare.ID, "role:auditor", seen...); text != "yes allowed, no no_role, no no_role" {
		t.Errorf("%s", text)
	}
	for _, principal := range []string{"bob", "user:", "team:x", "group:%00", ":", "role:boss"} {
		answer := e.call("GET", "/api/v1/entities/"+made.ID+"/access?principal="+principal, "", seen...)
		if answer.Status != 422 && answer.Status != 400 {
			t.Errorf("%s: %d %s", principal, answer.Status, answer.Body)
		}
	}
	e.call("GET", "/api/v1/entities/"+someID+"/access?principal=user:eve", "", seen...).expect(404, "not_found")
}

// What one may not see cannot be referred to, and is not met on the way.
func TestRelationshipsToWhatIsHidden(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	ids := e.companies(4)
	e.relate(ids[0], "partner", ids[1])
	e.relate(ids[1], "partner", ids[2])
	e.relate(ids[0], "partner", ids[2])
	receipt := e.share(ids[1], `{"principal":"user:bob","permissions":["read"]}`).receipt()
	eve := e.as("eve", []string{"editor"})
	missing := e.relate(ids[3], "partner", someID, eve...).expect(422, "unknown_target")
	if hidden := e.relate(ids[3], "partner", ids[1], eve...).expect(422, "unknown_target"); hidden.Detail != missing.Detail {
		t.Errorf("%s", hidden.Detail)
	}
	admin, token := e.admin, eve[1]
	for query, want := range map[string]int{"?depth=2": 1, "": 1, "?direction=in": 0} {
		e.admin = strings.TrimPrefix(token, "Bearer ")
		if found, _ := e.related(ids[0], query, *receipt.Position); len(found) != want {
			t.Errorf("%s: %v", query, found)
		}
	}
	if found, _ := e.related(ids[2], "?direction=in&depth=3", *receipt.Position); len(found) != 1 {
		t.Errorf("%v", found)
	}
	history := func() string {
		return string(e.call("GET", "/api/v1/entities/"+ids[0]+"/history", "", after(*receipt.Position)...).Body)
	}
	if got := history(); strings.Contains(got, ids[1]) || !strings.Contains(got, ids[2]) || !strings.Contains(got, `"to":"***"`) {
		t.Errorf("%s", got)
	}
	e.admin = admin
	if got := history(); !strings.Contains(got, ids[1]) {
		t.Errorf("%s", got)
	}
	if found, _ := e.related(ids[0], "?depth=2", *receipt.Position); len(found) != 3 {
		t.Errorf("%v", found)
	}
}
