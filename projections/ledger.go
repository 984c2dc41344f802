package projections

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// Ledger is the view of accounts and transactions: what they are now, and every entry that
// was posted, with its date and when it was recorded.
//
// What is on an account is sums of its entries, never rows that depend on their order:
// account_totals for now, and entry_sums for any date and any time of knowing. A bucket of
// entry_sums is the entries of a date that were recorded at 4,096 neighbouring positions,
// so that the balance before any entry is a sum over few rows, however many entries an
// account has, and however many of them are of one date.
func Ledger() Projection {
	var types []string
	for _, kind := range ledger.Kinds() {
		types = append(types, kind.Type)
	}
	return Projection{
		Name: "ledger", Version: 1, Types: types,
		Tables: []string{"accounts", "account_totals", "entries", "entry_sums", "transactions", "transaction_accounts", "transaction_events", "policies", "periods"},
		DDL:    ledgerDDL, Indexes: ledgerIndexes, Apply: applyLedger,
	}
}

// LedgerBucketBits is how many low bits of a position a bucket of entry_sums spans.
const LedgerBucketBits = 12

// ledgerDDL: sums are numeric, because those of an account without a least balance have no
// bound.
func ledgerDDL(schema string) string {
	return `
		CREATE TABLE ` + schema + `.accounts (
			org         text COLLATE "C" NOT NULL,
			id          uuid             NOT NULL,
			code        text COLLATE "C" NOT NULL,
			name        text             NOT NULL,
			kind        text             NOT NULL,
			currency    text             NOT NULL,
			min_balance text             NOT NULL, -- a decimal, empty for none
			entity_id   uuid,
			status      text             NOT NULL,
			version     bigint           NOT NULL,
			created_at  timestamptz      NOT NULL,
			created_by  text             NOT NULL,
			updated_at  timestamptz      NOT NULL,
			updated_by  text             NOT NULL,
			PRIMARY KEY (org, id)
		);
		CREATE TABLE ` + schema + `.account_totals (
			org         text COLLATE "C" NOT NULL,
			account_id  uuid             NOT NULL,
			debit       numeric          NOT NULL,
			credit      numeric          NOT NULL,
			held_debit  numeric          NOT NULL, -- what submitted transactions would debit, net of each
			held_credit numeric          NOT NULL,
			PRIMARY KEY (org, account_id)
		) WITH (fillfactor = 80);
		CREATE TABLE ` + schema + `.entries (
			org            text COLLATE "C" NOT NULL,
			account_id     uuid             NOT NULL,
			date           date             NOT NULL,
			position       bigint           NOT NULL,
			line           integer          NOT NULL,
			transaction_id uuid             NOT NULL,
			side           text             NOT NULL,
			amount         bigint           NOT NULL,
			recorded_at    timestamptz      NOT NULL,
			PRIMARY KEY (org, account_id, date, position, line)
		);
		CREATE TABLE ` + schema + `.entry_sums (
			org        text COLLATE "C" NOT NULL,
			account_id uuid             NOT NULL,
			date       date             NOT NULL,
			bucket     bigint           NOT NULL,
			debit      numeric          NOT NULL,
			credit     numeric          NOT NULL,
			first_at   timestamptz      NOT NULL,
			last_at    timestamptz      NOT NULL,
			PRIMARY KEY (org, account_id, date, bucket)
		) WITH (fillfactor = 80);
		CREATE TABLE ` + schema + `.transactions (
			org          text COLLATE "C" NOT NULL,
			id           uuid             NOT NULL,
			status       text             NOT NULL,
			date         date             NOT NULL,
			description  text             NOT NULL,
			search       text             NOT NULL, -- what q looks in, in small letters of any script
			external_ref text COLLATE "C",
			lines        json             NOT NULL,
			metadata     json             NOT NULL,
			subjects     uuid[]           NOT NULL, -- the entities that it is about
			private      json,                      -- a sealed value
			expires_at   timestamptz,
			approvals    jsonb            NOT NULL,
			makers       text[]           NOT NULL,
			reverses     uuid,
			reversed_by  uuid,
			version      bigint           NOT NULL,
			created_at   timestamptz      NOT NULL,
			created_by   text             NOT NULL,
			updated_at   timestamptz      NOT NULL,
			updated_by   text             NOT NULL,
			PRIMARY KEY (org, id)
		) WITH (fillfactor = 90);
		CREATE TABLE ` + schema + `.transaction_accounts (
			org            text COLLATE "C" NOT NULL,
			account_id     uuid             NOT NULL,
			date           date             NOT NULL,
			transaction_id uuid             NOT NULL,
			PRIMARY KEY (org, account_id, date, transaction_id)
		);
		CREATE TABLE ` + schema + `.transaction_events (
			org            text COLLATE "C" NOT NULL,
			transaction_id uuid             NOT NULL,
			version        bigint           NOT NULL,
			position       bigint           NOT NULL,
			type           text             NOT NULL,
			at             timestamptz      NOT NULL,
			by             text             NOT NULL,
			PRIMARY KEY (org, transaction_id, version)
		);
		CREATE TABLE ` + schema + `.policies (
			org              text COLLATE "C" NOT NULL,
			currency         text COLLATE "C" NOT NULL,
			approval_above   text             NOT NULL, -- a decimal, empty when nothing needs approval
			approvals_needed integer          NOT NULL,
			version          bigint           NOT NULL,
			PRIMARY KEY (org, currency)
		);
		CREATE TABLE ` + schema + `.periods (
			org            text COLLATE "C" NOT NULL,
			closed_through date,
			version        bigint           NOT NULL,
			PRIMARY KEY (org)
		);`
}

func ledgerIndexes(schema string) string {
	return `
		CREATE INDEX accounts_code ON ` + schema + `.accounts (org, code, id);
		CREATE INDEX transactions_date ON ` + schema + `.transactions (org, date, id);
		CREATE INDEX transactions_status_date ON ` + schema + `.transactions (org, status, date, id);
		CREATE INDEX transactions_updated ON ` + schema + `.transactions (org, updated_at, id);
		CREATE INDEX transactions_ref ON ` + schema + `.transactions (org, external_ref) WHERE external_ref IS NOT NULL;`
}

// keptPlans is for statements that do nothing but insert rows, of which there is one plan
// only. To make it anew would be a sixth of what a batch of thirty postings costs. What finds
// rows comes before it: a plan from when there were few might find them by any index.
const keptPlans = `SELECT set_config('plan_cache_mode', 'force_generic_plan', true)`

// applyLedger folds the events of a batch, and queues a few statements for all of them.
func applyLedger(batch *pgx.Batch, schema string, events []Event) error {
	fold := newLedgerFold()
	for _, e := range events {
		if err := fold.add(e); err != nil {
			return fmt.Errorf("folding position %d: %w", e.Position, err)
		}
	}
	fold.accounts.queue(batch, schema)
	created, named, err := fold.queueChanges(batch, schema)
	if err != nil {
		return err
	}
	batch.Queue(keptPlans)
	created.insert(batch, schema)
	named.insert(batch, schema)
	fold.entries.queue(batch, schema, fold.held)
	fold.trail.queue(batch, schema)
	fold.queueRules(batch, schema)
	return nil
}
