package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// write is a request of a route that changes something.
type write struct{ id, path, body string }

// newWrites makes something of everything, and a request of each route that takes commands,
// but for many at once, which work in this order.
func newWrites(t *testing.T) (*belongings, []write) {
	t.Helper()
	b := newBelongings(t, newBooks(t))
	made := func(action string) string {
		return transactionsPath + "/" + b.done("POST", transactionsPath, b.body(action, "2026-01-02", "debit 1000 5, credit 4000 5", "")).ID
	}
	owned, account := entitiesPath+"/"+b.own[entitiesPath], accountsPath+"/"+b.own[accountsPath]
	draft, submitted, rejected, voided := made("draft"), made("submit"), made("submit"), made("draft")
	writes := []write{
		{"defineEntityType", "/api/v1/entity-types/shown", `{"title":"Shown"}`},
		{"updateOrganization", organizationPath, `{"timezone":"Europe/Paris"}`},
		{"createEntity", entitiesPath, `{"type":"customer","attributes":{}}`},
		{"patchEntity", owned, `{"tags":["shown"]}`},
		{"shareEntity", owned + "/acl", `{"entries":[{"principal":"role:editor","permissions":["read"]}]}`},
		{"removeRelationship", owned + "/relationships/employer/" + b.target, ""},
		{"addRelationship", owned + "/relationships", `{"kind":"employer","target_id":"` + b.target + `"}`},
		{"archiveEntity", owned + "/archive", ""},
		{"restoreEntity", owned + "/restore", ""},
		{"deleteEntity", owned, ""},
		{"startBulkUpdate", bulkUpdatesPath, `{"filter":{"type":"customer"},"tags":["y"]}`},
		{"cancelBulkUpdate", bulkUpdatesPath + "/" + b.own[bulkUpdatesPath] + "/cancel", ""},
		{"setPolicy", transactionsPath + "/policy", `{"currency":"EUR","approval_above":"1.00","approvals_needed":1}`},
		{"createTransaction", transactionsPath, b.body("draft", "2026-01-02", "debit 1000 5, credit 4000 5", "")},
		{"patchTransaction", draft, `{"description":"d"}`},
		{"submitTransaction", draft + "/submit", ""},
		{"approveTransaction", submitted + "/approve", ""},
		{"postTransaction", submitted + "/post", ""},
		{"reverseTransaction", submitted + "/reverse", `{"date":"2026-01-03"}`},
		{"rejectTransaction", rejected + "/reject", ""},
		{"voidTransaction", voided + "/void", ""},
		{"closePeriods", transactionsPath + "/periods", `{"closed_through":"2026-01-02"}`},
		{"openAccount", accountsPath, `{"code":"9","name":"N","kind":"asset","currency":"EUR"}`},
		{"closeAccount", account + "/close", ""},
		{"reopenAccount", account + "/reopen", ""},
	}
	for _, line := range b.api.routes() {
		if line.Kind == command && line.LinesOf == nil {
			require.True(t, slices.ContainsFunc(writes, func(w write) bool { return w.id == line.ID }), "there is no request of %s", line.ID)
		}
	}
	return b, writes
}

// makes reports whether a write makes something of its own.
func (w write) makes() bool {
	return slices.Contains([]string{"defineEntityType", "createEntity", "startBulkUpdate", "createTransaction", "openAccount", "reverseTransaction"}, w.id)
}

// lineOf is the route of a write.
func (b *belongings) lineOf(w write) *route {
	return b.api.routes()[slices.IndexFunc(b.api.routes(), func(line *route) bool { return line.ID == w.id })]
}

// begin is before each write: nobody approves what they have submitted.
func (b *belongings) begin(w write) {
	if w.id == "approveTransaction" {
		b.as("ben", "admin")
	}
}

// Every write shows what it is about where that is asked for; and what a read then answers
// is the same.
func TestEveryWriteShowsWhatItIsAbout(t *testing.T) {
	t.Parallel()
	b, writes := newWrites(t)
	const prefer = "return=representation, wait=30"
	for _, w := range writes {
		b.begin(w)
		line := b.lineOf(w)
		answer := b.call(line.Method, w.path, w.body, "Prefer", prefer)
		receipt := answer.receipt()
		if receipt.Resource == nil || answer.Header.Get("Preference-Applied") != "return=representation" {
			t.Errorf("%s: %v %s", w.id, answer.Header, answer.Body)
			continue
		}
		collection := line.collectionOf()
		if collection == "" {
			collection = w.path
		}
		if line.Method != http.MethodPut {
			seen := b.call("GET", collection+"/"+receipt.ID, "", "Hub-Min-Position", fmt.Sprint(*receipt.Position), "Prefer", "wait=30")
			sameJSON(t, w.id, receipt.Resource, seen.Body)
		}
	}
	// What would be closed is shown as it would be, with what is on it.
	var would struct {
		Resource struct{ Status, Balance string }
	}
	answer := b.call("POST", accountsPath+"/"+b.own[accountsPath]+"/close?dry_run=true", "", "Prefer", prefer)
	if answer.json(&would); would.Resource.Status != "closed" || would.Resource.Balance != "0.00" {
		t.Errorf("%s", answer.Body)
	}
}

// Every write takes what all writes take, and means it.
func TestEveryWriteDoesWhatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	b, writes := newWrites(t)
	for _, w := range writes {
		b.begin(w)
		line := b.lineOf(w)
		call := func(query string, headers ...string) *reply {
			return b.call(line.Method, w.path+query, w.body, append(headers, "Hub-Min-Position", fmt.Sprint(b.position), "Prefer", "wait=30")...)
		}
		name := "of " + w.id
		call("?nonsense=1").expect(422, "unknown_parameter")
		call("?dry_run=nonsense").expect(422, "invalid_request")
		call("?dry_run=true&dry_run=true").expect(422, "repeated_parameter")
		call("", "Idempotency-Key", "a b").expect(400, "invalid_idempotency_key")
		call("", "Hub-Reason", strings.Repeat("x", 501)).expect(422, "invalid_reason")
		call("", "If-Match", "1").expect(400, "invalid_if_match")
		call("", "If-None-Match", `"1"`).expect(400, "invalid_if_none_match")
		for _, stale := range []string{`"999"`, `W/"1"`, `"x"`} {
			call("", "If-Match", stale).expect(412, "version_conflict")
			call("?dry_run=true", "If-Match", stale).expect(412, "version_conflict")
		}
		if w.makes() && w.id != "reverseTransaction" { // that is about what is reversed
			call("", "If-Match", "*").expect(412, "version_conflict")
		} else {
			call("", "If-None-Match", "*").expect(412, "version_conflict")
		}
		if w.body != "" {
			b.call(line.Method, w.path, strings.Replace(w.body, "{", `{"nonsense":1,`, 1)).expect(422, "unknown_field")
			b.call(line.Method, w.path, strings.Replace(w.body, "{", `{"nonsense":1e400,`, 1)).expect(422, "number_out_of_range")
			b.call(line.Method, w.path, w.body+"x").expect(400, "invalid_json")
		} else {
			b.call(line.Method, w.path, `{"nonsense":1}`).expect(422, "unknown_field")
		}

		// What would happen is what then happens; once, however often it is asked for.
		would := call("?dry_run=true", "Idempotency-Key", w.id)
		require.Equal(t, []any{200, true, "", ""}, []any{would.Status, would.receipt().DryRun, would.Header.Get("ETag"), would.Header.Get("Location")}, name)
		require.Nil(t, would.receipt().Position, name)
		done := call("", "Idempotency-Key", w.id, "Hub-Reason", "Because")
		receipt := done.receipt()
		require.NotEmpty(t, receipt.Events, name)
		if w.id != "startBulkUpdate" { // of which a preview says more
			require.Equal(t, eventTypes(would.receipt()), eventTypes(receipt), name)
			require.Equal(t, receipt.Version, would.receipt().Version, name)
		}
		require.Equal(t, fmt.Sprint(*receipt.Position), done.Header.Get("Hub-Position"), name)
		require.Equal(t, *receipt.Position, *receipt.Events[len(receipt.Events)-1].Position, name)
		require.Equal(t, entityTag(receipt.Version), done.Header.Get("ETag"), name)
		require.Equal(t, w.makes(), done.Header.Get("Location") != "", name)
		if b.position = *receipt.Position; w.makes() {
			read := b.call("GET", done.Header.Get("Location"), "", after(b.position)...)
			require.Equal(t, 200, read.Status, "%s: %s", name, read.Body)
		}
		again := call("", "Idempotency-Key", w.id, "Hub-Reason", "Other")
		require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"), name)
		for _, header := range []string{"Hub-Position", "ETag", "Location"} {
			require.Equal(t, done.Header.Get(header), again.Header.Get(header), "%s: %s", name, header)
		}
		require.Equal(t, []any{done.Status, string(done.Body)}, []any{again.Status, string(again.Body)}, name)
		call("?dry_run=false", "Idempotency-Key", w.id).expect(422, "idempotency_key_reused")
		call("", "Idempotency-Key", w.id, "If-Match", "*").expect(422, "idempotency_key_reused")
	}
}

func eventTypes(r receiptOf) (types []string) {
	for _, event := range r.Events {
		types = append(types, event.Type)
	}
	return types
}
