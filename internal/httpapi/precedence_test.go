package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rung is the problem that a request is answered with while everything below is wrong, too;
// mend makes it right.
type rung struct {
	status int
	code   string
	mend   func()
}

// climbs sends a request with everything wrong, and mends one thing at a time, until it is
// done. It returns the problems in their order, as the page has them.
func (b *books) climbs(name string, send func() *reply, rungs ...rung) string {
	b.t.Helper()
	var problems []string
	for _, r := range rungs {
		send().expect(r.status, r.code)
		r.mend()
		problems = append(problems, fmt.Sprintf("%d `%s`", r.status, r.code))
	}
	answer := send()
	require.Less(b.t, answer.Status, 300, "%s: %s", name, answer.Body)
	return "| " + name + " | " + strings.Join(problems, ", ") + " |\n"
}

// asAdmin does something as an admin, and goes on as before.
func (b *books) asAdmin(method, path, body string) {
	b.t.Helper()
	before := b.admin
	b.as("root", "admin")
	b.done(method, path, body)
	b.admin = before
}

// wrongBooks are small books in which above 5.00 approval is needed; the caller is an editor.
func wrongBooks(t *testing.T) *books {
	t.Helper()
	b := smallBooks(t)
	b.done("PUT", "/api/v1/transactions/policy", `{"currency":"EUR","approval_above":"5.00"}`)
	b.as("ana", "editor")
	return b
}

// closeAll closes the account 4000, and January.
func (b *books) closeAll() {
	b.t.Helper()
	b.asAdmin("POST", "/api/v1/accounts/"+b.accounts["4000"]+"/close", "")
	b.asAdmin("PUT", "/api/v1/transactions/periods", `{"closed_through":"2026-01-31"}`)
}

func (b *books) reopen() {
	b.t.Helper()
	b.asAdmin("POST", "/api/v1/accounts/"+b.accounts["4000"]+"/reopen", "")
}

func (b *books) openPeriods() {
	b.t.Helper()
	b.asAdmin("PUT", "/api/v1/transactions/periods", `{"closed_through":null}`)
}

func (b *books) noPolicy() {
	b.t.Helper()
	b.asAdmin("PUT", "/api/v1/transactions/policy", `{"currency":"EUR","approval_above":null}`)
}

// make makes a transaction of January, and returns its path.
func (b *books) make(action, lines, rest string) string {
	b.t.Helper()
	return "/api/v1/transactions/" + b.done("POST", transactionsPath, b.body(action, "2026-01-31", lines, rest)).ID
}

// What is wrong with lines, one thing less each time: the account, the amount, the currencies,
// the sum, the rate. The last asks for more than there is.
var wrongLines = []string{
	"debit nowhere 1e3 90 USD 2, credit 1010 9", "debit 4000 1e3 90 USD 2, credit 1010 9", "debit 4000 100 90 USD 2, credit 1010 9",
	"debit 4000 101 90 USD 2, credit 1000 100", "debit 4000 100 90 USD 2, credit 1000 100", "debit 4000 100, credit 1000 100",
}

// content is what a transaction shall say.
type content struct{ date, subjects, lines, more string }

// mended are the rungs of what a transaction says, the date of its books last.
func (c *content) mended() []rung {
	line := func(n int) func() { return func() { c.lines = wrongLines[n] } }
	*c = content{date: "2026-13-01", subjects: `"` + someID + `"`, lines: wrongLines[0], more: `,"unheard":1`}
	return []rung{
		{422, "unknown_field", func() { c.more = "" }},
		{422, "invalid_transaction", func() { c.date = "2026-01-31" }},
		{422, "unknown_entity", func() { c.subjects = "" }},
		{422, "unknown_account", line(1)},
		{422, "invalid_amount", line(2)},
		{422, "currency_mismatch", line(3)},
		{422, "unbalanced", line(4)},
		{422, "invalid_exchange", line(5)},
	}
}

func (b *books) making() string {
	b.t.Helper()
	var c content
	ref := "taken"
	b.make("post", "debit 4000 0.01, credit 1000 0.01", `,"external_ref":"taken"`)
	b.closeAll()
	b.as("vera", "viewer")
	send := func() *reply {
		return b.call("POST", transactionsPath, fmt.Sprintf(`{"action":"post","date":%q,"subjects":[%s],"external_ref":%q,"lines":%s%s}`, c.date, c.subjects, ref, b.lines(c.lines), c.more))
	}
	rungs := append([]rung{{403, "forbidden", func() { b.as("ana", "editor") }}}, c.mended()...)
	return b.climbs("make", send, append(rungs,
		rung{409, "external_ref_taken", func() { ref = "free" }},
		rung{409, "account_closed", b.reopen},
		rung{409, "period_closed", func() { c.date = "2026-02-01" }},
		rung{409, "approval_required", b.noPolicy},
		rung{409, "insufficient_funds", func() { c.lines = "debit 4000 1, credit 1000 1" }},
	)...)
}

// changing begins with what a request about a transaction or an account can be wrong about
// whatever it is: path is where it goes, and match what it takes to be the version.
func changing(path, match *string, right string) []rung {
	return []rung{
		{404, "not_found", func() { *path = right }},
		{412, "version_conflict", func() { *match = `"1"` }},
	}
}

func (b *books) patching() string {
	b.t.Helper()
	var c content
	submitted, posted := b.make("submit", "debit 4000 2, credit 1000 2", ""), b.make("post", "debit 4000 2, credit 1000 2", "")
	b.closeAll()
	b.as("vera", "viewer")
	path, match := transactionsPath+"/"+someID, `"7"`
	send := func() *reply {
		return b.call("PATCH", path, fmt.Sprintf(`{"date":%q,"subjects":[%s],"lines":%s%s}`, c.date, c.subjects, b.lines(c.lines), c.more), "If-Match", match)
	}
	said := c.mended()
	rungs := append([]rung{{403, "forbidden", func() { b.as("ana", "editor") }}, said[0]}, changing(&path, &match, posted)...)
	rungs = append(rungs, rung{409, "invalid_state", func() { path = submitted }})
	return b.climbs("patch", send, append(append(rungs, said[1:]...),
		rung{409, "account_closed", b.reopen},
		rung{409, "period_closed", func() { c.date = "2026-02-01" }},
		rung{409, "insufficient_funds", func() { c.lines = "debit 4000 1, credit 1000 1" }},
	)...)
}

// acting climbs for an action on a transaction that has no body.
func (b *books) acting(action, wrong, right string, role string, more ...rung) string {
	b.t.Helper()
	b.as("vera", "viewer")
	path, match := transactionsPath+"/"+someID, `"7"`
	rungs := append([]rung{{403, "forbidden", func() { b.as("ana", role) }}}, changing(&path, &match, wrong)...)
	rungs = append(rungs, rung{409, "invalid_state", func() { path = right }})
	return b.climbs(action, func() *reply { return b.call("POST", path+"/"+action, "", "If-Match", match) }, append(rungs, more...)...)
}

func (b *books) submitting() string {
	b.t.Helper()
	posted, draft := b.make("post", "debit 4000 2, credit 1000 2", ""), b.make("draft", "debit 4000 100, credit 1000 100", "")
	b.closeAll()
	return b.acting("submit", posted, draft, "editor",
		rung{409, "account_closed", b.reopen},
		rung{409, "period_closed", b.openPeriods},
		rung{409, "insufficient_funds", b.fund},
	)
}

// fund has enough on the account 1000.
func (b *books) fund() {
	b.t.Helper()
	b.noPolicy()
	b.asAdmin("POST", transactionsPath, b.body("post", "2026-01-01", "debit 1000 1000, credit 4000 1000", ""))
}

func (b *books) approving() string {
	b.t.Helper()
	posted, submitted := b.make("post", "debit 4000 2, credit 1000 2", ""), b.make("submit", "debit 4000 2, credit 1000 2", "")
	return b.acting("approve", posted, submitted, "approver", rung{403, "self_approval", func() { b.as("bob", "approver") }})
}

func (b *books) rejecting() string {
	b.t.Helper()
	posted, submitted := b.make("post", "debit 4000 2, credit 1000 2", ""), b.make("submit", "debit 4000 2, credit 1000 2", "")
	return b.acting("reject", posted, submitted, "approver")
}

func (b *books) voiding() string {
	b.t.Helper()
	posted, draft := b.make("post", "debit 4000 2, credit 1000 2", ""), b.make("draft", "debit 4000 2, credit 1000 2", "")
	return b.acting("void", posted, draft, "approver")
}

// postingPart posts a part of a draft.
func (b *books) postingPart() string {
	b.t.Helper()
	posted, draft := b.make("post", "debit 4000 2, credit 1000 2", ""), b.make("draft", "debit 4000 100, credit 1000 100", "")
	b.closeAll()
	b.as("vera", "viewer")
	path, match, lines, more := transactionsPath+"/"+someID, `"7"`, "debit 1020 1e3", `,"unheard":1`
	part := func(text string) func() { return func() { lines = text } }
	send := func() *reply {
		return b.call("POST", path+"/post", `{"lines":`+b.lines(lines)+more+`}`, "If-Match", match)
	}
	rungs := append([]rung{{403, "forbidden", func() { b.as("ana", "editor") }}, {422, "unknown_field", func() { more = "" }}}, changing(&path, &match, posted)...)
	return b.climbs("post a draft", send, append(rungs,
		rung{409, "invalid_state", func() { path = draft }},
		rung{422, "invalid_transaction", part("debit 1020 1e3, credit 1000 200")},
		rung{422, "unknown_account", part("debit 4000 1e3, credit 1000 200")},
		rung{422, "invalid_amount", part("debit 4000 201 90 USD 2, credit 1000 200")},
		rung{422, "unbalanced", part("debit 4000 200 90 USD 2, credit 1000 200")},
		rung{422, "invalid_exchange", part("debit 4000 200, credit 1000 200")},
		rung{422, "exceeds_transaction", part("debit 4000 99, credit 1000 99")},
		rung{409, "account_closed", b.reopen},
		rung{409, "period_closed", b.openPeriods},
		rung{409, "approval_required", b.noPolicy},
		rung{409, "insufficient_funds", b.fund},
	)...)
}

// postingAbove posts what is above the limit: whoever holds the money is sure of it.
func (b *books) postingAbove() string {
	b.t.Helper()
	posted, submitted := b.make("post", "debit 4000 2, credit 1000 2", ""), b.make("submit", "debit 4000 6, credit 1000 6", "")
	b.closeAll()
	b.as("vera", "viewer")
	path, match := transactionsPath+"/"+someID, `"7"`
	rungs := append([]rung{{403, "forbidden", func() { b.as("ana", "editor") }}}, changing(&path, &match, posted)...)
	return b.climbs("post what is submitted", func() *reply { return b.call("POST", path+"/post", "", "If-Match", match) }, append(rungs,
		rung{409, "invalid_state", func() { path = submitted }},
		rung{409, "account_closed", b.reopen},
		rung{409, "period_closed", b.openPeriods},
		rung{409, "approval_required", func() {
			b.as("bob", "approver")
			b.done("POST", submitted+"/approve", "")
			b.as("ana", "editor")
			match = `"2"`
		}},
		rung{403, "forbidden", func() { b.as("bob", "approver") }},
	)...)
}

func (b *books) reversing() string {
	b.t.Helper()
	draft, posted := b.make("draft", "debit 4000 2, credit 1000 2", ""), b.make("post", "debit 1000 5, credit 4000 5", "")
	for range 3 { // it is spent
		b.make("post", "debit 4000 5, credit 1000 5", "")
	}
	b.closeAll()
	b.as("vera", "viewer")
	path, match, date, more := transactionsPath+"/"+someID, `"7"`, "2026-01-30", `,"unheard":1`
	send := func() *reply {
		return b.call("POST", path+"/reverse", `{"date":"`+date+`"`+more+`}`, "If-Match", match)
	}
	rungs := append([]rung{{403, "forbidden", func() { b.as("ana", "approver") }}, {422, "unknown_field", func() { more = "" }}}, changing(&path, &match, draft)...)
	return b.climbs("reverse", send, append(rungs,
		rung{409, "invalid_state", func() { path = posted }},
		rung{422, "invalid_transaction", func() { date = "2026-01-31" }},
		rung{409, "account_closed", b.reopen},
		rung{409, "period_closed", b.openPeriods},
		rung{409, "insufficient_funds", b.fund},
	)...)
}

func (b *books) opening() string {
	b.t.Helper()
	code, currency, entity, more := "1000", "DEM", `,"entity_id":"`+someID+`"`, `,"unheard":1`
	send := func() *reply {
		return b.call("POST", accountsPath, fmt.Sprintf(`{"code":%q,"name":"n","kind":"asset","currency":%q%s%s}`, code, currency, entity, more))
	}
	return b.climbs("open an account", send,
		rung{403, "forbidden", func() { b.as("root", "admin") }},
		rung{422, "unknown_field", func() { more = "" }},
		rung{422, "invalid_account", func() { currency = "EUR" }},
		rung{422, "unknown_entity", func() { entity = "" }},
		rung{409, "code_taken", func() { code = "9000" }},
	)
}

// Each request is answered with the first of its problems while all that come later are there,
// too: in the order that the page has. -update writes it.
func TestProblemsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	want := "| request | its problems, the first to the last |\n|---|---|\n"
	for _, climb := range []func(*books) string{
		(*books).opening, (*books).making, (*books).patching, (*books).submitting, (*books).approving, (*books).rejecting, (*books).postingPart, (*books).postingAbove,
		(*books).voiding, (*books).reversing,
	} {
		want += climb(wrongBooks(t))
	}
	holdsPage(t, "problems", want)
}
