package readmodels

import (
	"context"
	"math/big"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// ledgerView is the view of accounts and transactions.
const ledgerView = "ledger"

// Account is an account with what is on it.
type Account struct {
	ID         uuid.UUID  `json:"id" doc:"The account's id." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Code       string     `json:"code" doc:"The organisation's own number of it." example:"1000"`
	Name       string     `json:"name" doc:"What people call it." example:"Bank"`
	Kind       string     `json:"kind" enum:"asset,liability,equity,income,expense" doc:"Debits make the balance of assets and expenses grow, credits that of the others."`
	Currency   string     `json:"currency" doc:"Code of ISO 4217." example:"EUR"`
	Status     string     `json:"status" enum:"open,closed" doc:"A closed account takes no entries."`
	MinBalance *string    `json:"min_balance" nullable:"true" doc:"The least that may be available, on any day; null for no limit." example:"0.00"`
	EntityID   *uuid.UUID `json:"entity_id" nullable:"true" doc:"The entity that it is linked to, null for none."`
	Balance    string     `json:"balance" doc:"What its entries come to." example:"1250.00"`
	Pending    *string    `json:"pending" nullable:"true" doc:"Net of the submitted and approved lines that are not posted yet; null for a time in the past." example:"-50.00"`
	Available  *string    `json:"available" nullable:"true" doc:"The balance less what submitted transactions would take from it; null for a time in the past." example:"1200.00"`
	Version    int64      `json:"version" doc:"Counts the events of the account itself, which entries are not among; also its ETag, with as_of and known_at apart." example:"1"`
	CreatedAt  time.Time  `json:"created_at" doc:"When it was opened."`
	CreatedBy  string     `json:"created_by" doc:"Who opened it." example:"ana"`
	UpdatedAt  time.Time  `json:"updated_at" doc:"When it was last changed."`
	UpdatedBy  string     `json:"updated_by" doc:"Who changed it last." example:"ana"`
}

// accountColumns are what an accountRow reads, of the aliases a and t.
const accountColumns = `a.id, a.code, a.name, a.kind, a.currency, a.status, a.min_balance, a.entity_id, a.version,
	a.created_at, a.created_by, a.updated_at, a.updated_by, (t.debit - t.credit)::text, t.held_debit::text, t.held_credit::text`

// accountRow is a row of accountColumns, which is one of nulls where a statement finds
// nothing.
type accountRow struct {
	id, entity                                                           *uuid.UUID
	code, name, kind, currency, status, minBalance, createdBy, updatedBy *string
	version                                                              *int64
	createdAt, updatedAt                                                 *time.Time
	net, heldDebit, heldCredit                                           *string
}

func (r *accountRow) columns() []any {
	return []any{
		&r.id, &r.code, &r.name, &r.kind, &r.currency, &r.status, &r.minBalance, &r.entity, &r.version,
		&r.createdAt, &r.createdBy, &r.updatedAt, &r.updatedBy, &r.net, &r.heldDebit, &r.heldCredit,
	}
}

// account is what was scanned; past leaves out what is known of now only.
func (r *accountRow) account(past bool) *Account {
	if r.id == nil {
		return nil
	}
	a := &Account{
		ID: *r.id, Code: *r.code, Name: *r.name, Kind: *r.kind, Currency: *r.currency, Status: *r.status, EntityID: r.entity, Version: *r.version,
		CreatedAt: r.createdAt.UTC(), CreatedBy: *r.createdBy, UpdatedAt: r.updatedAt.UTC(), UpdatedBy: *r.updatedBy,
	}
	if *r.minBalance != "" {
		a.MinBalance = r.minBalance
	}
	balance := natural(*r.kind, whole(r.net))
	a.Balance = shownSum(balance, a.Currency)
	if past {
		return a
	}
	in, out := whole(r.heldDebit), whole(r.heldCredit)
	if !debitsGrow(*r.kind) {
		in, out = out, in
	}
	pending, available := shownSum(in.Sub(in, out), a.Currency), shownSum(balance.Sub(balance, out), a.Currency)
	a.Pending, a.Available = &pending, &available
	return a
}

// Point is a time on both axes: entries that took effect on a date or before, as far as
// they were known at a time. Nil is now.
type Point struct {
	AsOf    *ledger.Date
	KnownAt *time.Time
}

// now reports whether the point is in no past.
func (p Point) now() bool { return p.AsOf == nil && p.KnownAt == nil }

// texts name the point, for cursors.
func (p Point) texts() []string {
	texts := []string{dateText(p.AsOf), ""}
	if p.KnownAt != nil {
		texts[1] = p.KnownAt.UTC().Format(time.RFC3339Nano)
	}
	return texts
}

// sums selects the sums of the entries of accounts up to the point: account_id, date, debit
// and credit of buckets that are within it, and of the entries of those that it cuts. which
// is a condition on the alias s. What does not restrict is not said, so that what does is
// looked up in an index whatever its value is.
func (p Point) sums(schema, which string, args *arguments) string {
	if p.AsOf != nil {
		which += ` AND s.date <= ` + args.add(p.AsOf.Time()) + `::date`
	}
	whole := `
		SELECT s.org, s.account_id, s.date, s.debit, s.credit FROM ` + schema + `.entry_sums s
		 WHERE ` + which
	if p.KnownAt == nil {
		return whole
	}
	known := args.add(*p.KnownAt) + `::timestamptz`
	return whole + ` AND s.last_at <= ` + known + `
		UNION ALL
		SELECT s.org, s.account_id, s.date, e.debit, e.credit
		  FROM ` + schema + `.entry_sums s CROSS JOIN LATERAL (
			SELECT CASE e.side WHEN 'debit' THEN e.amount ELSE 0 END AS debit, CASE e.side WHEN 'credit' THEN e.amount ELSE 0 END AS credit
			  FROM ` + schema + `.entries e
			 WHERE e.org = s.org AND e.account_id = s.account_id AND e.date = s.date
			   AND e.position >= s.bucket << ` + bucketBits + ` AND e.position < (s.bucket + 1) << ` + bucketBits + ` AND e.recorded_at <= ` + known + `
			OFFSET 0 -- so that it stays a look-up for each bucket
		  ) e
		 WHERE ` + which + ` AND s.first_at <= ` + known + ` AND s.last_at > ` + known
}

// bucketBits is LedgerBucketBits of package projections.
const bucketBits = "12"

// totals joins what is on the accounts of the alias a, as t: of now, or of a point.
func (p Point) totals(schema string, args *arguments) string {
	if p.now() {
		return ` LEFT JOIN ` + schema + `.account_totals t ON t.org = a.org AND t.account_id = a.id`
	}
	return ` LEFT JOIN LATERAL (SELECT sum(x.debit) AS debit, sum(x.credit) AS credit, NULL::numeric AS held_debit, NULL::numeric AS held_credit FROM (` +
		p.sums(schema, `s.org = a.org AND s.account_id = a.id`, args) + `) x) t ON true`
}

// Account gives one account of an organisation. Problem: NotFound not_found, together with
// the snapshot in which it was not there.
func (s *Store) Account(ctx context.Context, org string, id uuid.UUID, point Point) (Account, Snapshot, error) {
	var row accountRow
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		row = accountRow{}
		args := arguments{ledgerView, org, id}
		sql := `SELECT ` + heads + `, ` + accountColumns + `
				FROM ` + pointed + ` LEFT JOIN ` + schema + `.accounts a ON a.org = $2 AND a.id = $3` + point.totals(schema, &args)
		return statement{sql: sql, args: args, planned: true, row: func(scan func(...any) error) error { return scan(row.columns()...) }}
	})
	if err != nil {
		return Account{}, at, err
	}
	found := row.account(!point.now())
	if found == nil {
		return Account{}, at, noAccount()
	}
	return *found, at, nil
}

func noAccount() error {
	return problem.New(problem.NotFound, "not_found", "There is no account with this id.")
}

// accountListing is the list of accounts. Accounts are some hundreds, so any order will do.
var accountListing = listing[Account]{
	route: "accounts", usual: "code", id: func(a Account) uuid.UUID { return a.ID },
	columns: []filterColumn{
		textColumn("code"), textColumn("name"), textColumn("kind"), textColumn("currency"), textColumn("status"),
		timeColumn("created_at"), textColumn("created_by"), timeColumn("updated_at"), textColumn("updated_by"), versionColumn,
	},
	sorts: []listSort[Account]{
		{column: "code", cast: "text", value: func(a Account) string { return a.Code }},
		sortByTime("created_at", func(a Account) time.Time { return a.CreatedAt }),
		sortByTime("updated_at", func(a Account) time.Time { return a.UpdatedAt }),
	},
}

// AccountFilters are the columns that a Filter on accounts can name.
func AccountFilters() []string { return accountListing.filterNames() }

// AccountQuery selects accounts; fields left zero do not restrict. They are sorted by code,
// created_at or updated_at.
type AccountQuery struct {
	Selection
	Point
	Kind, Currency, Status, Code string
	EntityID                     *uuid.UUID
}

// AccountPage is a page of accounts.
type AccountPage struct {
	Items      []Account `json:"items" doc:"The accounts of this page."`
	NextCursor *string   `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64    `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

// Accounts lists accounts. Problems: those of a selection, invalid_filter (Invalid),
// epoch_changed (Conflict).
func (s *Store) Accounts(ctx context.Context, org string, q AccountQuery) (AccountPage, Snapshot, error) {
	if !storable(q.Code) || !storable(q.Kind) || !storable(q.Currency) || !storable(q.Status) {
		return AccountPage{}, Snapshot{}, invalidFilter("code", "must be UTF-8 without NUL characters")
	}
	plan, err := accountListing.plan(s, org, q.Selection, q.filterTexts()...)
	if err != nil {
		return AccountPage{}, Snapshot{}, err
	}
	var page AccountPage
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		page = AccountPage{Items: []Account{}}
		sql, args := q.sql(schema, plan)
		return statement{sql: sql, args: args, row: func(scan func(...any) error) error {
			var row accountRow
			if err := scan(append([]any{&page.Count}, row.columns()...)...); err != nil {
				return err
			}
			if found := row.account(!q.now()); found != nil {
				page.Items = append(page.Items, *found)
			}
			return nil
		}}
	})
	if err != nil {
		return AccountPage{}, at, err
	}
	page.Items, page.NextCursor, err = plan.cut(s, page.Items, at)
	return page, at, err
}

// filterTexts name what restricts accounts alone, and the point that they are shown at.
func (q AccountQuery) filterTexts() []string {
	entity := ""
	if q.EntityID != nil {
		entity = q.EntityID.String()
	}
	return append([]string{q.Kind, q.Currency, q.Status, q.Code, entity}, q.texts()...)
}

func (q AccountQuery) sql(schema string, plan *listPlan[Account]) (string, []any) {
	args := arguments{ledgerView, plan.org}
	where := `e.org = $2`
	for _, own := range [][2]string{{"kind", q.Kind}, {"currency", q.Currency}, {"status", q.Status}, {"code", q.Code}} {
		if own[1] != "" {
			where += ` AND e.` + own[0] + ` = ` + args.add(own[1])
		}
	}
	if q.EntityID != nil {
		where += ` AND e.entity_id = ` + args.add(*q.EntityID)
	}
	where += plan.where(&args)
	from := schema + `.accounts e`
	count := q.counted(from + " WHERE " + where)
	return `SELECT ` + heads + `, ` + count + `, ` + accountColumns + ` FROM ` + pointed + ` LEFT JOIN LATERAL (
		SELECT * FROM ` + from + ` WHERE ` + where + plan.page("e."+plan.sort.column, "e.id", &args) + `
	) a ON true` + q.totals(schema, &args) + plan.orderBy("a."+plan.sort.column, "a.id"), args
}

// shownSum writes a sum of minor units with the digits of its currency.
func shownSum(sum *big.Int, currency string) string {
	return ledger.Decimal(sum.String(), domain.CurrencyDigits(currency))
}

// whole reads a sum of minor units; nothing is zero.
func whole(text *string) *big.Int {
	sum := new(big.Int)
	if text != nil {
		sum.SetString(*text, 10) // a sum of integers, as PostgreSQL writes it
	}
	return sum
}

// natural is debits less credits as the balance of a kind of account.
func natural(kind string, net *big.Int) *big.Int {
	if debitsGrow(kind) {
		return new(big.Int).Set(net)
	}
	return new(big.Int).Neg(net)
}

func debitsGrow(kind string) bool {
	return kind == string(ledger.Asset) || kind == string(ledger.Expense)
}
