package readmodels_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/readmodels"
)

// openAccount appends an account of acme.
func (h *hub) openAccount(t testing.TB, code string, kind ledger.Kind) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	h.append(t, "acme", ledger.AccountStream(id), ledger.Opened{Code: code, Name: code, Kind: kind, Currency: "EUR"})
	return id
}

func dated(t testing.TB, text string) ledger.Date {
	t.Helper()
	d, ok := ledger.ParseDate(text)
	require.True(t, ok)
	return d
}

// pay is a movement from one account to another.
func pay(from, to uuid.UUID, d ledger.Date, minor int64) ledger.Movement {
	return ledger.Movement{Date: d, Lines: []ledger.Line{
		{AccountID: to, Side: ledger.Debit, Amount: ledger.Money{Minor: minor, Currency: "EUR"}},
		{AccountID: from, Side: ledger.Credit, Amount: ledger.Money{Minor: minor, Currency: "EUR"}},
	}}
}

func by(person string) ledger.By { return ledger.By{Actor: domain.Actor{Sub: person, Person: person}} }

// begin appends the first event of a transaction.
func (h *hub) begin(t testing.TB, payload domain.Payload) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	h.append(t, "acme", ledger.TransactionStream(id), payload)
	return id
}

func transactionIDs(page readmodels.TransactionPage) []uuid.UUID {
	found := []uuid.UUID{}
	for _, item := range page.Items {
		found = append(found, item.ID)
	}
	return found
}

func TestTransactionLists(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	bank, rent, other := h.openAccount(t, "1000", ledger.Asset), h.openAccount(t, "6000", ledger.Expense), h.openAccount(t, "1100", ledger.Asset)
	content := func(m ledger.Movement, description, ref string) *ledger.Content {
		return &ledger.Content{Movement: m, Description: ledger.Personal[string]{Clear: description}, ExternalRef: ref}
	}
	january, february, march := pay(bank, rent, dated(t, "2026-01-31"), 5), pay(bank, rent, dated(t, "2026-02-28"), 5), pay(bank, other, dated(t, "2026-03-31"), 5)
	posted := h.begin(t, ledger.Posted{Content: content(january, "Rent 100% Ünder", "R-1"), Movement: january, By: by("ana")})
	waiting := h.begin(t, ledger.Submitted{Content: content(february, "Rent", "R-2"), Held: february, By: by("ana")})
	approved := h.begin(t, ledger.Submitted{Content: content(march, "Moved", ""), Held: march, By: by("bob")})
	h.append(t, "acme", ledger.TransactionStream(approved), ledger.Approved{By: by("carl"), At: time.Now()})
	draft := h.begin(t, ledger.Drafted{Content: *content(march, "Later", ""), By: by("ana")})
	h.append(t, "other", ledger.TransactionStream(uuid.New()), ledger.Posted{Content: content(january, "Rent", ""), Movement: january, By: by("ana")})
	h.project(t)

	from, to := dated(t, "2026-02-01"), dated(t, "2026-02-28")
	for name, test := range map[string]struct {
		q    readmodels.TransactionQuery
		want []uuid.UUID
	}{
		"all":                          {readmodels.TransactionQuery{}, []uuid.UUID{posted, waiting, approved, draft}},
		"latest first":                 {selected(readmodels.Selection{Sort: "-date"}), []uuid.UUID{draft, approved, waiting, posted}},
		"status":                       {readmodels.TransactionQuery{Status: "posted"}, []uuid.UUID{posted}},
		"account":                      {readmodels.TransactionQuery{AccountID: &rent, Selection: readmodels.Selection{Sort: "-date"}}, []uuid.UUID{waiting, posted}},
		"account, status":              {readmodels.TransactionQuery{AccountID: &bank, Status: "draft"}, []uuid.UUID{draft}},
		"from":                         {readmodels.TransactionQuery{From: &from}, []uuid.UUID{waiting, approved, draft}},
		"to":                           {readmodels.TransactionQuery{To: &to, AccountID: &bank}, []uuid.UUID{posted, waiting}},
		"text":                         {readmodels.TransactionQuery{Q: "rent"}, []uuid.UUID{posted, waiting}},
		"no wildcard":                  {readmodels.TransactionQuery{Q: "0% ü"}, []uuid.UUID{posted}},
		"text of a ref":                {readmodels.TransactionQuery{Q: "r-2"}, []uuid.UUID{waiting}},
		"ref":                          {readmodels.TransactionQuery{ExternalRef: "R-1"}, []uuid.UUID{posted}},
		"awaiting ana":                 {readmodels.TransactionQuery{AwaitingApprovalOf: "ana"}, []uuid.UUID{approved}},
		"awaiting bob":                 {readmodels.TransactionQuery{AwaitingApprovalOf: "bob"}, []uuid.UUID{waiting}},
		"awaiting carl":                {readmodels.TransactionQuery{AwaitingApprovalOf: "carl"}, []uuid.UUID{waiting}},
		"awaiting dora":                {readmodels.TransactionQuery{AwaitingApprovalOf: "dora"}, []uuid.UUID{waiting, approved}},
		"nothing":                      {readmodels.TransactionQuery{Nothing: true}, []uuid.UUID{}},
		"by change":                    {selected(readmodels.Selection{Sort: "-updated_at"}), []uuid.UUID{draft, approved, waiting, posted}},
		"by change, of an account":     {readmodels.TransactionQuery{AccountID: &bank, Selection: readmodels.Selection{Sort: "updated_at"}}, []uuid.UUID{posted, waiting, approved, draft}},
		"ids":                          {selected(readmodels.Selection{IDs: []uuid.UUID{draft, posted, uuid.New()}}), []uuid.UUID{posted, draft}},
		"no ids":                       {selected(readmodels.Selection{IDs: []uuid.UUID{}}), []uuid.UUID{}},
		"compared":                     {selected(readmodels.Selection{Filters: []readmodels.Filter{{Field: "date", Operator: "gte", Value: "2026-02-28"}, {Field: "status", Operator: "in", Value: "draft,submitted"}}}), []uuid.UUID{waiting, approved, draft}},
		"changed since, of an account": {readmodels.TransactionQuery{AccountID: &rent, Selection: readmodels.Selection{Filters: []readmodels.Filter{{Field: "updated_at", Operator: "gt", Value: "2020-01-01"}, {Field: "version", Operator: "eq", Value: "1"}}}}, []uuid.UUID{posted, waiting}},
	} {
		page, _, err := h.reads.Transactions(t.Context(), "acme", test.q)
		require.NoError(t, err, name)
		require.Equal(t, test.want, transactionIDs(page), name)
		require.Nil(t, page.Count, name)
		if len(test.want) > 0 {
			skipping := test.q
			skipping.Offset, skipping.Count = 1, true
			page, _, err = h.reads.Transactions(t.Context(), "acme", skipping)
			require.NoError(t, err, name)
			require.Equal(t, test.want[1:], transactionIDs(page), name)
			require.Equal(t, int64(len(test.want)), *page.Count, name)
		}
		// Page by page it is the same.
		var all []uuid.UUID
		q := test.q
		for q.Limit = 1; ; q.Cursor = *page.NextCursor {
			page, _, err = h.reads.Transactions(t.Context(), "acme", q)
			require.NoError(t, err, name)
			if all = append(all, transactionIDs(page)...); page.NextCursor == nil {
				break
			}
		}
		require.ElementsMatch(t, test.want, all, name)
	}
	lost := []readmodels.Filter{{Field: "lines", Value: "1"}}
	for _, q := range []readmodels.TransactionQuery{
		{Status: "lost"}, {Q: "\x00"}, {ExternalRef: "\xff"}, selected(readmodels.Selection{Filters: lost}),
		selected(readmodels.Selection{Filters: []readmodels.Filter{{Field: "date", Operator: "lt", Value: "2026-02-29"}}}),
		selected(readmodels.Selection{IDs: make([]uuid.UUID, 501)}),
	} {
		_, _, err := h.reads.Transactions(t.Context(), "acme", q)
		requireProblem(t, problem.Invalid, "invalid_filter", err)
	}
	first, _, err := h.reads.Transactions(t.Context(), "acme", selected(readmodels.Selection{Page: readmodels.Page{Limit: 1}}))
	require.NoError(t, err)
	next := readmodels.Page{Cursor: *first.NextCursor}
	for code, q := range map[string]readmodels.Selection{
		"invalid_cursor": {Page: next, Sort: "-date"}, "invalid_limit": {Page: readmodels.Page{Limit: 501}},
		"invalid_offset": {Page: next, Offset: 1}, "invalid_sort": {Sort: "amount"},
	} {
		_, _, err = h.reads.Transactions(t.Context(), "acme", selected(q))
		var refused *problem.Problem
		require.ErrorAs(t, err, &refused, code)
		require.Equal(t, code, refused.Code)
	}
}

func selected(s readmodels.Selection) readmodels.TransactionQuery {
	return readmodels.TransactionQuery{Selection: s}
}

func TestAccountLists(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var ids []uuid.UUID
	for i := range 5 {
		ids = append(ids, h.openAccount(t, fmt.Sprint("1", i), ledger.Asset))
	}
	h.append(t, "acme", ledger.AccountStream(ids[1]), ledger.Closed{})
	h.append(t, "other", ledger.AccountStream(uuid.New()), ledger.Opened{Code: "1", Kind: ledger.Asset, Currency: "EUR"})
	m := pay(ids[0], ids[2], dated(t, "2026-01-31"), 1234)
	h.begin(t, ledger.Posted{Content: &ledger.Content{Movement: m}, Movement: m, By: by("ana")})
	h.project(t)
	codes := func(q readmodels.AccountQuery) (found []string) {
		for {
			page, _, err := h.reads.Accounts(t.Context(), "acme", q)
			require.NoError(t, err)
			for _, a := range page.Items {
				found = append(found, a.Code+"="+a.Balance)
			}
			if page.NextCursor == nil {
				return found
			}
			q.Cursor = *page.NextCursor
		}
	}
	all := []string{"10=-12.34", "11=0.00", "12=12.34", "13=0.00", "14=0.00"}
	require.Equal(t, all, codes(readmodels.AccountQuery{}))
	require.Equal(t, all, codes(readmodels.AccountQuery{Selection: readmodels.Selection{Page: readmodels.Page{Limit: 2}}}))
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	for _, sort := range []string{"-code", "-created_at"} {
		require.Equal(t, backwards, codes(readmodels.AccountQuery{Selection: readmodels.Selection{Sort: sort, Page: readmodels.Page{Limit: 2}}}), sort)
	}
	require.Equal(t, "11=0.00", codes(readmodels.AccountQuery{Selection: readmodels.Selection{Sort: "-updated_at"}})[0], "it was closed")
	require.Equal(t, []string{"10=-12.34", "12=12.34"}, codes(readmodels.AccountQuery{Selection: readmodels.Selection{IDs: []uuid.UUID{ids[2], ids[0]}}}))
	require.Equal(t, all[3:], codes(readmodels.AccountQuery{Kind: "asset", Selection: readmodels.Selection{Filters: []readmodels.Filter{{Field: "code", Operator: "gt", Value: "12"}}}}))
	counted, _, err := h.reads.Accounts(t.Context(), "acme", readmodels.AccountQuery{Status: "open", Selection: readmodels.Selection{Page: readmodels.Page{Limit: 1, Count: true}, Offset: 1}})
	require.NoError(t, err)
	require.Equal(t, int64(4), *counted.Count)
	require.Equal(t, "12", counted.Items[0].Code)
	require.Equal(t, []string{"11=0.00"}, codes(readmodels.AccountQuery{Status: "closed"}))
	require.Equal(t, []string{"12=12.34"}, codes(readmodels.AccountQuery{Code: "12"}))
	require.Empty(t, codes(readmodels.AccountQuery{Kind: "income"}))
	require.Empty(t, codes(readmodels.AccountQuery{Currency: "USD"}))
	require.Empty(t, codes(readmodels.AccountQuery{EntityID: &ids[0]}))
	before := dated(t, "2026-01-30")
	require.Equal(t, "10=0.00", codes(readmodels.AccountQuery{Point: readmodels.Point{AsOf: &before}})[0])
	_, _, err = h.reads.Accounts(t.Context(), "acme", readmodels.AccountQuery{Code: "\x00"})
	requireProblem(t, problem.Invalid, "invalid_filter", err)
	_, _, err = h.reads.Account(t.Context(), "other", ids[0], readmodels.Point{})
	requireProblem(t, problem.NotFound, "not_found", err)
	_, _, err = h.reads.Entries(t.Context(), "other", ids[0], readmodels.EntryQuery{})
	requireProblem(t, problem.NotFound, "not_found", err)
	_, _, err = h.reads.Transaction(t.Context(), "acme", ids[0])
	requireProblem(t, problem.NotFound, "not_found", err)
	_, _, err = h.reads.Explain(t.Context(), "acme", ids[0])
	requireProblem(t, problem.NotFound, "not_found", err)
}

// What is on an account is right beyond the range of an int64: those without a least
// balance have no bound.
func TestSumsHaveNoBound(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	from, to := h.openAccount(t, "1", ledger.Liability), h.openAccount(t, "2", ledger.Asset)
	m := pay(from, to, dated(t, "2026-01-31"), 999_999_999_999_999_999)
	for range 12 {
		h.begin(t, ledger.Posted{Content: &ledger.Content{Movement: m}, Movement: m, By: by("ana")})
	}
	h.project(t)
	for _, id := range []uuid.UUID{from, to} {
		a, _, err := h.reads.Account(t.Context(), "acme", id, readmodels.Point{})
		require.NoError(t, err)
		require.Equal(t, "119999999999999999.88", a.Balance)
		page, _, err := h.reads.Entries(t.Context(), "acme", id, readmodels.EntryQuery{Page: readmodels.Page{Limit: 1}, Descending: true})
		require.NoError(t, err)
		require.Equal(t, "119999999999999999.88", page.Items[0].Balance)
	}
	trial, _, err := h.reads.TrialBalance(t.Context(), "acme", readmodels.Point{})
	require.NoError(t, err)
	require.Equal(t, []readmodels.TrialBalanceTotal{{Currency: "EUR", Debit: "119999999999999999.88", Credit: "119999999999999999.88"}}, trial.Totals)
}

// Whether the entries before a page are of other dates, of other buckets of its date or of
// its own bucket, the balances go on from them.
func TestAStatementOfManyBuckets(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	account := h.openAccount(t, "1", ledger.Asset)
	h.project(t)
	admin := hubtest.Pool(t, h.url, "")
	var schema string
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT schema FROM view_pointers WHERE name = 'ledger'`).Scan(&schema))
	const entries = 20_000 // on three dates, over five buckets
	_, err := admin.Exec(t.Context(), `
		INSERT INTO `+schema+`.entries
		SELECT 'acme', $1, '2026-01-31'::date + n % 3, n, 0, gen_random_uuid(), 'debit', 1, '2026-02-01'::timestamptz + n * interval '1 s' FROM generate_series(1, $2) n`,
		account, entries)
	require.NoError(t, err)
	_, err = admin.Exec(t.Context(), `
		INSERT INTO `+schema+`.entry_sums SELECT org, account_id, date, position >> 12, count(*), 0, min(recorded_at), max(recorded_at)
		  FROM `+schema+`.entries GROUP BY 1, 2, 3, 4`)
	require.NoError(t, err)
	seen := 0
	q := readmodels.EntryQuery{Page: readmodels.Page{Limit: 499}}
	for {
		page, _, err := h.reads.Entries(t.Context(), "acme", account, q)
		require.NoError(t, err)
		for _, e := range page.Items {
			seen++
			require.Equal(t, ledger.FormatMinor(int64(seen), "EUR"), e.Balance)
		}
		if page.NextCursor == nil {
			break
		}
		q.Cursor = *page.NextCursor
	}
	require.Equal(t, entries, seen)
	page, _, err := h.reads.Entries(t.Context(), "acme", account, readmodels.EntryQuery{Page: readmodels.Page{Limit: 2}, Descending: true})
	require.NoError(t, err)
	require.Equal(t, "200.00", page.Items[0].Balance)
	// Known after 10,000 of them, which cuts buckets of every date.
	known, date := time.Date(2026, 2, 1, 0, 0, 10_000, 0, time.UTC), dated(t, "2026-02-01")
	for _, descending := range []bool{false, true} {
		q, seen := readmodels.EntryQuery{Page: readmodels.Page{Limit: 499, Count: true}, Descending: descending, From: &date, KnownAt: &known}, 0
		for {
			page, _, err := h.reads.Entries(t.Context(), "acme", account, q)
			require.NoError(t, err)
			require.EqualValues(t, 6667, *page.Count, "of the last two dates")
			for _, e := range page.Items {
				balance := 3334 + seen // those of the first date are before
				if descending {
					balance = 10_000 - seen
				}
				require.Equal(t, ledger.FormatMinor(int64(balance), "EUR"), e.Balance)
				seen++
			}
			if page.NextCursor == nil {
				break
			}
			q.Cursor = *page.NextCursor
		}
		require.Equal(t, 6667, seen)
	}
	a, _, err := h.reads.Account(t.Context(), "acme", account, readmodels.Point{KnownAt: &known})
	require.NoError(t, err)
	require.Equal(t, "100.00", a.Balance)
	a, _, err = h.reads.Account(t.Context(), "acme", account, readmodels.Point{KnownAt: &known, AsOf: &date})
	require.NoError(t, err)
	require.Equal(t, "66.67", a.Balance)
}
