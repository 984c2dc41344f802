package readmodels

import (
	"context"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// Entry is one line that was posted to an account.
type Entry struct {
	TransactionID uuid.UUID `json:"transaction_id" doc:"The transaction that it is a line of."`
	Date          string    `json:"date" format:"date" doc:"When it took effect." example:"2026-01-31"`
	Side          string    `json:"side" enum:"debit,credit" doc:"The side that it stands on."`
	Amount        string    `json:"amount" doc:"The amount of the line." example:"50.00"`
	Balance       string    `json:"balance" doc:"What was on the account after it, in the order of this list." example:"1250.00"`
	Position      int64     `json:"position" doc:"The event that posted it." example:"4711"`
	RecordedAt    time.Time `json:"recorded_at" doc:"When it was recorded."`

	line int32
}

// EntryPage is a page of a statement.
type EntryPage struct {
	Items      []Entry `json:"items" doc:"The entries of this page, by date and then as they were recorded."`
	NextCursor *string `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64  `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

// EntryQuery selects entries of an account.
type EntryQuery struct {
	Page
	From, To *ledger.Date
	// KnownAt leaves out what was recorded later, in the balances, too; nil leaves out nothing.
	KnownAt *time.Time
	// Descending lists the latest first; balances are the same.
	Descending bool
}

// Entries is the statement of an account: its entries with the balance after each.
// Problems: not_found (NotFound), invalid_limit (Invalid), invalid_cursor (Malformed),
// epoch_changed (Conflict).
func (s *Store) Entries(ctx context.Context, org string, account uuid.UUID, q EntryQuery) (EntryPage, Snapshot, error) {
	limit, err := q.limit()
	if err != nil {
		return EntryPage{}, Snapshot{}, err
	}
	scope := cursorScope{org: org, route: "entries", sort: strconv.FormatBool(q.Descending), filters: []string{account.String(), dateText(q.From), dateText(q.To), Point{KnownAt: q.KnownAt}.texts()[1]}}
	var after entryPlace
	var begun cursor
	if q.Cursor != "" {
		if begun, err = s.open(q.Cursor, scope); err != nil {
			return EntryPage{}, Snapshot{}, err
		}
		if after, err = placeOf(begun); err != nil {
			return EntryPage{}, Snapshot{}, err
		}
	}
	var rows entryRows
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		rows = entryRows{}
		sql, args := q.sql(schema, org, account, limit, after)
		return statement{sql: sql, args: args, planned: true, row: rows.scan}
	})
	if err == nil && q.Cursor != "" {
		err = begun.sameLog(at)
	}
	if err == nil && rows.kind == nil {
		err = noAccount()
	}
	if err != nil {
		return EntryPage{}, at, err
	}
	page := EntryPage{Items: rows.balanced(q.Descending), Count: rows.count}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		last := page.Items[limit-1]
		value := last.Date + "/" + strconv.FormatInt(last.Position, 10) + "/" + strconv.Itoa(int(last.line))
		next, err := s.seal(cursor{Epoch: at.Epoch, Value: &value}, scope)
		if err != nil {
			return EntryPage{}, at, err
		}
		page.NextCursor = &next
	}
	return page, at, nil
}

// sql is the statement: the rows of a page, what the account has before the earliest of
// them, and the account itself. The page is walked to in the order of the key, from where
// it begins: what does not restrict is not said.
func (q EntryQuery) sql(schema, org string, account uuid.UUID, limit int, after entryPlace) (string, []any) {
	order, beyond := "ASC", ">"
	if q.Descending {
		order, beyond = "DESC", "<"
	}
	args := arguments{ledgerView, org, account, limit + 1}
	all, dates, known, place := schema+`.entries e WHERE e.org = $2 AND e.account_id = $3`, "", "", ""
	if q.From != nil {
		dates += ` AND e.date >= ` + args.add(q.From.Time()) + `::date`
	}
	if q.To != nil {
		dates += ` AND e.date <= ` + args.add(q.To.Time()) + `::date`
	}
	if q.KnownAt != nil {
		known = ` AND e.recorded_at <= ` + args.add(*q.KnownAt) + `::timestamptz`
	}
	if q.Cursor != "" {
		place = ` AND (e.date, e.position, e.line) ` + beyond + ` (` + args.add(after.date) + `::date, ` + args.add(after.position) + `::bigint, ` + args.add(after.line) + `::integer)`
	}
	all += dates + known
	sorted := "e.date " + order + ", e.position " + order + ", e.line " + order
	page := `SELECT * FROM ` + all + place + ` ORDER BY ` + sorted + ` LIMIT $4`
	if q.KnownAt != nil {
		buckets := strings.ReplaceAll(dates, "e.", "s.") + ` AND s.first_at <= ` + args.add(*q.KnownAt) + `::timestamptz`
		if q.Cursor != "" {
			buckets += ` AND (s.date, s.bucket) ` + beyond + `= (` + args.add(after.date) + `::date, ` + args.add(after.position) + `::bigint >> ` + bucketBits + `)`
		}
		page = knownPage(schema, buckets, known+place, order)
	}
	before := Point{KnownAt: q.KnownAt}.sums(schema, `s.org = $2 AND s.account_id = $3 AND (s.date, s.bucket) < ((SELECT date FROM first), (SELECT bucket FROM first))`, &args)
	return `WITH page AS MATERIALIZED (` + page + `
				), first AS (SELECT date, position, position >> ` + bucketBits + ` AS bucket, line FROM page ORDER BY date, position, line LIMIT 1
				), opening AS (
					SELECT coalesce(sum(x.net), 0)::text AS net FROM (
						SELECT b.debit - b.credit AS net FROM (` + before + `) b
						UNION ALL
						SELECT CASE e.side WHEN 'debit' THEN e.amount ELSE -e.amount END FROM ` + schema + `.entries e
						 WHERE e.org = $2 AND e.account_id = $3 AND e.date = (SELECT date FROM first) AND e.position >= (SELECT bucket FROM first) << ` + bucketBits + `
						   AND (e.position, e.line) < ((SELECT position FROM first), (SELECT line FROM first))` + known + `
					) x
				)
				SELECT ` + heads + `, ` + q.counted(all) + `, a.kind, a.currency, o.net, e.transaction_id, e.date, e.side, e.amount, e.position, e.line, e.recorded_at
				  FROM ` + pointed + ` LEFT JOIN ` + schema + `.accounts a ON a.org = $2 AND a.id = $3
				  LEFT JOIN opening o ON true LEFT JOIN page e ON true ORDER BY ` + sorted, args
}

// knownPage selects a page of the entries that a condition on the alias e lets through, by way
// of the buckets that a condition on s does: so what was recorded later is not walked through,
// however much it is. A bucket gives at most a page.
func knownPage(schema, buckets, entries, order string) string {
	return `
		SELECT e.* FROM ` + schema + `.entry_sums s CROSS JOIN LATERAL (
			SELECT * FROM ` + schema + `.entries e
			 WHERE e.org = s.org AND e.account_id = s.account_id AND e.date = s.date
			   AND e.position >= s.bucket << ` + bucketBits + ` AND e.position < (s.bucket + 1) << ` + bucketBits + entries + `
			 ORDER BY e.position ` + order + `, e.line ` + order + ` LIMIT $4
		) e
		 WHERE s.org = $2 AND s.account_id = $3` + buckets + `
		 ORDER BY s.date ` + order + `, s.bucket ` + order + `, e.position ` + order + `, e.line ` + order + ` LIMIT $4`
}

// entryPlace is an entry within a statement.
type entryPlace struct {
	date     time.Time
	position int64
	line     int64
}

func placeOf(c cursor) (p entryPlace, err error) {
	if c.Value == nil {
		return p, invalidCursor()
	}
	parts := strings.Split(*c.Value, "/")
	if len(parts) != 3 {
		return p, invalidCursor()
	}
	date, ok := ledger.ParseDate(parts[0])
	position, err := strconv.ParseInt(parts[1], 10, 64)
	line, errLine := strconv.ParseInt(parts[2], 10, 32)
	if !ok || err != nil || errLine != nil {
		return p, invalidCursor()
	}
	return entryPlace{date.Time(), position, line}, nil
}

// entryRows are the rows of a page, in its order.
type entryRows struct {
	count                   *int64
	kind, currency, opening *string
	items                   []Entry
	amounts                 []int64
}

func (r *entryRows) scan(scan func(...any) error) error {
	var (
		id               *uuid.UUID
		date, recordedAt *time.Time
		side             *string
		amount, position *int64
		line             *int32
	)
	if err := scan(&r.count, &r.kind, &r.currency, &r.opening, &id, &date, &side, &amount, &position, &line, &recordedAt); err != nil || id == nil {
		return err
	}
	r.items = append(r.items, Entry{
		TransactionID: *id, Date: date.Format(time.DateOnly), Side: *side, Position: *position, RecordedAt: recordedAt.UTC(), line: *line,
	})
	r.amounts = append(r.amounts, *amount)
	return nil
}

// balanced are the entries with the balance after each, from the earliest on.
func (r *entryRows) balanced(descending bool) []Entry {
	net := whole(r.opening)
	for n := range r.items {
		i := n
		if descending {
			i = len(r.items) - 1 - n
		}
		signed := r.amounts[i]
		if r.items[i].Side == string(ledger.Credit) {
			signed = -signed
		}
		net.Add(net, big.NewInt(signed))
		r.items[i].Amount = ledger.FormatMinor(r.amounts[i], *r.currency)
		r.items[i].Balance = shownSum(natural(*r.kind, net), *r.currency)
	}
	if r.items == nil {
		return []Entry{}
	}
	return r.items
}
