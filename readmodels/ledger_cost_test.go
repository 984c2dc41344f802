package readmodels_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/readmodels"
)

// ledgerRows writes rows of the ledger's view as the projector would, for transactions that
// each have so many lines on one account and one on another.
type ledgerRows struct {
	admin  *pgxpool.Pool
	schema string
}

// post writes the transactions from first to last, at every fiftieth position, in turn on so many dates
// of 2026 and so many accounts.
func (r ledgerRows) post(t *testing.T, first, last, dates, lines int, accounts ...uuid.UUID) {
	t.Helper()
	_, err := r.admin.Exec(t.Context(), `
		CREATE TEMPORARY TABLE posted AS
		SELECT n * 50 AS position, l AS line, ($1::uuid[])[1 + CASE WHEN l < $5 THEN n ELSE n + 1 END % cardinality($1)] AS account_id, '2026-01-01'::date + n % $4::int AS date,
		       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id, CASE WHEN l < $5 THEN 'debit' ELSE 'credit' END AS side,
		       CASE WHEN l < $5 THEN 1 ELSE $5 END AS amount, '2026-02-01'::timestamptz + n * interval '1 s' AS recorded_at
		  FROM generate_series($2::int, $3::int) n, generate_series(0, $5::int) l`, accounts, first, last, dates, lines)
	require.NoError(t, err)
	for _, sql := range []string{
		`entries SELECT 'acme', account_id, date, position, line, id, side, amount, recorded_at FROM posted`,
		`entry_sums SELECT 'acme', account_id, date, position >> 12, sum(CASE side WHEN 'debit' THEN amount ELSE 0 END), sum(CASE side WHEN 'credit' THEN amount ELSE 0 END),
			min(recorded_at), max(recorded_at) FROM posted GROUP BY account_id, date, position >> 12`,
		`account_totals SELECT 'acme', account_id, 1, 1, 0, 0 FROM posted GROUP BY account_id`,
		`transaction_accounts SELECT DISTINCT 'acme', account_id, date, id FROM posted`,
		`transactions SELECT 'acme', id, 'posted', date, '', '', NULL, '[]', '{}', '{}', NULL, NULL, '[]', '{}', NULL, NULL, 1, recorded_at, 'ana', recorded_at, 'ana'
			FROM posted WHERE line = 0`,
		`transaction_events SELECT 'acme', id, 1, position, 'transaction.posted', recorded_at, 'ana' FROM posted WHERE line = 0`,
	} {
		_, err := r.admin.Exec(t.Context(), `INSERT INTO `+r.schema+`.`+sql)
		require.NoError(t, err, sql)
	}
	_, err = r.admin.Exec(t.Context(), `DROP TABLE posted`)
	require.NoError(t, err)
}

// What a read of the ledger costs does not depend on how many entries its account has, also
// when the plan was made while it had none and others had many: a page reads its rows, the
// sums of the dates before it, and what is before it of its own date.
func TestLedgerReadsCostWhatTheyShow(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	account, other := h.openAccount(t, "1", ledger.Asset), h.openAccount(t, "2", ledger.Asset)
	h.project(t)
	pool, err := eventstore.OpenPool(t.Context(), h.url, eventstore.RoleQuery, 1)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reads := readmodels.New(readmodels.Options{Pool: pool, CursorKey: cursorKey})
	rows := ledgerRows{admin: hubtest.Pool(t, h.url, ""), schema: "ledger_v1_2"}

	var (
		day     = dated(t, "2026-01-10")
		known   = time.Date(2026, 2, 1, 0, 10, 0, 0, time.UTC) // in the middle of all
		one     = readmodels.TransactionQuery{AccountID: &account}
		explain uuid.UUID
		page    = map[bool]string{}
		queries = map[string]func() error{}
		read    = func(name string, query func() error) { queries[name] = query }
		of      = func(p readmodels.Point) error {
			_, _, err := reads.Account(t.Context(), "acme", account, p)
			return err
		}
		entries = func(q readmodels.EntryQuery) error {
			_, _, err := reads.Entries(t.Context(), "acme", account, q)
			return err
		}
		posted = func(q readmodels.TransactionQuery) error {
			_, _, err := reads.Transactions(t.Context(), "acme", q)
			return err
		}
		trial    = func(p readmodels.Point) error { _, _, err := reads.TrialBalance(t.Context(), "acme", p); return err }
		balances = func(known *time.Time) error {
			_, _, err := reads.Balances(t.Context(), "acme", account, []ledger.Date{dated(t, "2026-01-05"), day}, known)
			return err
		}
	)
	read("balance", func() error { return of(readmodels.Point{}) })
	read("balance of a date", func() error { return of(readmodels.Point{AsOf: &day}) })
	read("balance as known", func() error { return of(readmodels.Point{KnownAt: &known}) })
	read("balance of a date as known", func() error { return of(readmodels.Point{AsOf: &day, KnownAt: &known}) })
	read("history", func() error { return balances(nil) })
	read("history as known", func() error { return balances(&known) })
	read("trial balance", func() error { return trial(readmodels.Point{}) })
	read("trial balance of a date as known", func() error { return trial(readmodels.Point{AsOf: &day, KnownAt: &known}) })
	for _, descending := range []bool{false, true} {
		name, sort := fmt.Sprint("statement, descending ", descending), map[bool]string{false: "date", true: "-date"}[descending]
		read(name, func() error { return entries(readmodels.EntryQuery{Descending: descending}) })
		read(name+", from", func() error { return entries(readmodels.EntryQuery{Descending: descending, From: &day}) })
		read(name+", to", func() error { return entries(readmodels.EntryQuery{Descending: descending, To: &day}) })
		read(name+", as known", func() error { return entries(readmodels.EntryQuery{Descending: descending, KnownAt: &known}) })
		read(name+", of a date as known", func() error {
			return entries(readmodels.EntryQuery{Descending: descending, From: &day, KnownAt: &known})
		})
		read(name+", a page in the middle", func() error {
			return entries(readmodels.EntryQuery{Descending: descending, Page: readmodels.Page{Cursor: page[descending]}})
		})
		read("transactions by "+sort, func() error {
			q := one
			q.Sort = sort
			return posted(q)
		})
		read("transactions from a date by "+sort, func() error {
			q := one
			q.Sort, q.From = sort, &day
			return posted(q)
		})
		read("all transactions until a date by "+sort, func() error {
			return posted(readmodels.TransactionQuery{To: &day, Selection: readmodels.Selection{Sort: sort}})
		})
		read("posted transactions from a date by "+sort, func() error {
			return posted(readmodels.TransactionQuery{From: &day, Status: "posted", Selection: readmodels.Selection{Sort: sort}})
		})
	}
	read("explanation", func() error { _, _, err := reads.Explain(t.Context(), "acme", explain); return err })

	middle := func(descending bool) string {
		q := readmodels.EntryQuery{Descending: descending, Page: readmodels.Page{Limit: 10}}
		for range 5 {
			found, _, err := reads.Entries(t.Context(), "acme", account, q)
			require.NoError(t, err)
			if found.NextCursor == nil {
				break
			}
			q.Cursor = *found.NextCursor
		}
		return q.Cursor
	}
	others := make([]uuid.UUID, 100)
	for i := range others {
		others[i] = uuid.New()
	}
	rows.post(t, 30_001, 30_003, 3, 20, account, other)
	rows.post(t, 20_001, 22_000, 1, 1, others...)
	_, err = rows.admin.Exec(t.Context(), `ANALYZE`)
	require.NoError(t, err)
	page[false], page[true] = middle(false), middle(true)
	explain = uuid.MustParse("00000000-0000-7000-8000-000000007531")
	for name, query := range queries {
		for range 8 { // PostgreSQL settles on a general plan after five
			require.NoError(t, query(), name)
		}
	}

	_, err = rows.admin.Exec(t.Context(), `DELETE FROM `+rows.schema+`.account_totals WHERE account_id = ANY ($1)`, []uuid.UUID{account, other})
	require.NoError(t, err)
	// 60,000 entries on each of the two, in groups of a hundred on twenty dates. There are 300
	// sums, and what is known cuts twenty of them.
	rows.post(t, 4, 1203, 20, 100, account, other)
	page[false], page[true] = middle(false), middle(true)
	explain = uuid.MustParse("00000000-0000-7000-8000-000000000100")
	for name, query := range queries {
		before := rowsRead(t, h, pool, rows.schema)
		require.NoError(t, query(), name)
		read := rowsRead(t, h, pool, rows.schema) - before
		require.Positive(t, read, name)
		require.LessOrEqual(t, read, int64(12_000), "%s: more than a tenth of all entries", name)
	}
}
