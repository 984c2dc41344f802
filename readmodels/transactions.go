package readmodels

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Transaction is a transaction as it is now.
type Transaction struct {
	ID          uuid.UUID         `json:"id" doc:"The transaction's id." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Status      string            `json:"status" enum:"draft,submitted,approved,posted,rejected,voided,expired,reversed" doc:"Where it is on its way."`
	Date        string            `json:"date" format:"date" doc:"When it takes effect." example:"2026-01-31"`
	Description string            `json:"description" doc:"What it is about." example:"Office rent, January"`
	Lines       []TransactionLine `json:"lines" doc:"Its lines; once it is posted, those that were."`
	Approvals   []Approval        `json:"approvals" doc:"Who has approved it."`
	ExternalRef *string           `json:"external_ref" nullable:"true" doc:"The caller's own id of it; null for none." example:"invoice-4711"`
	Metadata    json.RawMessage   `json:"metadata" doc:"What the caller has added."`
	Subjects    []uuid.UUID       `json:"subjects" doc:"The entities that it is about."`
	Private     json.RawMessage   `json:"private" doc:"What is kept for privacy alone: *** to others, {} when there is nothing, null when it was erased."`
	ExpiresAt   *time.Time        `json:"expires_at" nullable:"true" doc:"When it expires unless it has been posted; null for never."`
	Reverses    *uuid.UUID        `json:"reverses" nullable:"true" doc:"The transaction that this one takes back."`
	ReversedBy  *uuid.UUID        `json:"reversed_by" nullable:"true" doc:"The transaction that has taken this one back."`
	Version     int64             `json:"version" doc:"Counts the transaction's events; also its ETag." example:"1"`
	CreatedAt   time.Time         `json:"created_at" doc:"When it was made."`
	CreatedBy   string            `json:"created_by" doc:"Who made it." example:"ana"`
	UpdatedAt   time.Time         `json:"updated_at" doc:"When it was last changed."`
	UpdatedBy   string            `json:"updated_by" doc:"Who changed it last." example:"ana"`

	// Sealed is what Private masks, nil when there is nothing.
	Sealed *domain.Sealed `json:"-"`
}

// What Private is when there is nothing, and what others see where there is something.
var (
	nothingPrivate = json.RawMessage("{}")
	maskedPrivate  = json.RawMessage(`"` + domain.Mask + `"`)
)

// TransactionLine is one leg of a transaction.
type TransactionLine struct {
	AccountID uuid.UUID `json:"account_id" doc:"The account."`
	Side      string    `json:"side" enum:"debit,credit" doc:"The side that it stands on."`
	Amount    string    `json:"amount" doc:"A positive amount." example:"50.00"`
	Currency  string    `json:"currency" doc:"That of the account." example:"EUR"`
	Exchange  *Exchange `json:"exchange,omitempty" doc:"What the amount was converted from."`
}

// Exchange is the other end of a conversion.
type Exchange struct {
	FromAmount   string `json:"from_amount" doc:"The amount that was converted." example:"100.00"`
	FromCurrency string `json:"from_currency" doc:"Its currency." example:"USD"`
	Rate         string `json:"rate" doc:"How much one of it is worth." example:"0.9231"`
}

// Approval is one approval.
type Approval struct {
	By string    `json:"by" doc:"Who approved." example:"bob"`
	At time.Time `json:"at" doc:"When."`
}

// NewTransaction shows the state of a transaction.
func NewTransaction(id uuid.UUID, t ledger.Transaction) (Transaction, error) {
	c := t.Content
	view := Transaction{
		ID: id, Status: string(t.Status), Date: c.Date.String(), Description: c.Description.Clear, Approvals: []Approval{},
		ExpiresAt: c.ExpiresAt, Reverses: t.Reverses, ReversedBy: t.ReversedBy, Metadata: json.RawMessage("{}"),
		Subjects: make([]uuid.UUID, len(c.Subjects)), Private: nothingPrivate,
	}
	for i, subject := range c.Subjects {
		view.Subjects[i], _ = uuid.Parse(subject) // it was made of one
	}
	if c.Private.Sealed != nil {
		view.Private = maskedPrivate
	}
	if c.ExternalRef != "" {
		view.ExternalRef = &c.ExternalRef
	}
	for _, approval := range t.Approvals {
		view.Approvals = append(view.Approvals, Approval{approval.By.Sub, approval.At})
	}
	for _, line := range c.Lines {
		view.Lines = append(view.Lines, TransactionLine{
			line.AccountID, string(line.Side), line.Amount.String(), line.Amount.Currency, (*Exchange)(line.Exchange),
		})
	}
	if c.Metadata == nil {
		return view, nil
	}
	var err error
	view.Metadata, err = json.Marshal(c.Metadata)
	return view, err
}

// transactionColumns are what a transactionRow reads, of the alias t.
const transactionColumns = `t.id, t.status, t.date, t.description, t.lines, t.approvals, t.external_ref, t.metadata, t.expires_at, t.reverses,
	t.reversed_by, t.version, t.created_at, t.created_by, t.updated_at, t.updated_by, t.subjects, t.private`

// transactionRow is a row of transactionColumns, which is one of nulls where a statement
// finds nothing.
type transactionRow struct {
	id, reverses, reversedBy                       *uuid.UUID
	status, description, ref, createdBy, updatedBy *string
	date, expires, createdAt, updatedAt            *time.Time
	lines, approvals, metadata, private            []byte
	subjects                                       []uuid.UUID
	version                                        *int64
}

func (r *transactionRow) columns() []any {
	return []any{
		&r.id, &r.status, &r.date, &r.description, &r.lines, &r.approvals, &r.ref, &r.metadata, &r.expires, &r.reverses,
		&r.reversedBy, &r.version, &r.createdAt, &r.createdBy, &r.updatedAt, &r.updatedBy, &r.subjects, &r.private,
	}
}

// transaction is what was scanned, nil for a row of nulls.
func (r *transactionRow) transaction() (*Transaction, error) {
	if r.id == nil {
		return nil, nil
	}
	t := &Transaction{
		ID: *r.id, Status: *r.status, Date: r.date.Format(time.DateOnly), Description: *r.description, ExternalRef: r.ref, Metadata: r.metadata,
		Reverses: r.reverses, ReversedBy: r.reversedBy, Version: *r.version,
		CreatedAt: r.createdAt.UTC(), CreatedBy: *r.createdBy, UpdatedAt: r.updatedAt.UTC(), UpdatedBy: *r.updatedBy,
		Subjects: r.subjects, Private: nothingPrivate,
	}
	if r.private != nil {
		if err := json.Unmarshal(r.private, &t.Sealed); err != nil {
			return nil, err
		}
		t.Private = maskedPrivate
	}
	if r.expires != nil {
		until := r.expires.UTC()
		t.ExpiresAt = &until
	}
	if err := json.Unmarshal(r.lines, &t.Lines); err != nil {
		return nil, err
	}
	return t, json.Unmarshal(r.approvals, &t.Approvals)
}

// Transaction gives one transaction of an organisation. Problem: NotFound not_found,
// together with the snapshot in which it was not there.
func (s *Store) Transaction(ctx context.Context, org string, id uuid.UUID) (Transaction, Snapshot, error) {
	var found *Transaction
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		found = nil
		return statement{
			sql: `SELECT ` + heads + `, ` + transactionColumns + `
				FROM ` + pointed + ` LEFT JOIN ` + schema + `.transactions t ON t.org = $2 AND t.id = $3`,
			args: []any{ledgerView, org, id},
			row: func(scan func(...any) error) (err error) {
				var row transactionRow
				if err := scan(row.columns()...); err != nil {
					return err
				}
				found, err = row.transaction()
				return err
			},
		}
	})
	if err == nil && found == nil {
		err = noTransaction()
	}
	if err != nil {
		return Transaction{}, at, err
	}
	return *found, at, nil
}

func noTransaction() error {
	return problem.New(problem.NotFound, "not_found", "There is no transaction with this id.")
}

// transactionListing is the list of transactions.
var transactionListing = listing[Transaction]{
	route: "transactions", usual: "date", id: func(t Transaction) uuid.UUID { return t.ID },
	columns: []filterColumn{
		textColumn("status"), dateColumn, textColumn("external_ref"), timeColumn("created_at"), textColumn("created_by"),
		timeColumn("updated_at"), textColumn("updated_by"), versionColumn,
	},
	sorts: []listSort[Transaction]{
		{column: "date", cast: "date", value: func(t Transaction) string { return t.Date }},
		sortByTime("updated_at", func(t Transaction) time.Time { return t.UpdatedAt }),
	},
}

// TransactionFilters are the columns that a Filter on transactions can name.
func TransactionFilters() []string { return transactionListing.filterNames() }

// TransactionQuery selects transactions; fields left zero do not restrict. They are sorted
// by date, or by updated_at.
type TransactionQuery struct {
	Selection
	// Status is one of ledger.Statuses.
	Status    string
	AccountID *uuid.UUID
	From, To  *ledger.Date
	// Q is looked for in description and external_ref, in any case of letters.
	Q           string
	ExternalRef string
	// AwaitingApprovalOf is a person who may approve: transactions that neither were made by
	// the person nor have the person's approval, and are submitted, or approved by fewer than
	// the policies of now ask for.
	AwaitingApprovalOf string
	// Nothing lists none: what is asked for can be nobody's.
	Nothing bool
}

// TransactionPage is a page of transactions.
type TransactionPage struct {
	Items      []Transaction `json:"items" doc:"The transactions of this page."`
	NextCursor *string       `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64        `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

// Transactions lists transactions. Problems: those of a selection, invalid_filter
// (Invalid), epoch_changed (Conflict).
func (s *Store) Transactions(ctx context.Context, org string, q TransactionQuery) (TransactionPage, Snapshot, error) {
	if q.Status != "" && !slices.Contains(ledger.Statuses(), ledger.Status(q.Status)) {
		return TransactionPage{}, Snapshot{}, invalidFilter("status", "must be a status of transactions")
	}
	if !storable(q.Q) || !storable(q.ExternalRef) {
		return TransactionPage{}, Snapshot{}, invalidFilter("q", "must be UTF-8 without NUL characters")
	}
	plan, err := transactionListing.plan(s, org, q.Selection, q.filterTexts()...)
	if err != nil {
		return TransactionPage{}, Snapshot{}, err
	}
	var page TransactionPage
	at, err := s.read(ctx, org, ledgerView, func(schema string) statement {
		page = TransactionPage{Items: []Transaction{}}
		sql, args := q.sql(schema, plan)
		return statement{sql: sql, args: args, cut: &plan.full, planned: q.walks(plan), row: func(scan func(...any) error) error {
			var row transactionRow
			if err := scan(append([]any{&page.Count}, row.columns()...)...); err != nil {
				return err
			}
			found, err := row.transaction()
			if found != nil {
				page.Items = append(page.Items, *found)
			}
			return err
		}}
	})
	if err != nil {
		return TransactionPage{}, at, err
	}
	page.Items, page.NextCursor, err = plan.cut(s, page.Items, at)
	return page, at, err
}

// filterTexts name what restricts transactions alone.
func (q TransactionQuery) filterTexts() []string {
	account := ""
	if q.AccountID != nil {
		account = q.AccountID.String()
	}
	return []string{q.Status, account, dateText(q.From), dateText(q.To), q.Q, q.ExternalRef, q.AwaitingApprovalOf}
}

func dateText(d *ledger.Date) string {
	if d == nil {
		return ""
	}
	return d.String()
}

// sql is the statement. The transactions of an account are found by what names it, whose
// index is in the order of dates, too.
func (q TransactionQuery) sql(schema string, plan *listPlan[Transaction]) (string, []any) {
	args := arguments{ledgerView, plan.org}
	from, date, id := schema+`.transactions e`, "e.date", "e.id"
	where := `e.org = $2`
	if q.AccountID != nil {
		from = schema + `.transaction_accounts n JOIN ` + schema + `.transactions e ON e.org = n.org AND e.id = n.transaction_id`
		where = `n.org = $2 AND n.account_id = ` + args.add(*q.AccountID)
		date, id = "n.date", "n.transaction_id"
	}
	where += q.where(schema, date, &args) + plan.where(&args)
	sorted := "e." + plan.sort.column
	if sorted == "e.date" {
		sorted = date
	}
	count := q.counted(from + " WHERE " + where)
	return `SELECT ` + heads + `, ` + count + `, ` + transactionColumns + ` FROM ` + pointed + ` LEFT JOIN LATERAL (
		SELECT e.* FROM ` + from + ` WHERE ` + where + plan.page(sorted, id, &args) + `
	) t ON true` + plan.orderBy("t."+plan.sort.column, "t.id"), args
}

// walks reports whether every row of an index, from where the page begins, is on it: then
// one plan fits, whatever the values are. What else is asked for is left to PostgreSQL.
func (q TransactionQuery) walks(plan *listPlan[Transaction]) bool {
	if len(plan.filters) > 0 || q.IDs != nil || q.Q != "" || q.ExternalRef != "" || q.AwaitingApprovalOf != "" || q.Nothing {
		return false
	}
	if plan.sort.column != "date" {
		return q.Status == "" && q.AccountID == nil && q.From == nil && q.To == nil
	}
	return q.Status == "" || q.AccountID == nil
}

// where restricts transactions by what is theirs alone.
func (q TransactionQuery) where(schema, date string, args *arguments) (where string) {
	if q.Status != "" {
		where += ` AND e.status = ` + args.add(q.Status)
	}
	if q.From != nil {
		where += ` AND ` + date + ` >= ` + args.add(q.From.Time()) + `::date`
	}
	if q.To != nil {
		where += ` AND ` + date + ` <= ` + args.add(q.To.Time()) + `::date`
	}
	if q.Q != "" {
		where += ` AND position(` + args.add(strings.ToLower(q.Q)) + `::text IN e.search) > 0`
	}
	if q.ExternalRef != "" {
		where += ` AND e.external_ref = ` + args.add(q.ExternalRef)
	}
	if q.AwaitingApprovalOf != "" {
		person := args.add(q.AwaitingApprovalOf)
		where += ` AND e.status IN ('submitted', 'approved') AND (e.status = 'submitted' OR ` + lacksApprovals(schema) + `) AND NOT ` + person + `::text = ANY (e.makers) AND NOT e.approvals @> jsonb_build_array(jsonb_build_object('person', ` + person + `::text))`
	}
	if q.Nothing {
		where += ` AND false`
	}
	return where
}

// lacksApprovals says of the transaction of the alias e that a policy, which was set since,
// asks for more approvals than it has. As in package ledger, the amount in a currency is that
// of its debits.
func lacksApprovals(schema string) string {
	return `jsonb_array_length(e.approvals) < (
		SELECT max(p.approvals_needed) FROM ` + schema + `.policies p
		 WHERE p.org = e.org AND p.approval_above <> '' AND p.approval_above::numeric < (
			SELECT sum((l->>'amount')::numeric) FROM json_array_elements(e.lines) l WHERE l->>'side' = 'debit' AND l->>'currency' = p.currency))`
}
