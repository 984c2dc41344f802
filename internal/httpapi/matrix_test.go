package httpapi

import (
	"slices"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// pathOf is a path of the route with names that are nobody's.
func (r *route) pathOf() string {
	return strings.NewReplacer("{id}", someID, "{name}", "customer", "{view}", "entities", "{kind}", "employer", "{target_id}", someID).Replace(r.Path)
}

// Every route, for every role and for nobody: whoever lacks the permission gets
// 403 whatever is sent, and whoever holds it never does.
func TestEveryRouteForEveryRole(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	roles := append(commands.Roles(), "", "unknown")
	tokens := map[string]string{}
	for _, role := range roles {
		tokens[role] = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: slices.DeleteFunc([]string{role}, func(r string) bool { return r == "" })})
	}
	checked := 0
	for _, line := range e.api.routes() {
		if line.Kind == personal || !line.authenticated() {
			continue
		}
		if !slices.Contains(commands.Permissions(), line.Permission) {
			t.Errorf("%s needs the permission %q, which is none", line.ID, line.Permission)
		}
		// What is not well formed is found only after it is known who asks: a query
		// that no route takes ends those who may before anything is done.
		target := line.pathOf() + "?not-a-parameter=1"
		e.call(line.Method, target, "", "Authorization", "").expect(401, "missing_token")
		for _, role := range roles {
			checked++
			answer := e.call(line.Method, target, "", "Authorization", "Bearer "+tokens[role])
			if commands.Allowed(line.Permission, []string{role}) {
				answer.expect(422, "unknown_parameter")
			} else {
				answer.expect(403, "forbidden")
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d cases: the list of routes is not what it was", checked)
	}
}

// What belongs to one organisation is not there for another, whatever the role.
func TestEveryEntityRouteForAnotherOrganisation(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	receipt, _ := e.create(`{"type":"customer","key":"C-1","attributes":{}}`)
	e.call("GET", "/api/v1/entities/"+receipt.ID, "", after(receipt.Position)...)
	bodies := map[string]string{"patchEntity": `{"tags":["x"]}`, "addRelationship": `{"kind":"employer","target_id":"` + receipt.ID + `"}`, "shareEntity": `{"entries":[]}`}
	checked := 0
	for _, role := range commands.Roles() {
		e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "other", Roles: []string{role}})
		for _, line := range e.api.routes() {
			if !strings.HasPrefix(line.Path, "/api/v1/entities/{id}") || !commands.Allowed(line.Permission, []string{role}) {
				continue
			}
			checked++
			e.call(line.Method, strings.Replace(line.pathOf(), someID, receipt.ID, 1), bodies[line.ID]).expect(404, "not_found")
		}
	}
	if checked < 16 {
		t.Errorf("only %d cases", checked)
	}
}
