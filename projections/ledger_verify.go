package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// LedgerReport says whether the balances of all accounts are what the log makes of them.
type LedgerReport struct {
	// Position is the one that was compared at.
	Position int64 `json:"position"`
	// What was added up.
	Accounts     int `json:"accounts"`
	Transactions int `json:"transactions"`
	Entries      int `json:"entries"`
	// Differences are the first of them, at most a hundred; Count is of all.
	Count       int                `json:"count"`
	Differences []LedgerDifference `json:"differences"`
}

// LedgerDifference is one balance that is wrong. It never shows a value.
type LedgerDifference struct {
	Org string `json:"org"`
	// AccountID is empty where a whole currency is out of balance.
	AccountID string `json:"account_id,omitempty"`
	Currency  string `json:"currency,omitempty"`
	// What is "balance", "held", "balance on DATE", "sums on DATE", or "debits and credits".
	What string `json:"what"`
}

// VerifyLedger adds up every line in the log, and compares each balance with the view, in
// total and by date, and debits with credits in each currency. It shares no code with what
// writes the view. Errors: there is no view, or what the databases report.
func VerifyLedger(ctx context.Context, options Options) (LedgerReport, error) {
	options = options.withDefaults()
	seen, position, err := readLedger(ctx, options)
	if err != nil {
		return LedgerReport{}, err
	}
	sums := newLedgerSums()
	reader := subscription.NewReader(options.Store, subscription.Filter{Types: Ledger().Types})
	for at := (subscription.Place{}); at.Position < position; {
		batch, err := reader.Read(ctx, at, position)
		if err != nil {
			return LedgerReport{}, err
		}
		if batch.At.Position == at.Position {
			return LedgerReport{}, errors.New("the log ends before the view does")
		}
		for _, e := range batch.Events {
			if err := sums.add(options, e); err != nil {
				return LedgerReport{}, fmt.Errorf("position %d: %w", e.Position, err)
			}
		}
		at = batch.At
	}
	return sums.report(seen, position), nil
}

// ledgerKey is a sum: of an account, of what is held, or of an account on a date.
type ledgerKey struct {
	org     string
	account uuid.UUID
	what    string
}

const (
	whatBalance = "balance"
	whatHeld    = "held"
)

func onDate(what, date string) string { return what + " on " + date }

// readLedger reads all sums of the view from one snapshot: debits less credits.
func readLedger(ctx context.Context, options Options) (map[ledgerKey]*big.Int, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	tx, err := options.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, 0, fmt.Errorf("reading the ledger: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	live, err := loadView(ctx, tx, Ledger().Name)
	if err != nil {
		return nil, 0, err
	}
	schema := quoted(live.schema)
	rows, err := tx.Query(ctx, `
		SELECT org, account_id, 'balance', (debit - credit)::text FROM `+schema+`.account_totals
		UNION ALL SELECT org, account_id, 'held', (held_debit - held_credit)::text FROM `+schema+`.account_totals
		UNION ALL SELECT org, account_id, 'balance on ' || date, sum(CASE side WHEN 'debit' THEN amount ELSE -amount END)::text FROM `+schema+`.entries GROUP BY 1, 2, date
		UNION ALL SELECT org, account_id, 'sums on ' || date, sum(debit - credit)::text FROM `+schema+`.entry_sums GROUP BY 1, 2, date`)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the ledger: %w", err)
	}
	seen := map[ledgerKey]*big.Int{}
	var key ledgerKey
	var text string
	_, err = pgx.ForEachRow(rows, []any{&key.org, &key.account, &key.what, &text}, func() error {
		sum, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return errors.New("a sum that is no whole number")
		}
		seen[key] = sum
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading the ledger: %w", err)
	}
	return seen, live.position, nil
}

// ledgerSums is what the log adds up to.
type ledgerSums struct {
	sums         map[ledgerKey]*big.Int
	currencies   map[typeID]*big.Int
	accounts     int
	transactions int
	entries      int
	// waiting are transactions that are not posted and not over.
	waiting map[streamID]ledger.Transaction
}

func newLedgerSums() *ledgerSums {
	return &ledgerSums{sums: map[ledgerKey]*big.Int{}, currencies: map[typeID]*big.Int{}, waiting: map[streamID]ledger.Transaction{}}
}

func (s *ledgerSums) add(options Options, e domain.Event) error {
	kind := e.Stream.Kind()
	if kind != ledger.TransactionKind && kind != ledger.AccountKind {
		return nil
	}
	fact, err := options.Codec.Fact(e)
	if err != nil {
		return err
	}
	if _, ok := fact.Payload.(ledger.Opened); ok {
		s.accounts++
	}
	if kind == ledger.AccountKind {
		return nil
	}
	id := streamOf(e)
	state := s.waiting[id].Evolve(fact).(ledger.Transaction)
	if delete(s.waiting, id); state.Status == ledger.StatusDraft || state.Held() != nil {
		s.waiting[id] = state
	}
	if e.Version == 1 {
		s.transactions++
	}
	if posted, ok := fact.Payload.(ledger.Posted); ok {
		for _, line := range posted.Lines {
			s.entries++
			s.count(e.Org, line, whatBalance)
			s.count(e.Org, line, onDate(whatBalance, posted.Date.String()))
			s.count(e.Org, line, onDate("sums", posted.Date.String()))
			plus(s.currencies, typeID{e.Org, line.Amount.Currency}, signedMinor(line))
		}
	}
	return nil
}

func (s *ledgerSums) count(org string, line ledger.Line, what string) {
	plus(s.sums, ledgerKey{org, line.AccountID, what}, signedMinor(line))
}

func plus[K comparable](sums map[K]*big.Int, key K, minor int64) {
	if sums[key] == nil {
		sums[key] = new(big.Int)
	}
	sums[key].Add(sums[key], big.NewInt(minor))
}

func signedMinor(line ledger.Line) int64 {
	if line.Side == ledger.Debit {
		return line.Amount.Minor
	}
	return -line.Amount.Minor
}

// report compares.
func (s *ledgerSums) report(seen map[ledgerKey]*big.Int, position int64) LedgerReport {
	for id, t := range s.waiting {
		if m := t.Held(); m != nil {
			for _, line := range m.Lines {
				s.count(id.org, line, whatHeld)
			}
		}
	}
	r := LedgerReport{Position: position, Accounts: s.accounts, Transactions: s.transactions, Entries: s.entries, Differences: []LedgerDifference{}}
	for key, sum := range s.sums {
		if found := seen[key]; found == nil && sum.Sign() != 0 || found != nil && found.Cmp(sum) != 0 {
			r.Differences = append(r.Differences, LedgerDifference{Org: key.org, AccountID: key.account.String(), What: key.what})
		}
	}
	for key, found := range seen {
		if s.sums[key] == nil && found.Sign() != 0 {
			r.Differences = append(r.Differences, LedgerDifference{Org: key.org, AccountID: key.account.String(), What: key.what})
		}
	}
	for key, sum := range s.currencies {
		if sum.Sign() != 0 {
			r.Differences = append(r.Differences, LedgerDifference{Org: key.org, Currency: key.name, What: "debits and credits"})
		}
	}
	slices.SortFunc(r.Differences, func(a, b LedgerDifference) int {
		return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(a.What, b.What), cmp.Compare(a.Currency, b.Currency))
	})
	r.Count = len(r.Differences)
	r.Differences = r.Differences[:min(len(r.Differences), maxDifferences)]
	return r
}
