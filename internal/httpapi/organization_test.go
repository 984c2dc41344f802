package httpapi

import (
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/internal/identity"
)

func TestOrganizationSettings(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	const path = "/api/v1/organization"
	first := e.call("GET", path, "")
	if want := `{"id":"acme","timezone":"UTC","fiscal_year_start":"01-01","base_currency":null,"version":0,"updated_at":null,"updated_by":null}`; string(first.Body) != want || first.Header.Get("ETag") != `"0"` {
		t.Fatalf("%s %v", first.Body, first.Header)
	}
	const settings = `{"timezone":"Europe/Paris","fiscal_year_start":"04-01","base_currency":"EUR"}`
	changed := e.call("PUT", path, settings, "If-Match", first.Header.Get("ETag"), "Prefer", "return=representation")
	var receipt struct {
		ID       string
		Version  int64
		Events   []struct{ Type string }
		Resource struct{ Timezone string }
	}
	changed.json(&receipt)
	if changed.Status != 200 || receipt.ID != "acme" || receipt.Version != 1 || len(receipt.Events) != 1 || receipt.Events[0].Type != "organization.updated" ||
		receipt.Resource.Timezone != "Europe/Paris" || changed.Header.Get("ETag") != `"1"` || changed.Header.Get("Location") != "" {
		t.Fatalf("%d %v %s", changed.Status, changed.Header, changed.Body)
	}
	now := e.call("GET", "/api/organization/", "", "Hub-Min-Position", changed.Header.Get("Hub-Position"))
	if !strings.Contains(string(now.Body), `"timezone":"Europe/Paris","fiscal_year_start":"04-01","base_currency":"EUR","version":1,`) || !strings.Contains(string(now.Body), `"updated_by":"ana"`) {
		t.Errorf("%s", now.Body)
	}
	if got := e.shown(path + "?fields=timezone"); got != `{"timezone":"Europe/Paris"}` {
		t.Errorf("%s", got)
	}
	e.call("PUT", path, settings, "If-Match", `"0"`).expect(412, "version_conflict")
	if again := e.call("PUT", path, settings, "If-Match", `"1"`); again.Status != 200 || !strings.Contains(string(again.Body), `"events":[]`) {
		t.Errorf("%d %s", again.Status, again.Body)
	}
	if reset := e.call("PUT", path, `{"base_currency":null}`); reset.Status != 200 {
		t.Errorf("%d %s", reset.Status, reset.Body)
	}
	for body, code := range map[string]string{
		`{"timezone":"Mars/Olympus"}`: "invalid_settings", `{"timezone":""}`: "invalid_request", `{"fiscal_year_start":"13-01"}`: "invalid_settings",
		`{"base_currency":"euro"}`: "invalid_settings", `{"currency":"EUR"}`: "unknown_field", `{"timezone":7}`: "invalid_request",
	} {
		e.call("PUT", path, body).expect(422, code)
	}
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ben", Org: "other", Roles: []string{"editor"}})
	if got := e.shown(path + "?fields=id,timezone"); got != `{"id":"other","timezone":"UTC"}` {
		t.Errorf("another organisation: %s", got)
	}
	e.call("PUT", path, settings).expect(403, "forbidden")
}

func TestMe(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	as := func(r identity.TokenRequest) string { return "Bearer " + e.issuer.tokenOf(t, r) }
	var me Me
	answer := e.call("GET", "/api/me/", "", "Authorization", as(identity.TokenRequest{
		Sub: "ana", Org: "acme", Person: "p-7", Name: "Ana", Email: "ana@example.com", Roles: []string{"editor", "ghost"}, Groups: []string{"sales"}, MFA: true,
	}))
	answer.json(&me)
	if answer.Status != 200 || me.Sub != "ana" || me.Person != "p-7" || me.Name != "Ana" || me.Email != "ana@example.com" || me.Org != "acme" || !me.MFA ||
		strings.Join(me.Roles, " ") != "editor ghost" || strings.Join(me.Groups, " ") != "sales" || me.Expires.IsZero() || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", answer.Status, answer.Header, answer.Body)
	}
	if got := string(answer.Body); !strings.Contains(got, `"permissions":["accounts.read","entities.change","entities.read","entities.write","entity_types.read","organization.read","transactions.post","transactions.read","transactions.write"]`) {
		t.Errorf("%s", got)
	}
	// Even who may do nothing may know that.
	nobody := e.call("GET", "/api/v1/me", "", "Authorization", as(identity.TokenRequest{Sub: "eva", Org: "acme"}))
	if got := string(nobody.Body); nobody.Status != 200 || !strings.Contains(got, `"person_id":"eva"`) || !strings.Contains(got, `"roles":[],"groups":[],"permissions":[],"mfa":false`) {
		t.Errorf("%d %s", nobody.Status, nobody.Body)
	}
	e.call("GET", "/api/v1/me", "", "Authorization", "").expect(401, "missing_token")
	e.call("GET", "/api/v1/me?verbose=1", "").expect(422, "unknown_parameter")
	e.call("PUT", "/api/v1/me", "{}").expect(405, "method_not_allowed")
}
