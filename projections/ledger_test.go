package projections

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/readmodels"
)

// ledgerHistory is what some random commands on a ledger came to, with a model of it that
// adds up every line.
type ledgerHistory struct {
	*history
	scenario     *domaintest.Scenario
	accounts     []ledgerAccount
	transactions []uuid.UUID
	posted       []postedLine
}

type ledgerAccount struct {
	id       uuid.UUID
	kind     ledger.Kind
	currency string
	min      int64
	guarded  bool
}

// postedLine is one line in the log.
type postedLine struct {
	ledger.Line
	date ledger.Date
	at   time.Time
}

func drawLedger(t *testing.T, r *rapid.T, codec *eventstore.Codec, org string, before int64) *ledgerHistory {
	t.Helper()
	folds := ledger.Folds()
	maps.Copy(folds, entity.Folds())
	maps.Copy(folds, member.Folds())
	h := &ledgerHistory{
		history:  &history{codec: codec, org: org, before: before, states: map[domain.Tag]domain.State{}, versions: map[domain.Tag]int64{}, folds: folds},
		scenario: domaintest.Given(t, folds),
	}
	for i, a := range []ledgerAccount{
		{kind: ledger.Asset, currency: "EUR", guarded: true}, {kind: ledger.Liability, currency: "EUR", guarded: true, min: -300},
		{kind: ledger.Asset, currency: "EUR"}, {kind: ledger.Income, currency: "EUR"}, {kind: ledger.Asset, currency: "JPY", guarded: true}, {kind: ledger.Equity, currency: "JPY"},
	} {
		a.id = uuid.New()
		opened := ledger.NewAccount{ID: a.id, Code: fmt.Sprint(i), Name: "n", Kind: a.kind, Currency: a.currency}
		if a.guarded {
			least := ledger.FormatMinor(a.min, a.currency)
			opened.MinBalance = &least
		}
		h.accounts = append(h.accounts, a)
		h.do(r, transactions.OpenAccount{NewAccount: opened})
	}
	for range rapid.IntRange(1, 25).Draw(r, "commands") {
		h.do(r, h.command(r))
	}
	return h
}

// do decides a command and records what it came to.
func (h *ledgerHistory) do(r *rapid.T, d domain.Decider) {
	o := h.scenario.With(func(m *domain.Meta) {
		m.Actor.Sub = rapid.SampledFrom([]string{"ana", "bob", "carl"}).Draw(r, "who")
		m.Actor.Person = m.Actor.Sub
	}).When(d)
	for _, fact := range o.Decision.Facts {
		if o.Err != nil {
			break
		}
		h.add(fact.Stream, fact.Payload)
		if fact.Stream.Kind() == ledger.TransactionKind {
			id := uuid.MustParse(fact.Stream.Name())
			if h.versions[fact.Stream] == 1 {
				h.transactions = append(h.transactions, id)
			}
		}
		if p, ok := fact.Payload.(ledger.Posted); ok {
			for _, line := range p.Lines {
				h.posted = append(h.posted, postedLine{line, p.Date, h.events[len(h.events)-1].RecordedAt})
			}
		}
	}
}

func (h *ledgerHistory) command(r *rapid.T) domain.Decider {
	choice := rapid.IntRange(0, 19).Draw(r, "command")
	if choice < 10 || len(h.transactions) == 0 {
		action := rapid.SampledFrom([]string{"draft", "submit", "post", "post", "post"}).Draw(r, "action")
		return transactions.CreateTransaction{NewTransaction: ledger.NewTransaction{ID: uuid.New(), Action: action, Draft: h.draft(r)}}
	}
	id := rapid.SampledFrom(h.transactions).Draw(r, "transaction")
	switch choice {
	case 10:
		return transactions.SubmitTransaction{ID: id}
	case 11:
		return transactions.ApproveTransaction{ID: id}
	case 12:
		return transactions.VoidTransaction{ID: id}
	case 13:
		return transactions.RejectTransaction{ID: id}
	case 14:
		return transactions.ReverseTransaction{Reversal: ledger.Reversal{ID: id, By: uuid.New()}}
	case 15, 16:
		lines := h.draft(r).Lines
		document := `{"lines":[`
		for i, line := range lines {
			if i > 0 {
				document += ","
			}
			document += fmt.Sprintf(`{"account_id":%q,"side":%q,"amount":%q}`, line.AccountID, line.Side, line.Amount)
		}
		return transactions.PatchTransaction{Patch: ledger.Patch{ID: id, Document: []byte(document + `],"date":"` + h.date(r) + `"}`)}}
	case 17:
		limit := rapid.SampledFrom([]string{"0", "2"}).Draw(r, "limit")
		return transactions.SetPolicy{NewPolicy: ledger.NewPolicy{Currency: "EUR", ApprovalAbove: &limit, ApprovalsNeeded: 1}}
	case 18:
		through := h.date(r)
		return transactions.ClosePeriods{Through: &through}
	}
	return transactions.PostTransaction{Posting: ledger.Posting{ID: id, Move: rapid.Bool().Draw(r, "move")}}
}

func (h *ledgerHistory) date(r *rapid.T) string {
	return fmt.Sprintf("2026-0%d-0%d", rapid.IntRange(1, 3).Draw(r, "month"), rapid.IntRange(1, 5).Draw(r, "day"))
}

func (h *ledgerHistory) draft(r *rapid.T) ledger.Draft {
	d := ledger.Draft{Date: h.date(r)}
	accounts := h.accounts[:4]
	if rapid.IntRange(0, 4).Draw(r, "yen") == 0 {
		accounts = h.accounts[4:]
	}
	for range rapid.IntRange(1, 2).Draw(r, "pairs") {
		from, to := rapid.SampledFrom(accounts).Draw(r, "from"), rapid.SampledFrom(accounts).Draw(r, "to")
		amount := fmt.Sprint(rapid.IntRange(1, 4).Draw(r, "amount"))
		d.Lines = append(d.Lines, ledger.DraftLine{AccountID: to.id.String(), Side: "debit", Amount: amount},
			ledger.DraftLine{AccountID: from.id.String(), Side: "credit", Amount: amount})
	}
	return d
}

// sum is what an account has by the lines that count, by hand.
func (h *ledgerHistory) sum(a ledgerAccount, counts func(postedLine) bool) (balance int64) {
	for _, line := range h.posted {
		if line.AccountID == a.id && counts(line) {
			if (line.Side == ledger.Debit) == (a.kind == ledger.Asset) {
				balance += line.Amount.Minor
			} else {
				balance -= line.Amount.Minor
			}
		}
	}
	return balance
}

// held are the net effects of what waits, and what of it goes out.
func (h *ledgerHistory) held(a ledgerAccount) (pending, out int64) {
	for _, id := range h.transactions {
		m := h.states[ledger.TransactionStream(id)].(ledger.Transaction).Held()
		if m == nil {
			continue
		}
		waiting := ledgerHistory{}
		for _, line := range m.Lines {
			waiting.posted = append(waiting.posted, postedLine{Line: line})
		}
		net := waiting.sum(a, func(postedLine) bool { return true })
		pending, out = pending+net, out+min(0, net)
	}
	return pending, out
}

// Of any history: however it is cut into batches, the rows of the view are the same; they
// are what adding up its lines comes to, now and at every point on both time axes; money is
// conserved in each currency; and no balance is ever below its least, on no day.
func TestTheLedgerIsTheSumOfItsEvents(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	v, err := ensureView(t.Context(), h.options, Ledger())
	require.NoError(t, err)
	one, err := openWriter(t.Context(), h.options, Ledger(), v.schema)
	require.NoError(t, err)
	require.NoError(t, changeViews(t.Context(), h.options.Pool, func(tx pgx.Tx) error {
		return createSchema(context.Background(), tx, Ledger(), checkpoint{schema: "ledger_v1_92", epoch: thisLog})
	}))
	cut, err := openWriter(t.Context(), h.options, Ledger(), "ledger_v1_92")
	require.NoError(t, err)
	reads := readmodels.New(readmodels.Options{Pool: hubtest.Pool(t, h.url, string(eventstore.RoleQuery)), CursorKey: []byte("0123456789abcdef")})
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		history := drawLedger(t, r, h.options.Codec, fmt.Sprint("org", n), one.at.position)
		for rest := history.events; len(rest) > 0; {
			size := rapid.IntRange(1, len(rest)).Draw(r, "batch")
			require.NoError(r, cut.write(t.Context(), rest[:size]))
			rest = rest[size:]
		}
		for _, e := range history.events {
			require.NoError(r, one.write(t.Context(), []domain.Event{e}))
		}
		require.Empty(r, one.parked)
		for _, table := range Ledger().Tables {
			require.Equal(r, h.tableOf(r, one.at.schema, table, history.org), h.tableOf(r, cut.at.schema, table, history.org), table)
		}
		history.check(t, r, reads)
	})
}

func (h *hub) tableOf(r *rapid.T, schema, table, org string) []string {
	rows, err := h.admin.Query(context.Background(), `SELECT to_jsonb(t)::text FROM `+quoted(schema)+`.`+table+` t WHERE org = $1 ORDER BY 1`, org)
	require.NoError(r, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(r, err)
	return found
}

func (h *ledgerHistory) check(t *testing.T, r *rapid.T, reads *readmodels.Store) {
	t.Helper()
	first, _ := ledger.ParseDate("2026-01-01")
	point := readmodels.Point{}
	date := first + ledger.Date(rapid.Int32Range(0, 70).Draw(r, "as of"))
	known := h.events[rapid.IntRange(0, len(h.events)-1).Draw(r, "known")].RecordedAt
	if rapid.Bool().Draw(r, "dated") {
		point.AsOf = &date
	}
	if rapid.Bool().Draw(r, "known then") {
		point.KnownAt = &known
	}
	counts := func(line postedLine) bool {
		return (point.AsOf == nil || line.date <= date) && (point.KnownAt == nil || !line.at.After(known))
	}
	for _, a := range h.accounts {
		pending, out := h.held(a)
		now := h.sum(a, func(postedLine) bool { return true })
		seen, _, err := reads.Account(t.Context(), h.org, a.id, readmodels.Point{})
		require.NoError(r, err)
		require.Equal(r, ledger.FormatMinor(now, a.currency), seen.Balance)
		require.Equal(r, ledger.FormatMinor(pending, a.currency), *seen.Pending)
		require.Equal(r, ledger.FormatMinor(now+out, a.currency), *seen.Available)
		seen, _, err = reads.Account(t.Context(), h.org, a.id, point)
		require.NoError(r, err)
		require.Equal(r, ledger.FormatMinor(h.sum(a, counts), a.currency), seen.Balance, "as of %s (%v), known at %s (%v): %v", date, point.AsOf != nil, known, point.KnownAt != nil, h.posted)
		h.checkStatement(t, r, reads, a)
		for d := first; a.guarded && d < first+70; d++ {
			if day := h.sum(a, func(line postedLine) bool { return line.date <= d }); day < a.min {
				r.Fatalf("%s %s has %d on %s", a.kind, a.currency, day, d)
			}
		}
		if a.guarded && now+out < a.min {
			r.Fatalf("%s %s has %d available", a.kind, a.currency, now+out)
		}
	}
	trial, _, err := reads.TrialBalance(t.Context(), h.org, point)
	require.NoError(r, err)
	for _, total := range trial.Totals {
		require.Equal(r, total.Debit, total.Credit, "%s", total.Currency)
	}
}

// checkStatement reads an account page by page in either direction: each balance is the
// one before with the entry on it.
func (h *ledgerHistory) checkStatement(t *testing.T, r *rapid.T, reads *readmodels.Store, a ledgerAccount) {
	t.Helper()
	descending := rapid.Bool().Draw(r, "descending")
	q := readmodels.EntryQuery{Page: readmodels.Page{Limit: 3, Count: true}, Descending: descending}
	known := h.events[len(h.events)-1].RecordedAt
	if rapid.Bool().Draw(r, "as known") {
		known = h.events[rapid.IntRange(0, len(h.events)-1).Draw(r, "statement known")].RecordedAt
		q.KnownAt = &known
	}
	var all []readmodels.Entry
	var count int64
	for {
		page, _, err := reads.Entries(t.Context(), h.org, a.id, q)
		require.NoError(r, err)
		all, count = append(all, page.Items...), *page.Count
		if page.NextCursor == nil {
			break
		}
		q.Cursor = *page.NextCursor
	}
	counted := 0
	for _, line := range h.posted {
		if line.AccountID == a.id && !line.at.After(known) {
			counted++
		}
	}
	require.Len(r, all, counted)
	require.EqualValues(r, counted, count)
	var balance int64
	for n := range all {
		i := n
		if descending {
			i = len(all) - 1 - n
		}
		minor := minorOf(all[i].Amount)
		if (all[i].Side == "debit") != (a.kind == ledger.Asset) {
			minor = -minor
		}
		balance += minor
		require.Equal(r, ledger.FormatMinor(balance, a.currency), all[i].Balance)
		if n > 0 && !descending {
			require.LessOrEqual(r, all[i-1].Date, all[i].Date)
		}
	}
}

// minorOf reads an amount without its point.
func minorOf(text string) (minor int64) {
	for _, c := range text {
		if c != '.' {
			minor = minor*10 + int64(c-'0')
		}
	}
	return minor
}

// Lines that do not balance, which no program of ours has decided, park their stream.
func TestUnbalancedLinesAreNotProjected(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	v, err := ensureView(t.Context(), h.options, Ledger())
	require.NoError(t, err)
	w, err := openWriter(t.Context(), h.options, Ledger(), v.schema)
	require.NoError(t, err)
	line := ledger.Line{AccountID: uuid.New(), Side: ledger.Debit, Amount: ledger.Money{Minor: 1, Currency: "EUR"}}
	bad := happening{"acme", ledger.TransactionStream(uuid.New()), ledger.Posted{Content: &ledger.Content{}, Movement: ledger.Movement{Lines: []ledger.Line{line, line}}}}
	h.append(t, bad, happening{"acme", ledger.AccountStream(uuid.New()), ledger.Opened{Code: "1", Kind: ledger.Asset, Currency: "EUR"}})
	require.NoError(t, w.write(t.Context(), h.events(t)))
	require.Len(t, w.parked, 1)
	var entries, accounts int
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM `+v.schema+`.entries), (SELECT count(*) FROM `+v.schema+`.accounts)`).Scan(&entries, &accounts))
	require.Equal(t, []int{0, 1}, []int{entries, accounts})
}
