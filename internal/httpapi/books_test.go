package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// books are the accounts of a small company and somebody who keeps them.
type books struct {
	*edge
	t        *testing.T
	accounts map[string]string
	url      string
	// position is that of the last write.
	position int64
}

func newBooks(t *testing.T) *books {
	t.Helper()
	s := startSystem(t)
	s.project(t)
	e := newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads })
	return &books{edge: e, t: t, accounts: map[string]string{}, url: s.url}
}

// as makes somebody else the caller from now on.
func (b *books) as(sub string, roles ...string) {
	b.t.Helper()
	b.asOf("acme", sub, roles...)
}

func (b *books) asOf(org, sub string, roles ...string) {
	b.t.Helper()
	b.admin = b.issuer.tokenOf(b.t, identity.TokenRequest{Sub: sub, Org: org, Roles: roles})
}

// done sends a write that succeeds.
func (b *books) done(method, path, body string, headers ...string) receiptOf {
	b.t.Helper()
	receipt := b.call(method, path, body, headers...).receipt()
	if receipt.Position != nil {
		b.position = *receipt.Position
	}
	return receipt
}

// open opens an account; kind, currency and what else a body has.
func (b *books) open(code, kind, currency, rest string) {
	b.t.Helper()
	body := fmt.Sprintf(`{"code":%q,"name":"Account %s","kind":%q,"currency":%q%s}`, code, code, kind, currency, rest)
	b.accounts[code] = b.done("POST", "/api/v1/accounts", body).ID
}

// lines writes lines: "debit 1000 12.34, credit 4000 12.34".
func (b *books) lines(text string) string {
	b.t.Helper()
	var lines []map[string]any
	for part := range strings.SplitSeq(text, ", ") {
		words := strings.Fields(part)
		line := map[string]any{"side": words[0], "account_id": b.accounts[words[1]], "amount": words[2]}
		if len(words) > 3 {
			line["exchange"] = map[string]string{"from_amount": words[3], "from_currency": words[4], "rate": words[5]}
		}
		lines = append(lines, line)
	}
	written, err := json.Marshal(lines)
	require.NoError(b.t, err)
	return string(written)
}

// body is a transaction.
func (b *books) body(action, date, lines, rest string) string {
	b.t.Helper()
	return fmt.Sprintf(`{"action":%q,"date":%q,"lines":%s%s}`, action, date, b.lines(lines), rest)
}

// post posts a transaction and returns its id.
func (b *books) post(date, lines string) string {
	b.t.Helper()
	return b.done("POST", "/api/v1/transactions", b.body("post", date, lines, "")).ID
}

// read answers a read that sees all writes.
func (b *books) read(path string, into any) {
	b.t.Helper()
	answer := b.call("GET", path, "", after(b.position)...)
	if answer.Status != 200 {
		b.t.Fatalf("%s: %d %s", path, answer.Status, answer.Body)
	}
	answer.json(into)
}

type accountView struct {
	Balance            string
	Pending, Available *string
	Status             string
	MinBalance         *string `json:"min_balance"`
	Version            int64
}

// balances holds accounts against "1000=12.34 4000=…", at a point or "".
func (b *books) balances(point, wanted string) {
	b.t.Helper()
	for want := range strings.FieldsSeq(wanted) {
		code, balance, _ := strings.Cut(want, "=")
		var a accountView
		b.read("/api/v1/accounts/"+b.accounts[code]+point, &a)
		if a.Balance != balance {
			b.t.Errorf("%s%s has %s, want %s", code, point, a.Balance, balance)
		}
	}
}

// statement holds the entries of an account against "date side amount balance" each.
func (b *books) statement(code, query string, wanted ...string) {
	b.t.Helper()
	var page struct {
		Items []struct{ Date, Side, Amount, Balance string }
	}
	b.read("/api/v1/accounts/"+b.accounts[code]+"/entries"+query, &page)
	var got []string
	for _, e := range page.Items {
		got = append(got, strings.Join([]string{e.Date, e.Side, e.Amount, e.Balance}, " "))
	}
	require.Equal(b.t, wanted, got, "statement of %s%s", code, query)
}

// trial holds the trial balance against "1000 EUR debit credit" each; its totals are equal
// in any case.
func (b *books) trial(point string, wanted ...string) {
	b.t.Helper()
	var trial struct {
		Items  []struct{ Code, Currency, Debit, Credit string }
		Totals []struct{ Currency, Debit, Credit string }
	}
	b.read("/api/v1/transactions/trial-balance"+point, &trial)
	var got []string
	for _, item := range trial.Items {
		got = append(got, strings.Join([]string{item.Code, item.Currency, item.Debit, item.Credit}, " "))
	}
	require.Equal(b.t, wanted, got, "trial balance%s", point)
	for _, total := range trial.Totals {
		require.Equal(b.t, total.Debit, total.Credit, "%s", total.Currency)
	}
}

// A month of a small company: opening balances, sales, purchases, payroll, a purchase in
// another currency, corrections, and the close. Every number is right to the cent, now and
// at every point in the past.
func TestAMonthOfBooks(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.open("1000", "asset", "EUR", `,"min_balance":"0.00"`) // bank
	b.open("1010", "asset", "USD", "")                      // bank in dollars
	b.open("1100", "asset", "EUR", "")                      // receivables
	b.open("1200", "asset", "EUR", "")                      // stock
	b.open("1800", "asset", "EUR", "")                      // exchange, in euros
	b.open("1801", "asset", "USD", "")                      // exchange, in dollars
	b.open("2000", "liability", "EUR", "")                  // payables
	b.open("2100", "liability", "EUR", "")                  // VAT
	b.open("2200", "liability", "EUR", "")                  // wage tax
	b.open("3000", "equity", "EUR", "")                     // capital
	b.open("4000", "income", "EUR", "")                     // sales
	b.open("5000", "expense", "EUR", "")                    // cost of goods
	b.open("6000", "expense", "EUR", "")                    // wages
	b.open("6100", "expense", "EUR", "")                    // rent

	var journal []journalEntry
	enter := func(date, lines string) string {
		journal = append(journal, journalEntry{date, lines})
		return b.post(date, lines)
	}
	// Opening balances.
	enter("2026-01-01", "debit 1000 10000.00, debit 1200 2500.00, credit 2000 1500.00, credit 3000 11000.00")
	// A sale on account, with 19 % VAT, and its goods.
	enter("2026-01-05", "debit 1100 1190.00, credit 4000 1000.00, credit 2100 190.00")
	enter("2026-01-05", "debit 5000 400.10, credit 1200 400.10")
	// The rent, twice by mistake; payables; the customer pays.
	enter("2026-01-07", "debit 6100 850.00, credit 1000 850.00")
	twice := enter("2026-01-07", "debit 6100 850.00, credit 1000 850.00")
	enter("2026-01-10", "debit 2000 1500.00, credit 1000 1500.00")
	// Goods are bought on account.
	enter("2026-01-12", "debit 1200 600.00, debit 2100 114.00, credit 2000 714.00")
	enter("2026-01-15", "debit 1000 1190.00, credit 1100 1190.00")
	// Dollars, through liquidity accounts; the rate is kept.
	enter("2026-01-20", "debit 1010 1000.00, credit 1801 1000.00, debit 1800 921.66 1000.00 USD 0.92166, credit 1000 921.66")
	// Payroll.
	enter("2026-01-28", "debit 6000 3000.00, credit 1000 2150.55, credit 2200 849.45")
	knownBefore := b.now(t)
	// The correction: the second rent is taken back in its own month.
	b.done("POST", "/api/v1/transactions/"+twice+"/reverse", `{"date":"2026-01-30","description":"Paid once only"}`)
	journal = append(journal, journalEntry{"2026-01-30", "credit 6100 850.00, debit 1000 850.00"})
	// Found in February, of January: a sale for cash.
	enter("2026-01-31", "debit 1000 238.00, credit 4000 200.00, credit 2100 38.00")
	b.done("PUT", "/api/v1/transactions/periods", `{"closed_through":"2026-01-31"}`)
	enter("2026-02-02", "debit 2200 849.45, credit 1000 849.45")

	// What is late is refused, or goes into the open month if asked to.
	late := b.call("POST", "/api/v1/transactions", b.body("post", "2026-01-31", "debit 6100 9.99, credit 2000 9.99", ""))
	late.expect(409, "period_closed")
	require.Contains(t, string(late.Body), `"closed_through":"2026-01-31"`)
	b.done("POST", "/api/v1/transactions", b.body("post", "2026-01-31", "debit 6100 9.99, credit 2000 9.99", `,"on_closed_period":"move"`))
	journal = append(journal, journalEntry{"2026-02-01", "debit 6100 9.99, credit 2000 9.99"})
	b.holds(journal)

	b.balances("?as_of=2026-01-31", `1000=6005.79 1010=1000.00 1100=0.00 1200=2699.90 1800=921.66 1801=-1000.00 2000=714.00 2100=114.00
		2200=849.45 3000=11000.00 4000=1200.00 5000=400.10 6000=3000.00 6100=850.00`)
	b.balances("", "1000=5156.34 2000=723.99 2200=0.00 6100=859.99 4000=1200.00")
	b.balances("?as_of=2025-12-31", "1000=0.00 3000=0.00")
	b.balances("?as_of=2026-01-07", "1000=8300.00 1100=1190.00 6100=1700.00")
	b.balances("?as_of=2026-02-28&known_at="+knownBefore, "1000=4917.79 6100=1700.00 4000=1000.00 2200=849.45")
	b.trial("?as_of=2026-01-31", "1000 EUR 6005.79 0.00", "1100 EUR 0.00 0.00", "1200 EUR 2699.90 0.00", "1800 EUR 921.66 0.00", "2000 EUR 0.00 714.00",
		"2100 EUR 0.00 114.00", "2200 EUR 0.00 849.45", "3000 EUR 0.00 11000.00", "4000 EUR 0.00 1200.00", "5000 EUR 400.10 0.00",
		"6000 EUR 3000.00 0.00", "6100 EUR 850.00 0.00", "1010 USD 1000.00 0.00", "1801 USD 0.00 1000.00")
	b.trial("?known_at="+knownBefore, "1000 EUR 4917.79 0.00", "1100 EUR 0.00 0.00", "1200 EUR 2699.90 0.00", "1800 EUR 921.66 0.00", "2000 EUR 0.00 714.00",
		"2100 EUR 0.00 76.00", "2200 EUR 0.00 849.45", "3000 EUR 0.00 11000.00", "4000 EUR 0.00 1000.00", "5000 EUR 400.10 0.00",
		"6000 EUR 3000.00 0.00", "6100 EUR 1700.00 0.00", "1010 USD 1000.00 0.00", "1801 USD 0.00 1000.00")

	bank := []string{
		"2026-01-01 debit 10000.00 10000.00", "2026-01-07 credit 850.00 9150.00", "2026-01-07 credit 850.00 8300.00", "2026-01-10 credit 1500.00 6800.00",
		"2026-01-15 debit 1190.00 7990.00", "2026-01-20 credit 921.66 7068.34", "2026-01-28 credit 2150.55 4917.79", "2026-01-30 debit 850.00 5767.79",
		"2026-01-31 debit 238.00 6005.79", "2026-02-02 credit 849.45 5156.34",
	}
	b.statement("1000", "", bank...)
	b.statement("1000", "?from=2026-01-10&to=2026-01-20", bank[3:6]...)
	slices.Reverse(bank)
	b.statement("1000", "?sort=-date&limit=3", bank[:3]...)
	b.statement("6100", "?known_at="+knownBefore, "2026-01-07 debit 850.00 850.00", "2026-01-07 debit 850.00 1700.00")
	b.statement("1000", "?sort=-date&limit=2&known_at="+knownBefore, bank[3:5]...)
	b.refused(422, "invalid_filter", "GET", "/api/v1/accounts/"+b.accounts["1000"]+"/entries?known_at=yesterday", "")
	b.statement("4000", "", "2026-01-05 credit 1000.00 1000.00", "2026-01-31 credit 200.00 1200.00")
	b.statement("6100", "", "2026-01-07 debit 850.00 850.00", "2026-01-07 debit 850.00 1700.00", "2026-01-30 credit 850.00 850.00", "2026-02-01 debit 9.99 859.99")

	var rent struct {
		Status     string
		ReversedBy string `json:"reversed_by"`
	}
	b.read("/api/v1/transactions/"+twice, &rent)
	require.Equal(t, "reversed", rent.Status)
	var why struct {
		Events []struct {
			Type    string
			Entries []struct{ Code, Date, Side, Amount string }
		}
	}
	b.read("/api/v1/transactions/"+rent.ReversedBy+"/explain", &why)
	require.Len(t, why.Events, 1)
	require.Equal(t, "transaction.posted", why.Events[0].Type)
	require.Equal(t, "[{6100 2026-01-30 credit 850.00} {1000 2026-01-30 debit 850.00}]", fmt.Sprint(why.Events[0].Entries))
}

// journalEntry is what was posted on a date, in the order of recording.
type journalEntry struct{ date, lines string }

// holds reads the statement of every account, and its balance on every day around, and holds
// them against the journal, added up by hand.
func (b *books) holds(journal []journalEntry) {
	b.t.Helper()
	journal = slices.Clone(journal)
	slices.SortStableFunc(journal, func(a, b journalEntry) int { return strings.Compare(a.date, b.date) })
	for code, id := range b.accounts {
		grows := "debit"
		if code[0] >= '2' && code[0] <= '4' { // liability, equity and income
			grows = "credit"
		}
		var statement []string
		var balance int64
		ends := map[string]int64{}
		for _, entry := range journal {
			for line := range strings.SplitSeq(entry.lines, ", ") {
				words := strings.Fields(line)
				if words[1] != code {
					continue
				}
				minor := centsOf(b.t, words[2])
				if words[0] != grows {
					minor = -minor
				}
				balance += minor
				ends[entry.date] = balance
				statement = append(statement, strings.Join([]string{entry.date, words[0], words[2], ledger.FormatMinor(balance, "EUR")}, " "))
			}
		}
		b.statement(code, "", statement...)
		var days struct {
			Items []struct{ Date, Balance string }
		}
		b.read("/api/v1/accounts/"+id+"/balances?from=2025-12-31&to=2026-02-28", &days)
		require.Len(b.t, days.Items, 60)
		balance = 0
		for _, day := range days.Items {
			if end, changed := ends[day.Date]; changed {
				balance = end
			}
			require.Equal(b.t, ledger.FormatMinor(balance, "EUR"), day.Balance, "%s on %s", code, day.Date)
		}
	}
}

// centsOf reads an amount with two digits behind its point.
func centsOf(t testing.TB, amount string) int64 {
	t.Helper()
	minor, err := strconv.ParseInt(strings.Replace(amount, ".", "", 1), 10, 64)
	require.NoError(t, err)
	return minor
}

// now is a time after the last write and before the next.
func (b *books) now(t *testing.T) string {
	t.Helper()
	var page struct {
		Items []struct {
			RecordedAt string `json:"recorded_at"`
		}
	}
	b.read("/api/v1/accounts/"+b.accounts["1000"]+"/entries?sort=-date&limit=1", &page)
	return page.Items[0].RecordedAt
}

// The history of a balance is what the account reads at each of its dates, on both axes.
func TestBalancesOverATime(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.open("1000", "asset", "EUR", "")
	b.open("4000", "income", "EUR", "")
	b.post("2025-12-31", "debit 1000 1.00, credit 4000 1.00")
	b.post("2026-01-15", "debit 1000 2.00, credit 4000 2.00")
	b.post("2026-01-31", "debit 4000 0.50, credit 1000 0.50")
	var before struct {
		UpdatedAt string `json:"updated_at"`
	}
	b.read("/api/v1/transactions/"+b.post("2026-03-01", "debit 1000 4.00, credit 4000 4.00"), &before)
	b.post("2026-01-15", "debit 1000 8.00, credit 4000 8.00")
	b.post("2026-04-01", "debit 1000 9.00, credit 4000 9.00")
	type history struct {
		Currency string
		Items    []struct{ Date, Balance string }
	}
	path := "/api/v1/accounts/" + b.accounts["1000"]
	of := func(query string) string {
		t.Helper()
		var found history
		b.read(path+"/balances?"+query, &found)
		return fmt.Sprint(found)
	}
	const months = "from=2026-01-10&to=2026-03-15&granularity=month"
	require.Equal(t, "{EUR [{2026-01-31 10.50} {2026-02-28 10.50} {2026-03-15 14.50}]}", of(months))
	require.Equal(t, "{EUR [{2026-01-31 2.50} {2026-02-28 2.50} {2026-03-15 6.50}]}", of(months+"&known_at="+before.UpdatedAt))
	require.Equal(t, "{EUR [{2026-01-14 1.00} {2026-01-15 11.00} {2026-01-16 11.00}]}", of("from=2026-01-14&to=2026-01-16"))
	require.Equal(t, "{EUR [{1900-01-01 0.00}]}", of("from=1900-01-01&to=1900-01-01"))
	require.Equal(t, "{EUR [{2199-12-31 23.50}]}", of("from=2199-12-31&to=2199-12-31&granularity=month"))
	var all history
	b.read("/api/v1/accounts/"+b.accounts["4000"]+"/balances?from=2025-01-01&to=2026-05-15", &all)
	require.Len(t, all.Items, 500)
	for _, item := range all.Items[360:] {
		var account accountView
		b.read("/api/v1/accounts/"+b.accounts["4000"]+"?as_of="+item.Date, &account)
		require.Equal(t, account.Balance, item.Balance, item.Date)
	}
	for _, query := range []string{"from=x&to=2026-01-31", "from=2026-01-31&to=x", "from=2026-01-31&to=2026-01-30", "from=2025-01-01&to=2026-05-16", "from=1900-01-01&to=2199-12-31&granularity=month", "from=2026-01-01&to=2026-01-02&known_at=x"} {
		b.refused(422, "invalid_filter", "GET", path+"/balances?"+query, "")
	}
	b.refused(422, "invalid_request", "GET", path+"/balances?from=2026-01-31", "")
	b.refused(422, "invalid_request", "GET", path+"/balances?from=&to=2026-01-31", "")
	b.refused(422, "invalid_request", "GET", path+"/balances?from=2026-01-01&to=2026-01-31&granularity=year", "")
	b.refused(404, "not_found", "GET", "/api/v1/accounts/"+someID+"/balances?from=2026-01-01&to=2026-01-31", "")
}
