package projections

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// namedRows are the accounts that transactions name, where a batch says so.
type namedRows struct {
	// anew are transactions that may have named others before.
	anewOrgs                  []string
	anew                      [][16]byte
	orgs                      []string
	transactions, accountsIDs [][16]byte
	dates                     []time.Time
}

func (r *namedRows) add(c *transactionChange) {
	if c.movement == nil {
		return
	}
	if !c.created {
		r.anewOrgs, r.anew = append(r.anewOrgs, c.org), append(r.anew, c.id)
	}
	for _, account := range ledger.AccountsOf(c.movement.Lines) {
		r.orgs, r.transactions = append(r.orgs, c.org), append(r.transactions, c.id)
		r.accountsIDs, r.dates = append(r.accountsIDs, account), append(r.dates, c.movement.Date.Time())
	}
}

// forget queues that those which were named before are so no more. They are found by the
// lines of their transaction, which must be the old ones still.
func (r *namedRows) forget(batch *pgx.Batch, schema string) {
	if len(r.anew) == 0 {
		return
	}
	batch.Queue(`DELETE FROM `+schema+`.transaction_accounts a
		 USING unnest($1::text[], $2::uuid[]) u(org, id) JOIN `+schema+`.transactions t ON t.org = u.org AND t.id = u.id
		 CROSS JOIN LATERAL json_array_elements(t.lines) line
		 WHERE a.org = t.org AND a.account_id = (line->>'account_id')::uuid AND a.date = t.date AND a.transaction_id = t.id`, r.anewOrgs, r.anew)
}

func (r *namedRows) insert(batch *pgx.Batch, schema string) {
	if len(r.orgs) > 0 {
		batch.Queue(`INSERT INTO `+schema+`.transaction_accounts (org, transaction_id, account_id, date)
			SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::date[])`, r.orgs, r.transactions, r.accountsIDs, r.dates)
	}
}

// holdRows are what a batch adds to what is held on accounts.
type holdRows struct {
	orgs            []string
	accounts        [][16]byte
	debits, credits []int64
}

// add adds what a transaction would do to each account, net, or with -1 takes it away.
func (r *holdRows) add(e Event, m ledger.Movement, sign int64) {
	for _, account := range ledger.AccountsOf(m.Lines) {
		var net int64
		for _, line := range m.Lines {
			switch {
			case line.AccountID != account:
			case line.Side == ledger.Debit:
				net += line.Amount.Minor
			default:
				net -= line.Amount.Minor
			}
		}
		r.orgs, r.accounts = append(r.orgs, e.Org), append(r.accounts, account)
		r.debits, r.credits = append(r.debits, sign*max(0, net)), append(r.credits, sign*max(0, -net))
	}
}

// entryRows are the entries of a batch.
type entryRows struct {
	orgs, sides            []string
	accounts, transactions [][16]byte
	dates, recordedAt      []time.Time
	positions, amounts     []int64
	lines                  []int32
}

func (r *entryRows) add(e Event, transaction uuid.UUID, m ledger.Movement) {
	for i, line := range m.Lines {
		r.orgs, r.accounts, r.dates = append(r.orgs, e.Org), append(r.accounts, line.AccountID), append(r.dates, m.Date.Time())
		r.positions, r.lines = append(r.positions, e.Position), append(r.lines, int32(i))
		r.transactions, r.sides = append(r.transactions, transaction), append(r.sides, string(line.Side))
		r.amounts, r.recordedAt = append(r.amounts, line.Amount.Minor), append(r.recordedAt, e.RecordedAt)
	}
}

// queue queues one statement: the entries, and from them the sums by date and the totals,
// to which what is held goes, too. Sums are made by PostgreSQL, because they have no bound.
func (r *entryRows) queue(batch *pgx.Batch, schema string, held holdRows) {
	if len(r.orgs)+len(held.orgs) == 0 {
		return
	}
	batch.Queue(`
		WITH e AS (
			INSERT INTO `+schema+`.entries (org, account_id, date, position, line, transaction_id, side, amount, recorded_at)
			SELECT * FROM unnest($1::text[], $2::uuid[], $3::date[], $4::bigint[], $5::integer[], $6::uuid[], $7::text[], $8::bigint[], $9::timestamptz[])
			RETURNING org, account_id, date, position >> $10::integer AS bucket, CASE side WHEN 'debit' THEN amount ELSE 0 END AS debit,
			          CASE side WHEN 'debit' THEN 0 ELSE amount END AS credit, recorded_at
		), sums AS (
			INSERT INTO `+schema+`.entry_sums AS s (org, account_id, date, bucket, debit, credit, first_at, last_at)
			SELECT org, account_id, date, bucket, sum(debit), sum(credit), min(recorded_at), max(recorded_at) FROM e GROUP BY 1, 2, 3, 4
			ON CONFLICT (org, account_id, date, bucket) DO UPDATE
			   SET debit = s.debit + excluded.debit, credit = s.credit + excluded.credit,
			       first_at = least(s.first_at, excluded.first_at), last_at = greatest(s.last_at, excluded.last_at)
		)
		INSERT INTO `+schema+`.account_totals AS t (org, account_id, debit, credit, held_debit, held_credit)
		SELECT org, account_id, sum(debit), sum(credit), sum(held_debit), sum(held_credit) FROM (
			SELECT org, account_id, debit, credit, 0 AS held_debit, 0 AS held_credit FROM e
			UNION ALL SELECT org, account_id, 0, 0, held_debit, held_credit
			  FROM unnest($11::text[], $12::uuid[], $13::bigint[], $14::bigint[]) AS u(org, account_id, held_debit, held_credit)
		) moved GROUP BY org, account_id
		ON CONFLICT (org, account_id) DO UPDATE
		   SET debit = t.debit + excluded.debit, credit = t.credit + excluded.credit,
		       held_debit = t.held_debit + excluded.held_debit, held_credit = t.held_credit + excluded.held_credit`,
		r.orgs, r.accounts, r.dates, r.positions, r.lines, r.transactions, r.sides, r.amounts, r.recordedAt, LedgerBucketBits,
		held.orgs, held.accounts, held.debits, held.credits)
}

// trailRows are the events of transactions.
type trailRows struct {
	orgs, types, by     []string
	ids                 [][16]byte
	versions, positions []int64
	at                  []time.Time
}

func (r *trailRows) add(e Event, id uuid.UUID) {
	r.orgs, r.ids, r.versions = append(r.orgs, e.Org), append(r.ids, id), append(r.versions, e.Version)
	r.positions, r.types = append(r.positions, e.Position), append(r.types, e.Type)
	r.at, r.by = append(r.at, e.RecordedAt), append(r.by, e.Actor.Sub)
}

func (r *trailRows) queue(batch *pgx.Batch, schema string) {
	if len(r.orgs) == 0 {
		return
	}
	batch.Queue(`INSERT INTO `+schema+`.transaction_events (org, transaction_id, version, position, type, at, by)
		SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[], $7::text[])`,
		r.orgs, r.ids, r.versions, r.positions, r.types, r.at, r.by)
}
