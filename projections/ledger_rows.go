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

func (r *namedRows) queue(batch *pgx.Batch, schema string) {
	if len(r.anew) > 0 {
		batch.Queue(`DELETE FROM `+schema+`.transaction_accounts a USING unnest($1::text[], $2::uuid[]) u(org, id)
			WHERE a.org = u.org AND a.transaction_id = u.id`, r.anewOrgs, r.anew)
	}
	if len(r.orgs) > 0 {
		batch.Queue(`INSERT INTO `+schema+`.transaction_accounts (org, transaction_id, account_id, date)
			SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::date[])`, r.orgs, r.transactions, r.accountsIDs, r.dates)
	}
}

// moveRows are what a batch adds to the totals of accounts.
type moveRows struct {
	orgs                                  []string
	accounts                              [][16]byte
	debits, credits, heldDebits, heldCred []int64
}

func (r *moveRows) add(org string, account uuid.UUID, debit, credit, heldDebit, heldCredit int64) {
	r.orgs, r.accounts = append(r.orgs, org), append(r.accounts, account)
	r.debits, r.credits = append(r.debits, debit), append(r.credits, credit)
	r.heldDebits, r.heldCred = append(r.heldDebits, heldDebit), append(r.heldCred, heldCredit)
}

func (r *moveRows) post(e Event, m ledger.Movement) {
	for _, line := range m.Lines {
		debit, credit := sides(line)
		r.add(e.Org, line.AccountID, debit, credit, 0, 0)
	}
}

// hold adds what a transaction would do to each account, net, or with -1 takes it away.
func (r *moveRows) hold(e Event, m ledger.Movement, sign int64) {
	for _, account := range ledger.AccountsOf(m.Lines) {
		var net int64
		for _, line := range m.Lines {
			if line.AccountID == account {
				debit, credit := sides(line)
				net += debit - credit
			}
		}
		r.add(e.Org, account, 0, 0, sign*max(0, net), sign*max(0, -net))
	}
}

func sides(line ledger.Line) (debit, credit int64) {
	if line.Side == ledger.Debit {
		return line.Amount.Minor, 0
	}
	return 0, line.Amount.Minor
}

func (r *moveRows) queue(batch *pgx.Batch, schema string) {
	if len(r.orgs) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO `+schema+`.account_totals AS t (org, account_id, debit, credit, held_debit, held_credit)
		SELECT org, account_id, sum(debit), sum(credit), sum(held_debit), sum(held_credit)
		  FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
		       AS u(org, account_id, debit, credit, held_debit, held_credit)
		 GROUP BY org, account_id
		ON CONFLICT (org, account_id) DO UPDATE
		   SET debit = t.debit + excluded.debit, credit = t.credit + excluded.credit,
		       held_debit = t.held_debit + excluded.held_debit, held_credit = t.held_credit + excluded.held_credit`,
		r.orgs, r.accounts, r.debits, r.credits, r.heldDebits, r.heldCred)
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

func (r *entryRows) queue(batch *pgx.Batch, schema string) {
	if len(r.orgs) == 0 {
		return
	}
	parameters := []any{r.orgs, r.accounts, r.dates, r.positions, r.lines, r.transactions, r.sides, r.amounts, r.recordedAt}
	const rows = `unnest($1::text[], $2::uuid[], $3::date[], $4::bigint[], $5::integer[], $6::uuid[], $7::text[], $8::bigint[], $9::timestamptz[])
		AS u(org, account_id, date, position, line, transaction_id, side, amount, recorded_at)`
	batch.Queue(`
		INSERT INTO `+schema+`.entries (org, account_id, date, position, line, transaction_id, side, amount, recorded_at)
		SELECT * FROM `+rows, parameters...)
	batch.Queue(`
		INSERT INTO `+schema+`.entry_sums AS s (org, account_id, date, bucket, debit, credit, first_at, last_at)
		SELECT org, account_id, date, position >> $10::integer, coalesce(sum(amount) FILTER (WHERE side = 'debit'), 0),
		       coalesce(sum(amount) FILTER (WHERE side = 'credit'), 0), min(recorded_at), max(recorded_at)
		  FROM `+rows+` GROUP BY 1, 2, 3, 4
		ON CONFLICT (org, account_id, date, bucket) DO UPDATE
		   SET debit = s.debit + excluded.debit, credit = s.credit + excluded.credit,
		       first_at = least(s.first_at, excluded.first_at), last_at = greatest(s.last_at, excluded.last_at)`,
		append(parameters, LedgerBucketBits)...)
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
