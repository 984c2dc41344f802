package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// What is shown was recorded before, and what cannot be recorded is not shown: while the
// log is away, clear reads are refused, and all others go on.
func TestNothingIsShownThatIsNotRecorded(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.project(t)
	var told []string
	var away error
	e := newEdge(t, func(o *Options) {
		o.Loop, o.Reads = s.loop, s.reads
		o.Clear.Open = func(_ context.Context, org string, values []domain.Sealed) ([]json.RawMessage, error) {
			told = append(told, "opened "+org+" "+values[0].Text)
			return []json.RawMessage{json.RawMessage(`"clear"`)}, nil
		}
		o.Clear.Record = func(_ context.Context, org string, actor domain.Actor, _ string, shown []Seen) error {
			seen := shown[0]
			told = append(told, "recorded "+org+" "+actor.Sub+" "+seen.Subjects[0]+" "+seen.Attributes[0]+" "+seen.Route)
			return away
		}
	})
	e.defineCustomer()
	receipt, answer := e.create(`{"type":"customer","attributes":{"name":"Ana"}}`)
	path := "/api/v1/entities/" + receipt.ID
	if read := e.call("GET", path, "", "Hub-Min-Position", answer.Header.Get("Hub-Position")); read.Status != 200 {
		t.Fatalf("%d %s", read.Status, read.Body)
	}
	_, err := hubtest.Pool(t, s.url, "").Exec(t.Context(), `UPDATE entities_v1.entities
		SET attributes = attributes || '{"iban":"***"}', sealed = '{"iban":{"$sealed":"text","subject":"sub-1"}}'`)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(answer *reply) (iban string) {
		var body struct {
			Attributes struct{ IBAN string }
			Items      []struct{ Attributes struct{ IBAN string } }
		}
		if answer.json(&body); len(body.Items) > 0 {
			return body.Items[0].Attributes.IBAN
		}
		return body.Attributes.IBAN
	}
	if got := shown(e.call("GET", path, "")); got != "***" || len(told) > 0 {
		t.Errorf("an admin sees %q, and %q was done", got, told)
	}
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "pia", Org: "acme", Roles: []string{"privacy"}})
	for target, route := range map[string]string{path: "GET /api/v1/entities/{id}", "/api/v1/entities": "GET /api/v1/entities"} {
		told = nil
		if got := shown(e.call("GET", target, "")); got != "clear" {
			t.Errorf("%s: %q", target, got)
		}
		if want := []string{"opened acme text", "recorded acme pia sub-1 iban " + route}; !slices.Equal(told, want) {
			t.Errorf("%s: %q", target, told)
		}
		told, away = nil, errors.New("the log is away")
		e.call("GET", target, "").expect(503, "clear_reads_unavailable")
		if answer := e.call("GET", target+"?fields=id,attributes.name", ""); answer.Status != 200 {
			t.Errorf("what shows nothing: %d %s", answer.Status, answer.Body)
		}
		away = nil
	}
}
