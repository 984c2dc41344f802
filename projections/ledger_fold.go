package projections

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// ledgerFold is what a batch of events does, transactions each once and in the order in
// which they first appear.
type ledgerFold struct {
	accounts     accountRows
	transactions []*transactionChange
	byID         map[entityID]*transactionChange
	held         holdRows
	entries      entryRows
	trail        trailRows
	policies     map[typeID]policyRow
	periods      map[string]periodRow
}

func newLedgerFold() *ledgerFold {
	return &ledgerFold{byID: map[entityID]*transactionChange{}, policies: map[typeID]policyRow{}, periods: map[string]periodRow{}}
}

type policyRow struct {
	ledger.PolicySet
	version int64
}

type periodRow struct {
	through *time.Time
	version int64
}

func (f *ledgerFold) add(e Event) error {
	switch p := e.Payload.(type) {
	case ledger.PolicySet:
		f.policies[typeID{e.Org, p.Currency}] = policyRow{p, e.Version}
		return nil
	case ledger.PeriodsClosed:
		f.periods[e.Org] = periodRow{dateOrNull(p.ClosedThrough), e.Version}
		return nil
	}
	id, err := uuid.Parse(e.Stream.Name())
	if err != nil {
		return fmt.Errorf("stream of %s is not named by an id", e.Type)
	}
	switch p := e.Payload.(type) {
	case ledger.Opened, ledger.Closed, ledger.Reopened:
		f.accounts.add(e, id)
		return nil
	default:
		f.trail.add(e, id)
		return f.change(entityID{e.Org, id}).add(f, e, p)
	}
}

func (f *ledgerFold) change(id entityID) *transactionChange {
	c, found := f.byID[id]
	if !found {
		c = &transactionChange{entityID: id}
		f.byID[id] = c
		f.transactions = append(f.transactions, c)
	}
	return c
}

// transactionChange is the sum of a transaction's events in a batch. Nil is unchanged.
type transactionChange struct {
	entityID
	created              bool
	status               string
	content              *ledger.Content
	subjects             []string
	private              *domain.Sealed
	movement             *ledger.Movement
	resets               bool // approvals before this batch are over
	approvals            []approvalRow
	makers               []string
	reverses, reversedBy *uuid.UUID
	version              int64
	createdAt, updatedAt time.Time
	createdBy, updatedBy string
}

// approvalRow is an approval as reads show it.
type approvalRow struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Person string    `json:"person"`
}

// errUnbalanced parks a stream: such an event was decided by no program of ours.
var errUnbalanced = errors.New("the lines posted do not balance")

func (c *transactionChange) add(f *ledgerFold, e Event, payload any) error {
	switch p := payload.(type) {
	case ledger.Drafted:
		c.begin(e, &p.Content, "draft", p.By)
	case ledger.Updated:
		c.says(e, &p.Content)
		c.resets, c.approvals = true, nil
		c.made(p.By)
		if p.Released != nil {
			f.held.add(e, *p.Released, -1)
			f.held.add(e, p.Content.Movement, 1)
		}
	case ledger.Submitted:
		if c.status = "submitted"; p.Content != nil {
			c.begin(e, p.Content, "submitted", p.By)
		}
		c.made(p.By)
		c.movement = &p.Held // its date may have moved
		f.held.add(e, p.Held, 1)
	case ledger.Approved:
		c.approvals = append(c.approvals, approvalRow{p.By.Sub, p.At, p.By.Person})
		if p.Complete {
			c.status = "approved"
		}
	case ledger.Rejected:
		c.end(f, e, "rejected", &p.Released)
	case ledger.Voided:
		c.end(f, e, "voided", p.Released)
	case ledger.Expired:
		c.end(f, e, "expired", p.Released)
	case ledger.Posted:
		if !ledger.Balances(p.Lines) {
			return errUnbalanced
		}
		if p.Content != nil {
			c.begin(e, p.Content, "posted", p.By)
			c.reverses = p.Reverses
		}
		c.end(f, e, "posted", p.Released)
		c.movement = &p.Movement
		f.entries.add(e, c.id, p.Movement)
	case ledger.Reversed:
		c.status, c.reversedBy = "reversed", &p.ReversedBy
	default:
		return fmt.Errorf("event type %s is not part of this view", e.Type)
	}
	c.version, c.updatedAt, c.updatedBy = e.Version, e.RecordedAt, e.Actor.Sub
	return nil
}

func (c *transactionChange) begin(e Event, content *ledger.Content, status string, by ledger.By) {
	c.created, c.status = true, status
	c.says(e, content)
	c.createdAt, c.createdBy = e.RecordedAt, e.Actor.Sub
	c.made(by)
}

// says notes a content, and whom it is about. What is private comes sealed beside it.
func (c *transactionChange) says(e Event, content *ledger.Content) {
	c.content, c.movement, c.subjects, c.private = content, &content.Movement, e.Subjects, nil
	if sealed, found := e.Sealed[ledger.PrivateName]; found {
		c.private = &sealed
	}
}

// made notes who wrote what is to be approved.
func (c *transactionChange) made(by ledger.By) {
	persons := []string{by.Person}
	if by.OnBehalfOf != nil {
		persons = append(persons, by.OnBehalfOf.Person)
	}
	for _, person := range persons {
		if !slices.Contains(c.makers, person) {
			c.makers = append(c.makers, person)
		}
	}
}

func (c *transactionChange) end(f *ledgerFold, e Event, status string, released *ledger.Movement) {
	if c.status = status; released != nil {
		f.held.add(e, *released, -1)
	}
}

func dateOrNull(d *ledger.Date) *time.Time {
	if d == nil {
		return nil
	}
	day := d.Time()
	return &day
}

// accountRows are the accounts of a batch that were opened, and the others' statuses.
type accountRows struct {
	opened [][]any
	others [][]any
}

func (r *accountRows) add(e Event, id uuid.UUID) {
	status := "open"
	switch p := e.Payload.(type) {
	case ledger.Opened:
		r.opened = append(r.opened, []any{
			e.Org, id, p.Code, p.Name, string(p.Kind), p.Currency, p.MinBalance, p.EntityID, status, e.Version, e.RecordedAt, e.Actor.Sub,
		})
		return
	case ledger.Closed:
		status = "closed"
	}
	r.others = append(r.others, []any{e.Org, id, status, e.Version, e.RecordedAt, e.Actor.Sub})
}

// queue queues a statement an account: such events are rare.
func (r *accountRows) queue(batch *pgx.Batch, schema string) {
	for _, row := range r.opened {
		batch.Queue(`
			INSERT INTO `+schema+`.accounts (org, id, code, name, kind, currency, min_balance, entity_id, status, version,
			                                 created_at, created_by, updated_at, updated_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $11, $12)`, row...)
	}
	for _, row := range r.others {
		batch.Queue(`UPDATE `+schema+`.accounts SET status = $3, version = $4, updated_at = $5, updated_by = $6 WHERE org = $1 AND id = $2`, row...)
	}
}

// queueRules queues a statement a rule.
func (f *ledgerFold) queueRules(batch *pgx.Batch, schema string) {
	for id, p := range f.policies {
		batch.Queue(`
			INSERT INTO `+schema+`.policies (org, currency, approval_above, approvals_needed, version) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (org, currency) DO UPDATE
			   SET approval_above = excluded.approval_above, approvals_needed = excluded.approvals_needed, version = excluded.version`,
			id.org, id.name, p.ApprovalAbove, p.ApprovalsNeeded, p.version)
	}
	for org, p := range f.periods {
		batch.Queue(`
			INSERT INTO `+schema+`.periods (org, closed_through, version) VALUES ($1, $2, $3)
			ON CONFLICT (org) DO UPDATE SET closed_through = excluded.closed_through, version = excluded.version`, org, p.through, p.version)
	}
}

// queueChanges queues what changes transactions that were there before, and returns the new
// ones and the accounts that all of them name.
func (f *ledgerFold) queueChanges(batch *pgx.Batch, schema string) (created transactionRows, named namedRows, err error) {
	var changed transactionRows
	for _, c := range f.transactions {
		rows := &changed
		if c.created {
			rows = &created
		}
		if err := rows.add(c); err != nil {
			return created, named, err
		}
		named.add(c)
	}
	named.forget(batch, schema)
	if len(changed.ids) > 0 {
		batch.Queue(updateTransactions(schema), changed.parameters()...)
	}
	return created, named, nil
}

// transactionRows are changes by column.
type transactionRows struct {
	orgs, statuses, descriptions, searches, approvals, createdBy, updatedBy, makers []string
	refs, lines, metadata, private                                                  []*string
	subjects                                                                        []string
	ids                                                                             [][16]byte
	reverses, reversedBy                                                            []*uuid.UUID
	dates, expires                                                                  []*time.Time
	replaced, resets                                                                []bool
	versions                                                                        []int64
	createdAt, updatedAt                                                            []time.Time
}

func (r *transactionRows) add(c *transactionChange) error {
	var ref, lines, metadata, private *string
	var date, expires *time.Time
	description, search := "", ""
	if c.movement != nil {
		text, err := jsonText(c.movement.Lines)
		if err != nil {
			return err
		}
		lines, date = &text, dateOrNull(&c.movement.Date)
	}
	if c.content != nil {
		if c.content.Metadata == nil {
			c.content.Metadata = map[string]json.RawMessage{}
		}
		text, err := jsonText(c.content.Metadata)
		if err != nil {
			return err
		}
		metadata, ref, description, expires = &text, orNull(c.content.ExternalRef), c.content.Description.Clear, c.content.ExpiresAt
		search = strings.ToLower(description + "\n" + c.content.ExternalRef)
	}
	if c.private != nil {
		text, err := jsonText(c.private)
		if err != nil {
			return err
		}
		private = &text
	}
	approvals, err := jsonText(c.approvals)
	if err != nil {
		return err
	}
	if c.approvals == nil {
		approvals = "[]"
	}
	r.orgs, r.ids, r.statuses = append(r.orgs, c.org), append(r.ids, c.id), append(r.statuses, c.status)
	r.dates, r.descriptions, r.refs = append(r.dates, date), append(r.descriptions, description), append(r.refs, ref)
	r.lines, r.metadata, r.expires = append(r.lines, lines), append(r.metadata, metadata), append(r.expires, expires)
	r.replaced, r.resets = append(r.replaced, c.content != nil), append(r.resets, c.resets)
	r.approvals, r.makers = append(r.approvals, approvals), append(r.makers, arrayLiteral(c.makers))
	r.reverses, r.reversedBy = append(r.reverses, c.reverses), append(r.reversedBy, c.reversedBy)
	r.versions = append(r.versions, c.version)
	r.createdAt, r.createdBy = append(r.createdAt, c.createdAt), append(r.createdBy, c.createdBy)
	r.updatedAt, r.updatedBy = append(r.updatedAt, c.updatedAt), append(r.updatedBy, c.updatedBy)
	r.searches = append(r.searches, search)
	r.subjects, r.private = append(r.subjects, arrayLiteral(c.subjects)), append(r.private, private)
	return nil
}

func jsonText(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("encoding a transaction: %w", err)
	}
	return string(text), nil
}

func (r *transactionRows) parameters() []any {
	return []any{
		r.orgs, r.ids, r.statuses, r.dates, r.descriptions, r.refs, r.lines, r.metadata, r.expires, r.replaced, r.resets, r.approvals,
		r.makers, r.reverses, r.reversedBy, r.versions, r.createdAt, r.createdBy, r.updatedAt, r.updatedBy,
		r.searches, r.subjects, r.private,
	}
}

const transactionUnnest = `unnest($1::text[], $2::uuid[], $3::text[], $4::date[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[],
		$10::boolean[], $11::boolean[], $12::text[], $13::text[], $14::uuid[], $15::uuid[], $16::bigint[], $17::timestamptz[], $18::text[],
		$19::timestamptz[], $20::text[], $21::text[], $22::text[], $23::text[])
	AS u(org, id, status, date, description, external_ref, lines, metadata, expires_at, replaced, resets, approvals, makers, reverses,
		reversed_by, version, created_at, created_by, updated_at, updated_by, search, subjects, private)`

func (r *transactionRows) insert(batch *pgx.Batch, schema string) {
	if len(r.ids) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO `+schema+`.transactions (org, id, status, date, description, external_ref, lines, metadata, expires_at, approvals, makers,
		            reverses, reversed_by, version, created_at, created_by, updated_at, updated_by, search, subjects, private)
		SELECT u.org, u.id, u.status, u.date, u.description, u.external_ref, u.lines::json, u.metadata::json, u.expires_at, u.approvals::jsonb,
		       u.makers::text[], u.reverses, u.reversed_by, u.version, u.created_at, u.created_by, u.updated_at, u.updated_by, u.search,
		       u.subjects::uuid[], u.private::json
		  FROM `+transactionUnnest, r.parameters()...)
}

// updateTransactions leaves alone what a batch says nothing about.
func updateTransactions(schema string) string {
	return `
		UPDATE ` + schema + `.transactions t
		   SET status      = CASE WHEN u.status = '' THEN t.status ELSE u.status END,
		       date        = coalesce(u.date, t.date),
		       lines       = coalesce(u.lines::json, t.lines),
		       description = CASE WHEN u.replaced THEN u.description ELSE t.description END,
		       search      = CASE WHEN u.replaced THEN u.search ELSE t.search END,
		       metadata    = coalesce(u.metadata::json, t.metadata),
		       subjects    = CASE WHEN u.replaced THEN u.subjects::uuid[] ELSE t.subjects END,
		       private     = CASE WHEN u.replaced THEN u.private::json ELSE t.private END,
		       expires_at  = CASE WHEN u.replaced THEN u.expires_at ELSE t.expires_at END,
		       approvals   = CASE WHEN u.resets THEN '[]'::jsonb ELSE t.approvals END || u.approvals::jsonb,
		       makers      = t.makers || ARRAY(SELECT m FROM unnest(u.makers::text[]) m WHERE m <> ALL (t.makers)),
		       reversed_by = coalesce(u.reversed_by, t.reversed_by),
		       version = u.version, updated_at = u.updated_at, updated_by = u.updated_by
		  FROM ` + transactionUnnest + `
		 WHERE t.org = u.org AND t.id = u.id`
}
