package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// smallBooks are a bank that may not be below zero, with 10 on it, and what is needed to
// move money. The caller is an admin.
func smallBooks(t *testing.T) *books {
	t.Helper()
	b := newBooks(t)
	b.open("1000", "asset", "EUR", `,"min_balance":"0.00"`)
	b.open("1010", "asset", "USD", "")
	b.open("1020", "asset", "JPY", "")
	b.open("4000", "income", "EUR", "")
	b.post("2026-01-01", "debit 1000 10.00, credit 4000 10.00")
	return b
}

func (b *books) refused(status int, code, method, path, body string, headers ...string) Problem {
	b.t.Helper()
	return b.call(method, path, body, headers...).expect(status, code)
}

// Amounts are decimal strings, and whoever sends another is told what is expected.
func TestAmountsThatAreRefused(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	for _, amount := range []string{`"1e3"`, `"1,00"`, `"-0"`, `"-1"`, `"٣"`, `"0.001"`, `" 1"`, `""`, `"0"`, `12.34`, `1`, `1e400`, `null`, `true`, `["1"]`, `"10000000000000000"`} {
		line := func(code, side string) string {
			return fmt.Sprintf(`{"account_id":%q,"side":%q,"amount":%s}`, b.accounts[code], side, amount)
		}
		body := `{"date":"2026-01-31","lines":[` + line("1000", "debit") + `,` + line("4000", "credit") + `]}`
		answer := b.call("POST", "/api/v1/transactions", body)
		if amount == `1e400` {
			answer.expect(422, "number_out_of_range")
			continue
		}
		p := answer.expect(422, "invalid_amount")
		require.NotEmpty(t, p.Errors, amount)
		for _, fault := range p.Errors {
			require.True(t, strings.HasSuffix(fault.Location, "amount"), "%s: %s", amount, fault.Location)
			require.True(t, strings.HasPrefix(fault.Message, "must be"), "%s: %s", amount, fault.Message)
		}
	}
	b.refused(422, "invalid_amount", "POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 1020 1.5, credit 1020 1.5", ""))
}

// All other decimals are strings, too.
func TestNumbersForDecimals(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	for location, request := range map[string][3]string{
		"body.min_balance":    {"POST", "/api/v1/accounts", `{"code":"9","name":"n","kind":"asset","currency":"EUR","min_balance":-5}`},
		"body.approval_above": {"PUT", "/api/v1/transactions/policy", `{"currency":"EUR","approval_above":5}`},
		"body.lines/0/exchange.rate": {"POST", "/api/v1/transactions", strings.Replace(
			b.body("post", "2026-01-31", "debit 1000 1 1 USD 1.5, credit 4000 1, debit 1010 1, credit 1010 1", ""), `"1.5"`, "1.5", 1)},
	} {
		p := b.refused(422, "invalid_request", request[0], request[1], request[2])
		require.Len(t, p.Errors, 1)
		require.Equal(t, location, p.Errors[0].Location)
		require.Equal(t, `must be a decimal string, as "123.45", not a number`, p.Errors[0].Message)
	}
}

// Whatever posts or submits moves a date out of a closed period, where that is asked for.
func TestDatesThatMove(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	draft := func() string {
		return "/api/v1/transactions/" + b.done("POST", "/api/v1/transactions", b.body("draft", "2026-01-15", "debit 1000 1, credit 4000 1", "")).ID
	}
	submitted, posted, patched, reversed := draft(), draft(), draft(), draft()
	b.done("POST", patched+"/submit", "")
	b.done("POST", reversed+"/post", "")
	b.done("PUT", "/api/v1/transactions/periods", `{"closed_through":"2026-01-31"}`)
	const move = `{"on_closed_period":"move"}`
	for _, step := range [][4]string{
		{submitted, "POST", submitted + "/submit", move}, {posted, "POST", posted + "/post", move},
		{patched, "PATCH", patched + "?on_closed_period=move", `{"description":"x"}`}, {"", "POST", reversed + "/reverse", move},
	} {
		b.refused(409, "period_closed", step[1], strings.TrimSuffix(step[2], "?on_closed_period=move"), strings.ReplaceAll(step[3], "move", "refuse"))
		moved := b.done(step[1], step[2], step[3])
		var view struct{ Date string }
		b.read("/api/v1/transactions/"+moved.ID, &view)
		require.Equal(t, "2026-02-01", view.Date, step[2])
	}
	var waiting accountView
	b.read("/api/v1/accounts/"+b.accounts["1000"], &waiting)
	require.Equal(t, "2.00", *waiting.Pending)
	b.done("POST", submitted+"/post", "")
	b.balances("?as_of=2026-01-31", "1000=11.00")
	b.refused(422, "invalid_request", "POST", patched+"/submit", `{"on_closed_period":"later"}`)
}

func TestRefusalsOfTheLedger(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	post := func(lines, rest string) string { return b.body("post", "2026-01-31", lines, rest) }
	for body, want := range map[string]string{
		post("debit 1000 1, credit 4000 2", ""):                                              "unbalanced",
		post("debit 1000 1, credit 1010 1", ""):                                              "currency_mismatch",
		post("debit 1000 9999999999999999.99, credit 4000 9999999999999999.99", ""):          "invalid_amount", // with what is on it
		post("debit 4000 9999999999999999.99, debit 4000 0.01, credit 1000 1", ""):           "invalid_amount",
		post(strings.Repeat("debit 4000 9999999999999999.99, ", 10)+"credit 1000 1", ""):     "invalid_amount", // more than an int64 has
		post("debit 1000 1, credit 4000 1", `,"subjects":["x"]`):                             "invalid_transaction",
		post("debit 1000 1, credit 4000 1", `,"subjects":["`+someID+`"]`):                    "unknown_entity",
		post("debit 1000 1, credit 4000 1", `,"subjects":"x"`):                               "invalid_request",
		post("debit 1000 1, credit 4000 1", `,"private":{"a":1}`):                            "invalid_transaction",
		post("debit 1000 1, credit 4000 1", `,"private":"***"`):                              "invalid_request",
		post("debit 1000 1, credit 4000 1", `,"unheard":1`):                                  "unknown_field",
		b.body("pay", "2026-01-31", "debit 1000 1, credit 4000 1", ""):                       "invalid_request",
		b.body("post", "2026-02-30", "debit 1000 1, credit 4000 1", ""):                      "invalid_transaction",
		`{"date":"2026-01-31","lines":[]}`:                                                   "invalid_transaction",
		`{"lines":[]}`:                                                                       "invalid_request",
		strings.ReplaceAll(post("debit 1000 1, credit 4000 1", ""), b.accounts["4000"], "x"): "unknown_account",
		post("debit 1010 9, credit 1010 9, debit 1000 8 9 USD 0.9, credit 4000 8", ""):       "invalid_exchange",
	} {
		b.refused(422, want, "POST", "/api/v1/transactions", body)
	}
	answer := b.call("POST", "/api/v1/transactions", post("debit 4000 10.01, credit 1000 10.01", ""))
	answer.expect(409, "insufficient_funds")
	require.Contains(t, string(answer.Body), `"date":"2026-01-31"`)
	// What would make a later balance negative is refused with the date it would break.
	b.post("2026-03-01", "debit 4000 10.00, credit 1000 10.00")
	answer = b.call("POST", "/api/v1/transactions", b.body("post", "2026-02-01", "debit 4000 1, credit 1000 1", ""))
	answer.expect(409, "insufficient_funds")
	require.Contains(t, string(answer.Body), `"date":"2026-03-01"`)
	// A replayed key after a refusal still answers the refusal, although it would go through now.
	refused := post("debit 4000 5, credit 1000 5", "")
	b.refused(409, "insufficient_funds", "POST", "/api/v1/transactions", refused, "Idempotency-Key", "k")
	b.post("2026-01-01", "debit 1000 20.00, credit 4000 20.00")
	again := b.call("POST", "/api/v1/transactions", refused, "Idempotency-Key", "k")
	again.expect(409, "insufficient_funds")
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))

	b.done("POST", "/api/v1/accounts/"+b.accounts["4000"]+"/close", "")
	b.refused(409, "account_closed", "POST", "/api/v1/transactions", post("debit 1000 1, credit 4000 1", ""))
	b.done("POST", "/api/v1/accounts/"+b.accounts["4000"]+"/reopen", "")

	b.refused(409, "code_taken", "POST", "/api/v1/accounts", `{"code":"1000","name":"n","kind":"asset","currency":"EUR"}`)
	for _, currency := range []string{"DEM", "XAU", "eur", "EURO", ""} {
		b.refused(422, "invalid_account", "POST", "/api/v1/accounts", `{"code":"9","name":"n","kind":"asset","currency":"`+currency+`"}`)
	}
	b.refused(422, "unknown_entity", "POST", "/api/v1/accounts", `{"code":"9","name":"n","kind":"asset","currency":"EUR","entity_id":"x"}`)
	b.refused(422, "invalid_policy", "PUT", "/api/v1/transactions/policy", `{"currency":"EUR","approval_above":"-1"}`)
	b.refused(422, "invalid_periods", "PUT", "/api/v1/transactions/periods", `{"closed_through":"soon"}`)
	for _, path := range []string{"accounts/x", "accounts/" + someID, "accounts/" + someID + "/entries", "transactions/x", "transactions/" + someID, "transactions/" + someID + "/explain", "transactions/policy?currency=USD"} {
		b.refused(404, "not_found", "GET", "/api/v1/"+path, "", "Hub-Min-Position", fmt.Sprint(b.position))
	}
	for _, query := range []string{"accounts?as_of=x", "accounts?known_at=2026", "accounts?entity_id=x", "transactions?from=x", "transactions?to=x", "transactions?account_id=x", "transactions/policy?currency=DEM", "transactions/trial-balance?as_of=2026-02-30"} {
		b.refused(422, "invalid_filter", "GET", "/api/v1/"+query, "")
	}
	b.refused(422, "unknown_parameter", "GET", "/api/v1/transactions?colour=red", "")
}

// From a draft to a reversal, with the approval of somebody else.
func TestTheLifeOfATransaction(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	b.done("PUT", "/api/v1/transactions/policy", `{"currency":"EUR","approval_above":"5.00"}`)
	b.as("ana", "editor")
	b.refused(409, "approval_required", "POST", "/api/v1/transactions", b.body("post", "2026-01-31", "debit 4000 6, credit 1000 6", ""))
	made := b.done("POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 4000 7, credit 1000 7", `,"description":"Refund","external_ref":"r-1","metadata":{"a":1}`))
	path := "/api/v1/transactions/" + made.ID
	b.done("PATCH", path, `{"lines":`+b.lines("debit 4000 6, credit 1000 6")+`}`, "Content-Type", "application/merge-patch+json", "If-Match", `"1"`)
	b.refused(412, "version_conflict", "PATCH", path, `{"description":"x"}`, "If-Match", `"1"`)
	b.done("POST", path+"/submit", "")
	for _, action := range []string{"approve", "reject", "void", "reverse"} {
		b.refused(403, "forbidden", "POST", path+"/"+action, "")
	}
	b.refused(409, "approval_required", "POST", path+"/post", "")
	var bank accountView
	b.read("/api/v1/accounts/"+b.accounts["1000"], &bank)
	require.Equal(t, "10.00 -6.00 4.00", strings.Join([]string{bank.Balance, *bank.Pending, *bank.Available}, " "))

	// Who made it may not approve it, whatever the roles.
	b.as("ana", "editor", "approver")
	b.refused(403, "self_approval", "POST", path+"/approve", "")
	b.as("bob", "approver")
	var waiting list
	b.read("/api/v1/transactions?awaiting=me", &waiting)
	require.Len(t, waiting.Items, 1)
	b.done("POST", path+"/approve", "", "If-Match", `"3"`)
	b.read("/api/v1/transactions?awaiting=me", &waiting)
	require.Empty(t, waiting.Items)
	b.refused(403, "forbidden", "POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 4000 1, credit 1000 1", ""))
	b.refused(409, "invalid_state", "POST", path+"/reverse", `{}`)
	b.refused(422, "exceeds_transaction", "POST", path+"/post", `{"lines":`+b.lines("debit 4000 7, credit 1000 7")+`}`)
	b.done("POST", path+"/post", `{"lines":`+b.lines("debit 4000 4.50, credit 1000 4.50")+`}`)
	b.refused(409, "invalid_state", "POST", path+"/void", "")
	b.balances("", "1000=5.50 4000=5.50")
	b.read("/api/v1/accounts/"+b.accounts["1000"], &bank)
	require.Equal(t, "0.00 5.50", *bank.Pending+" "+*bank.Available)

	reversal := b.call("POST", path+"/reverse", `{"date":"2026-02-03"}`)
	require.Equal(t, 201, reversal.Status, "%s", reversal.Body)
	b.position = *reversal.receipt().Position
	require.Equal(t, "/api/v1/transactions/"+reversal.receipt().ID, reversal.Header.Get("Location"))
	b.refused(409, "invalid_state", "POST", path+"/reverse", "")
	b.balances("", "1000=10.00 4000=10.00")

	// The same external_ref again is the same transaction, and another one's is taken.
	b.as("ana", "editor")
	same := b.call("POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 4000 7, credit 1000 7", `,"description":"Refund","external_ref":"r-1","metadata":{"a":1.0}`))
	same.expect(409, "external_ref_taken")
	same = b.call("POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 4000 7, credit 1000 7", `,"description":"Refund","external_ref":"r-1","metadata":{"a":1}`))
	require.Equal(t, 200, same.Status, "%s", same.Body)
	require.Equal(t, made.ID, same.receipt().ID)
	require.Empty(t, same.receipt().Events)

	var why struct{ Events []struct{ Type, By string } }
	b.read(path+"/explain", &why)
	require.Equal(t, "[{transaction.drafted ana} {transaction.updated ana} {transaction.submitted ana} {transaction.approved bob} {transaction.posted bob} {transaction.reversed bob}]", fmt.Sprint(why.Events))

	// Viewers read all of it and write nothing; admins set the rules.
	b.as("vera", "viewer")
	for _, path := range []string{"accounts", "transactions", "transactions/policy", "transactions/periods", "transactions/trial-balance", "accounts/" + b.accounts["1000"] + "/entries"} {
		require.Equal(t, 200, b.call("GET", "/api/v1/"+path, "").Status, path)
	}
	b.refused(403, "forbidden", "PUT", "/api/v1/transactions/policy", `{"currency":"EUR","approval_above":null}`)
	var empty list
	b.read("/api/v1/transactions?awaiting=me", &empty)
	require.Empty(t, empty.Items)
}

// What was approved and lacks approvals by a rule that was set since waits again.
func TestWhatAwaitsApprovalByANewRule(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	policy := func(currency, above string, needed int) {
		b.as("eva", "admin")
		b.done("PUT", "/api/v1/transactions/policy", fmt.Sprintf(`{"currency":%q,"approval_above":%s,"approvals_needed":%d}`, currency, above, needed))
	}
	policy("EUR", `"5.00"`, 1)
	b.as("ana", "editor")
	small := b.done("POST", "/api/v1/transactions", b.body("submit", "2026-01-31", "debit 1000 5.00, credit 4000 5.00, debit 1010 10, credit 1010 10", "")).ID
	large := b.done("POST", "/api/v1/transactions", b.body("submit", "2026-01-30", "debit 1000 3.00, debit 1000 3.00, credit 4000 6.00", "")).ID
	b.as("bob", "approver")
	waits := func(person string, want ...string) {
		b.t.Helper()
		b.as(person, "approver")
		var page struct{ Items []struct{ ID string } }
		b.read("/api/v1/transactions?awaiting=me&count=true", &page)
		found := []string{}
		for _, item := range page.Items {
			found = append(found, item.ID)
		}
		require.Equal(t, append([]string{}, want...), found)
	}
	waits("bob", small, large)
	for _, id := range []string{small, large} {
		b.done("POST", "/api/v1/transactions/"+id+"/approve", "")
	}
	waits("carl")
	policy("EUR", `"5.00"`, 2)
	waits("carl", large)
	waits("bob")
	policy("USD", `"9.99"`, 3)
	waits("carl", small, large)
	policy("EUR", "null", 2)
	waits("carl", small)
	b.done("POST", "/api/v1/transactions/"+small+"/approve", "")
	waits("carl")
	waits("dora", small)
}

// What a write shows is what a read then shows, for every command.
func TestTheRepresentationOfTransactions(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	opened := b.call("POST", "/api/v1/accounts", `{"code":"7000","name":"A & B","kind":"liability","currency":"KWD","min_balance":"-1.5"}`, "Prefer", "return=representation")
	b.position = *opened.receipt().Position
	sameJSON(t, "account", opened.receipt().Resource, b.call("GET", opened.Header.Get("Location"), "", after(b.position)...).Body)
	closed := b.call("POST", opened.Header.Get("Location")+"/close", "", "Prefer", "return=representation, wait=30")
	sameJSON(t, "closed", closed.receipt().Resource, b.call("GET", opened.Header.Get("Location"), "").Body)

	made := b.done("POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 1000 1, credit 4000 1", `,"metadata":{"x":{"z":1,"a":"<"}},"expires_at":"2100-01-01T01:00:00+01:00"`)).ID
	path := "/api/v1/transactions/" + made
	for i, step := range []struct{ method, path, body string }{
		{"POST", "/api/v1/transactions", b.body("post", "2026-01-31", "debit 1000 1, credit 4000 1", `,"external_ref":"e"`)},
		{"PATCH", path, `{"description":"Ä <b>"}`},
		{"POST", path + "/submit", ""},
		{"POST", path + "/approve", ""},
		{"POST", path + "/post", `{"lines":` + b.lines("debit 1000 0.50, credit 4000 0.50") + `}`},
		{"POST", path + "/reverse", `{"date":"2026-02-01"}`},
		{"PUT", "/api/v1/transactions/periods", `{"closed_through":"2026-01-01"}`},
		{"PUT", "/api/v1/transactions/periods", `{"closed_through":null}`},
	} {
		if i == 3 {
			b.as("bob", "admin")
		}
		answer := b.call(step.method, step.path, step.body, "Prefer", "return=representation")
		read := step.path
		if answer.Status == 201 {
			read = answer.Header.Get("Location")
		} else if step.method == "POST" {
			read = path
		}
		seen := b.call("GET", read, "", after(*answer.receipt().Position)...)
		sameJSON(t, step.method+" "+step.path, answer.receipt().Resource, seen.Body)
		require.Equal(t, answer.Header.Get("ETag"), seen.Header.Get("ETag"))
	}
	policy := b.call("PUT", "/api/v1/transactions/policy", `{"currency":"JPY","approval_above":"7","approvals_needed":2}`, "Prefer", "return=representation")
	require.JSONEq(t, `{"currency":"JPY","approval_above":"7","approvals_needed":2,"version":1}`, string(policy.receipt().Resource))
	seen := b.call("GET", "/api/v1/transactions/policy?currency=JPY", "", after(*policy.receipt().Position)...)
	require.JSONEq(t, `{"currency":"JPY","approval_above":"7","approvals_needed":2,"version":1,"items":[{"currency":"JPY","approval_above":"7","approvals_needed":2,"version":1}]}`, string(seen.Body))
	require.Equal(t, `"1"`, seen.Header.Get("ETag"))
	b.done("PUT", "/api/v1/transactions/policy", `{"currency":"JPY","approval_above":"9"}`, "If-Match", seen.Header.Get("ETag"))
	require.Contains(t, string(b.call("GET", "/api/v1/transactions/policy", "", after(b.position)...).Body), `{"currency":"JPY","approval_above":"9",`, "the only one is where it was put")
	b.done("PUT", "/api/v1/transactions/policy", `{"currency":"USD","approval_above":"9"}`)
	require.Regexp(t, `^{"items":\[{"currency":"JPY".*{"currency":"USD"`, string(b.call("GET", "/api/v1/transactions/policy", "", after(b.position)...).Body))
	// Nothing of a dry run is there.
	would := b.call("POST", "/api/v1/transactions?dry_run=true", b.body("post", "2026-01-31", "debit 1000 1, credit 4000 1", "")).receipt()
	require.True(t, would.DryRun)
	require.Contains(t, string(would.Events[0].Data), `"amount":"1.00"`)
	b.balances("", "1000=11.00")
}

// An account's entity tag changes with its balance, and still serves as If-Match.
func TestTheTagOfAnAccount(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	path := "/api/v1/accounts/" + b.accounts["1000"]
	first := b.call("GET", path, "", after(b.position)...)
	require.Equal(t, 304, b.call("GET", path, "", "If-None-Match", first.Header.Get("ETag")).Status)
	b.post("2026-01-02", "debit 1000 1.00, credit 4000 1.00")
	require.Equal(t, 200, b.call("GET", path, "", append(after(b.position), "If-None-Match", first.Header.Get("ETag"))...).Status)
	b.done("POST", path+"/close", "", "If-Match", first.Header.Get("ETag"))
	require.Equal(t, 200, b.call("GET", path+"?fields=balance", "").Status)
	require.Equal(t, 200, b.call("GET", "/api/accounts?fields=code,balance", "").Status)
	require.Equal(t, 200, b.call("GET", "/api/transactions/?fields=id", "").Status)
}

// Nothing of an organisation's books is there for another.
func TestBooksOfAnotherOrganisation(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	made := b.done("POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 1000 1, credit 4000 1", "")).ID
	body := b.body("post", "2026-01-31", "debit 1000 1, credit 4000 1", "")
	b.asOf("other", "ana", "admin")
	checked := 0
	for _, line := range b.api.routes() {
		id := made
		if strings.HasPrefix(line.Path, accountsPath) {
			id = b.accounts["1000"]
		} else if !strings.HasPrefix(line.Path, transactionsPath) {
			continue
		}
		if strings.Contains(line.Path, "{id}") {
			checked++
			requestBody := requestExamples[line.ID]
			b.call(line.Method, strings.Replace(line.Path, "{id}", id, 1)+mustAsk[line.ID], requestBody).expect(404, "not_found")
		}
	}
	require.Greater(t, checked, 10)
	b.refused(422, "unknown_account", "POST", "/api/v1/transactions", body)
	var accounts, all list
	b.read("/api/v1/accounts", &accounts)
	b.read("/api/v1/transactions", &all)
	require.Empty(t, accounts.Items)
	require.Empty(t, all.Items)
}

// The lists of the books take what all lists do.
func TestListsOfTheBooks(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	first := b.done("POST", "/api/v1/transactions", b.body("post", "2026-01-30", "debit 1000 1, credit 4000 1", "")).ID
	second := b.done("POST", "/api/v1/transactions", b.body("draft", "2026-01-31", "debit 1000 2, credit 4000 2", "")).ID
	b.done("PATCH", "/api/v1/transactions/"+second, `{"description":"changed"}`)
	for query, want := range map[string][]string{
		"/transactions?count=true&limit=1":                                 {second},
		"/transactions?count=true&sort=date&offset=2":                      {second},
		"/transactions?sort=-updated_at&count=true&limit=2":                {second, first},
		"/transactions?count=true&id=" + first + "," + b.accounts["1000"]:  {first},
		"/transactions?date[lt]=2026-01-31&date[gt]=2026-01-01&count=true": {first},
		"/transactions?version[gte]=2&created_by=ana&count=true":           {second},
		"/transactions?status[in]=draft,posted&updated_at[gt]=2026":        nil,
		"/accounts?count=true&code[in]=1000,4711":                          {b.accounts["1000"]},
		"/accounts?sort=-code&limit=1&count=true&kind=asset":               {b.accounts["1020"]},
		"/accounts?id=" + b.accounts["4000"] + "&count=true":               {b.accounts["4000"]},
		"/accounts?offset=9000&count=true":                                 {},
	} {
		answer := b.call("GET", "/api/v1"+query, "", after(b.position)...)
		if want == nil {
			answer.expect(422, "invalid_filter")
			continue
		}
		var page struct {
			Items []struct{ ID string }
			Count *int
		}
		answer.json(&page)
		found := []string{}
		for _, item := range page.Items {
			found = append(found, item.ID)
		}
		require.Equal(t, want, found, query)
		require.NotNil(t, page.Count, query)
	}
	for query, want := range map[string]int{
		"/accounts/" + b.accounts["1000"] + "/entries?limit=1":               2,
		"/accounts/" + b.accounts["1000"] + "/entries?limit=1&to=2026-01-29": 1,
		"/accounts/" + b.accounts["1010"] + "/entries?fields=amount,balance": 0,
		"/entity-types?limit=1": 0,
		"/members?role=privacy": 0,
	} {
		var page list
		b.call("GET", "/api/v1"+query+"&count=true", "", after(b.position)...).json(&page)
		require.NotNil(t, page.Count, query)
		require.EqualValues(t, want, *page.Count, query)
	}
	for query, code := range map[string]string{
		"/transactions?attr.city=Paris": "unknown_parameter", "/accounts?balance[gt]=1": "unknown_parameter",
		"/transactions?sort=amount": "invalid_request", "/accounts?id=1": "invalid_filter", "/accounts?offset=10001": "invalid_request",
	} {
		b.call("GET", "/api/v1"+query, "").expect(422, code)
	}
}

// Whom a transaction is about: what it says of them is sealed in the log, in clear or masked
// where it is read, and the same for who has written it.
func TestTransactionsAboutPersons(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	b.done("PUT", "/api/v1/entity-types/patient", `{"title":"Patient","data_subject":true}`)
	person := b.done("POST", "/api/v1/entities", `{"type":"patient","attributes":{"name":"Ana"}}`).ID
	hidden := b.done("POST", "/api/v1/entities", `{"type":"patient","attributes":{}}`).ID
	b.done("PUT", "/api/v1/entities/"+hidden+"/acl", `{"entries":[{"principal":"user:eva","permissions":["read"]}]}`)
	b.as("ana", "editor")
	about := func(id string) string {
		return b.body("draft", "2026-01-31", "debit 4000 1, credit 1000 1", `,"description":"Refund <Ana>","subjects":["`+id+`"],"private":{"case":"A-17"}`)
	}
	for _, stranger := range []string{hidden, someID} {
		p := b.refused(422, "unknown_entity", "POST", "/api/v1/transactions", about(stranger))
		require.Equal(t, "body.subjects/0", p.Errors[0].Location)
	}
	dry := b.call("POST", "/api/v1/transactions?dry_run=true", about(person)).receipt()
	require.NotContains(t, string(dry.Events[0].Data), "Refund")
	require.Contains(t, string(dry.Events[0].Data), `"description":{"$sealed":"`)

	made := b.done("POST", "/api/v1/transactions", about(person), "Prefer", "return=representation")
	path := "/api/v1/transactions/" + made.ID
	for _, step := range []string{`{"private":{"more":1}}`, `{"description":"Refund for Ana & Co"}`, `{}`} {
		shown := b.done("PATCH", path, step, "Prefer", "return=representation")
		read := b.call("GET", path, "", after(b.position)...)
		sameJSON(t, step, shown.Resource, read.Body)
		require.Contains(t, string(read.Body), `"private":"***"`)
		require.Contains(t, string(read.Body), `"subjects":["`+person+`"]`)
	}
	require.Contains(t, string(made.Resource), `"description":"Refund <Ana>"`)
	var page struct{ Items []struct{ ID string } }
	b.read("/api/v1/transactions?q=for%20ana", &page)
	require.Len(t, page.Items, 1)
	for _, q := range []string{"A-17", "case", "more"} {
		b.read("/api/v1/transactions?q="+q, &page)
		require.Empty(t, page.Items, "what is private is not found")
	}
	b.refused(422, "invalid_request", "PATCH", path, `{"private":"***"}`)
	b.refused(422, "invalid_transaction", "PATCH", path, `{"subjects":null}`)

	// The same request again, under a reference of the caller's and in a bulk.
	item := strings.Replace(about(person), `{`, `{"external_ref":"r-1",`, 1)
	first, _ := b.bulk("", "["+item+"]")
	again, _ := b.bulk("?atomic=true", "["+item+"]")
	require.Equal(t, 201, first.Results[0].Status)
	require.Equal(t, 200, again.Results[0].Status)
	require.Equal(t, first.Results[0].ID, again.Results[0].ID)
}
