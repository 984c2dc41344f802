package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/big"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// LedgerReport says whether the numbers of all accounts are what the log makes of them.
type LedgerReport struct {
	// Position is the one that was compared at.
	Position int64 `json:"position"`
	// What was added up.
	Accounts     int `json:"accounts"`
	Transactions int `json:"transactions"`
	Entries      int `json:"entries"`
	// Differences are the first of them, at most a hundred and those of the log itself
	// before others; Count is of all.
	Count       int                `json:"count"`
	Differences []LedgerDifference `json:"differences"`
}

// LedgerDifference is one number that is wrong. It never shows a value.
type LedgerDifference struct {
	Org string `json:"org"`
	// AccountID is empty where the transactions of an organisation are not those of the log,
	// and where a whole currency is out of balance in the log.
	AccountID string `json:"account_id,omitempty"`
	Currency  string `json:"currency,omitempty"`
	// What is "account", "balance", "held", "entries on DATE", "sums on DATE",
	// "transactions", or "debits and credits".
	What string `json:"what"`
}

// VerifyLedger adds up every line in the log, and compares it with the view: of each account
// what it is, what is on it and what is held, of each of its dates the entries, to the last
// of their columns, and the sums that balances of the past are read from, which transactions
// there are and how far they went; and debits with credits in each currency. It shares no
// code with what writes the view. Errors: there is no view, or what the databases report.
func VerifyLedger(ctx context.Context, options Options) (LedgerReport, error) {
	options = options.withDefaults()
	prints := fingerprints{maphash.MakeSeed(), map[ledgerKey]uint64{}}
	seen, position, err := readLedger(ctx, options, prints)
	if err != nil {
		return LedgerReport{}, err
	}
	sums := newLedgerSums(prints.seed)
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

// ledgerKey names a number, or numbers that go together: of an account, of one of its dates,
// or of an organisation.
type ledgerKey struct {
	org     string
	account uuid.UUID
	what    string
}

const (
	whatAccount      = "account"
	whatBalance      = "balance"
	whatHeld         = "held"
	whatEntries      = "entries on "
	whatSums         = "sums on "
	whatTransactions = "transactions"
)

// fingerprints add up rows, in whatever order they come, to something that is another when
// one of them is. Their seed is of this run, so that nobody can aim at it.
type fingerprints struct {
	seed maphash.Seed
	sums map[ledgerKey]uint64
}

func (p fingerprints) add(key ledgerKey, row string) { p.sums[key] += maphash.String(p.seed, row) }

func (p fingerprints) remove(key ledgerKey, row string) { p.sums[key] -= maphash.String(p.seed, row) }

// into adds what is not nothing to numbers.
func (p fingerprints) into(numbers map[ledgerKey]string) map[ledgerKey]string {
	for key, sum := range p.sums {
		if sum != 0 {
			numbers[key] = strconv.FormatUint(sum, 16)
		}
	}
	return numbers
}

// noSum is what both sides come to where nothing was posted or is held.
const noSum = "0 0"

// readLedger reads all numbers of the view from one snapshot.
func readLedger(ctx context.Context, options Options, prints fingerprints) (map[ledgerKey]string, int64, error) {
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
	schema, numbers := quoted(live.schema), map[ledgerKey]string{}
	for _, read := range []struct {
		sql  string
		take func(ledgerKey, string)
	}{
		{`SELECT org, id, 'account', concat_ws(' ', kind, currency, status, min_balance) FROM ` + schema + `.accounts
		  UNION ALL SELECT org, account_id, 'balance', debit || ' ' || credit FROM ` + schema + `.account_totals
		  UNION ALL SELECT org, account_id, 'held', held_debit || ' ' || held_credit FROM ` + schema + `.account_totals`, func(key ledgerKey, text string) {
			if text != noSum {
				numbers[key] = text
			}
		}},
		{`SELECT org, account_id, 'entries on ' || date, concat_ws(' ', position, line, transaction_id, side, amount, ` + micros("recorded_at") + `) FROM ` + schema + `.entries
		  UNION ALL SELECT org, account_id, 'sums on ' || date, concat_ws(' ', bucket, debit, credit, ` + micros("first_at") + `, ` + micros("last_at") + `) FROM ` + schema + `.entry_sums
		  UNION ALL SELECT org, '` + uuid.Nil.String() + `', 'transactions', concat_ws(' ', id, status, version) FROM ` + schema + `.transactions`, prints.add},
	} {
		var key ledgerKey
		var text string
		rows, err := tx.Query(ctx, read.sql)
		if err == nil {
			_, err = pgx.ForEachRow(rows, []any{&key.org, &key.account, &key.what, &text}, func() error {
				read.take(key, text)
				return nil
			})
		}
		if err != nil {
			return nil, 0, fmt.Errorf("reading the ledger: %w", err)
		}
	}
	return prints.into(numbers), live.position, nil
}

// micros is a time in SQL as whole microseconds since 1970.
func micros(column string) string { return `(extract(epoch FROM ` + column + `) * 1000000)::bigint` }

// ledgerSums is what the log adds up to.
type ledgerSums struct {
	accounts map[entityID]ledger.Account
	// posted and held are debits and credits.
	posted, held map[entityID]*bothSides
	buckets      map[bucketKey]*bucketSum
	prints       fingerprints
	currencies   map[typeID]*big.Int
	transactions int
	entries      int
	// waiting are transactions that are not posted and not over.
	waiting map[entityID]ledger.Transaction
}

// bothSides are sums in minor units.
type bothSides struct{ debit, credit big.Int }

func (b *bothSides) add(side ledger.Side, minor int64) {
	sum := &b.debit
	if side == ledger.Credit {
		sum = &b.credit
	}
	sum.Add(sum, big.NewInt(minor))
}

func (b *bothSides) String() string { return b.debit.String() + " " + b.credit.String() }

type bucketKey struct {
	account entityID
	date    ledger.Date
	bucket  int64
}

type bucketSum struct {
	bothSides
	first, last int64
}

func newLedgerSums(seed maphash.Seed) *ledgerSums {
	return &ledgerSums{
		accounts: map[entityID]ledger.Account{}, posted: map[entityID]*bothSides{}, held: map[entityID]*bothSides{},
		buckets: map[bucketKey]*bucketSum{}, prints: fingerprints{seed, map[ledgerKey]uint64{}},
		currencies: map[typeID]*big.Int{}, waiting: map[entityID]ledger.Transaction{},
	}
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
	name, err := uuid.Parse(e.Stream.Name())
	if err != nil {
		return fmt.Errorf("stream of %s is not named by an id", e.Type)
	}
	id := entityID{e.Org, name}
	if kind == ledger.AccountKind {
		s.accounts[id] = s.accounts[id].Evolve(fact).(ledger.Account)
		return nil
	}
	s.follow(id, fact, e.Version)
	if posted, ok := fact.Payload.(ledger.Posted); ok {
		s.post(e, name, posted.Movement)
	}
	return nil
}

// follow notes how far a transaction went with its event of a version.
func (s *ledgerSums) follow(id entityID, fact domain.Fact, version int64) {
	before, waits := s.waiting[id]
	if !waits {
		before.Status = ledger.StatusPosted // what happens to one that is not new and does not wait
	}
	after := before.Evolve(fact).(ledger.Transaction)
	if delete(s.waiting, id); after.Status == ledger.StatusDraft || after.Held() != nil {
		s.waiting[id] = after
	}
	all := ledgerKey{org: id.org, what: whatTransactions}
	if version == 1 {
		s.transactions++
	} else {
		s.prints.remove(all, fmt.Sprint(id.id, " ", before.Status, " ", version-1))
	}
	s.prints.add(all, fmt.Sprint(id.id, " ", after.Status, " ", version))
}

func (s *ledgerSums) post(e domain.Event, id uuid.UUID, m ledger.Movement) {
	recorded := e.RecordedAt.UnixMicro()
	for i, line := range m.Lines {
		s.entries++
		account := entityID{e.Org, line.AccountID}
		sumOf(s.posted, account).add(line.Side, line.Amount.Minor)
		s.prints.add(ledgerKey{e.Org, line.AccountID, whatEntries + m.Date.String()},
			fmt.Sprint(e.Position, " ", i, " ", id, " ", line.Side, " ", line.Amount.Minor, " ", recorded))
		bucket := s.buckets[bucketKey{account, m.Date, e.Position >> LedgerBucketBits}]
		if bucket == nil {
			bucket = &bucketSum{first: recorded}
			s.buckets[bucketKey{account, m.Date, e.Position >> LedgerBucketBits}] = bucket
		}
		bucket.add(line.Side, line.Amount.Minor)
		bucket.last = recorded // recorded times never decrease
		currency := typeID{e.Org, line.Amount.Currency}
		if s.currencies[currency] == nil {
			s.currencies[currency] = new(big.Int)
		}
		s.currencies[currency].Add(s.currencies[currency], big.NewInt(signedMinor(line)))
	}
}

func sumOf(sums map[entityID]*bothSides, account entityID) *bothSides {
	if sums[account] == nil {
		sums[account] = &bothSides{}
	}
	return sums[account]
}

func signedMinor(line ledger.Line) int64 {
	if line.Side == ledger.Debit {
		return line.Amount.Minor
	}
	return -line.Amount.Minor
}

// hold adds what the transactions that wait would do to each account, net of each.
func (s *ledgerSums) hold() {
	for id, t := range s.waiting {
		m := t.Held()
		if m == nil {
			continue
		}
		nets := map[uuid.UUID]int64{}
		for _, line := range m.Lines {
			nets[line.AccountID] += signedMinor(line)
		}
		for account, net := range nets {
			sum := sumOf(s.held, entityID{id.org, account})
			sum.add(ledger.Debit, max(0, net))
			sum.add(ledger.Credit, max(0, -net))
		}
	}
}

// numbers are those that the view should have.
func (s *ledgerSums) numbers() map[ledgerKey]string {
	s.hold()
	numbers := map[ledgerKey]string{}
	for id, a := range s.accounts {
		text := string(a.Kind) + " " + a.Currency + " open"
		if a.Closed {
			text = string(a.Kind) + " " + a.Currency + " closed"
		}
		if text += " "; a.MinBalance != nil {
			text += ledger.FormatMinor(*a.MinBalance, a.Currency)
		}
		numbers[ledgerKey{id.org, id.id, whatAccount}] = text
	}
	for what, sums := range map[string]map[entityID]*bothSides{whatBalance: s.posted, whatHeld: s.held} {
		for id, sum := range sums {
			if text := sum.String(); text != noSum {
				numbers[ledgerKey{id.org, id.id, what}] = text
			}
		}
	}
	for key, sum := range s.buckets {
		s.prints.add(ledgerKey{key.account.org, key.account.id, whatSums + key.date.String()},
			fmt.Sprint(key.bucket, " ", sum.String(), " ", sum.first, " ", sum.last))
	}
	return s.prints.into(numbers)
}

// report compares.
func (s *ledgerSums) report(seen map[ledgerKey]string, position int64) LedgerReport {
	r := LedgerReport{Position: position, Accounts: len(s.accounts), Transactions: s.transactions, Entries: s.entries, Differences: []LedgerDifference{}}
	expected := s.numbers()
	for key, text := range expected {
		if seen[key] != text {
			r.Differences = append(r.Differences, key.difference())
		}
	}
	for key := range seen {
		if expected[key] == "" {
			r.Differences = append(r.Differences, key.difference())
		}
	}
	for key, sum := range s.currencies {
		if sum.Sign() != 0 {
			r.Differences = append(r.Differences, LedgerDifference{Org: key.org, Currency: key.name, What: WhatLogUnbalanced})
		}
	}
	slices.SortFunc(r.Differences, func(a, b LedgerDifference) int { // those of the log, which have a currency, first
		return cmp.Or(cmp.Compare(b.Currency, a.Currency), cmp.Compare(a.Org, b.Org), cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(a.What, b.What))
	})
	r.Count = len(r.Differences)
	r.Differences = r.Differences[:min(len(r.Differences), maxDifferences)]
	return r
}

// WhatLogUnbalanced says of a currency that the log itself, whatever the view has, posted
// more on one side than on the other.
const WhatLogUnbalanced = "debits and credits"

func (k ledgerKey) difference() LedgerDifference {
	d := LedgerDifference{Org: k.org, What: k.what}
	if k.account != uuid.Nil {
		d.AccountID = k.account.String()
	}
	return d
}
