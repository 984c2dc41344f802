package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

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
		SET attributes = attributes || '{"iban":"***"}', sealed = jsonb_build_object('iban', jsonb_build_object('$sealed', 'text', 'subject', id, 'pointer', '/attributes/iban'))`)
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
	e.admin = e.issuer.tokenOf(t, identity.TokenRequest{Sub: "pia", Org: "acme", Roles: []string{"privacy", "editor"}})
	// Who has seen the mask is not told that nothing has changed.
	whole := e.call("GET", path, "", "If-None-Match", `"1"`)
	if whole.Status != 200 || whole.Header.Get("ETag") != `"1.clear"` || shown(whole) != "clear" {
		t.Errorf("%d %v %s", whole.Status, whole.Header, whole.Body)
	}
	told = nil
	if same := e.call("GET", path, "", "If-None-Match", `"1.clear"`); same.Status != 304 || slices.ContainsFunc(told, func(s string) bool { return s[0] == 'r' }) {
		t.Errorf("%d %q", same.Status, told)
	}
	if dry := e.call("PATCH", path+"?dry_run=true", `{"tags":["x"]}`, "If-Match", `"1.clear"`); dry.Status != 200 {
		t.Errorf("%d %s", dry.Status, dry.Body)
	}
	for target, route := range map[string]string{path: "GET /api/v1/entities/{id}", "/api/v1/entities": "GET /api/v1/entities"} {
		told = nil
		if got := shown(e.call("GET", target, "")); got != "clear" {
			t.Errorf("%s: %q", target, got)
		}
		if want := []string{"opened acme text", "recorded acme pia " + receipt.ID + " iban " + route}; !slices.Equal(told, want) {
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

// What is private of a transaction is shown to privacy where it is read alone, and recorded
// first; lists show the mask to everybody.
func TestPrivateIsShownWhenThatIsRecorded(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	plain, id := b.post("2026-01-01", "debit 1000 1.00, credit 4000 1.00"), b.post("2026-01-31", "debit 1000 1.00, credit 4000 1.00")
	path := "/api/v1/transactions/" + id
	var told []string
	var opened json.RawMessage
	var away error
	b.api.clear.Open = func(_ context.Context, _ string, values []domain.Sealed) ([]json.RawMessage, error) {
		told = append(told, "opened "+values[0].Text)
		return []json.RawMessage{opened}, nil
	}
	b.api.clear.Record = func(_ context.Context, org string, actor domain.Actor, _ string, seen []Seen) error {
		told = append(told, fmt.Sprintf("recorded %s %s %v %v %s", org, actor.Sub, seen[0].Subjects, seen[0].Attributes, seen[0].Route))
		return away
	}
	b.read(path, new(struct{}))
	_, err := hubtest.Pool(t, b.url, "").Exec(t.Context(), `UPDATE ledger_v1.transactions
		SET private = '{"$sealed":"text","subject":"s-1","within":["s-2"],"sensitive":true}' WHERE id = $1`, id)
	require.NoError(t, err)
	private := func(target string) string {
		t.Helper()
		var body struct {
			Private json.RawMessage
			Items   []struct{ Private json.RawMessage }
		}
		b.read(target, &body)
		if len(body.Items) > 0 {
			return string(body.Items[0].Private)
		}
		return string(body.Private)
	}
	require.Equal(t, `"***"`, private(path))
	b.as("pia", "privacy")
	opened = json.RawMessage(`{"case":"A-17"}`)
	require.Equal(t, `"***"`, private("/api/v1/transactions"))
	require.Empty(t, private(path+"?fields=id,description"))
	require.Equal(t, `{}`, private("/api/v1/transactions/"+plain))
	require.Empty(t, told)
	require.JSONEq(t, `{"case":"A-17"}`, private(path))
	require.Equal(t, []string{"opened text", "recorded acme pia [s-1 s-2] [private] GET /api/v1/transactions/{id}"}, told)
	opened = nil
	require.Equal(t, `null`, private(path+"?fields=private"), "it was erased")
	away = errors.New("the log is away")
	b.refused(503, "clear_reads_unavailable", "GET", path, "")
}
