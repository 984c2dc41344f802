package projections

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// Every number that is not what the log adds up to is found, and what is right is not.
func TestVerifyLedgerFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	account, other := uuid.New(), uuid.New()
	date, _ := ledger.ParseDate("2026-01-31")
	moved := func(minor int64) ledger.Movement {
		return ledger.Movement{Date: date, Lines: []ledger.Line{
			{AccountID: account, Side: ledger.Debit, Amount: ledger.Money{Minor: minor, Currency: "EUR"}},
			{AccountID: other, Side: ledger.Credit, Amount: ledger.Money{Minor: minor, Currency: "EUR"}},
		}}
	}
	small, large := moved(7), moved(999_999_999_999_999_999)
	posted := func(m ledger.Movement) happening {
		return happening{"acme", ledger.TransactionStream(uuid.New()), ledger.Posted{Content: &ledger.Content{Movement: m}, Movement: m}}
	}
	waiting, over, reversed := ledger.TransactionStream(uuid.New()), ledger.TransactionStream(uuid.New()), ledger.TransactionStream(uuid.New())
	h.append(t,
		happening{"acme", ledger.AccountStream(account), ledger.Opened{Code: "1", Kind: ledger.Asset, Currency: "EUR", MinBalance: "0.00"}},
		happening{"acme", ledger.AccountStream(other), ledger.Opened{Code: "2", Kind: ledger.Income, Currency: "EUR"}},
		posted(small), posted(large), posted(large),
		happening{"acme", waiting, ledger.Drafted{Content: ledger.Content{Movement: small}}}, happening{"acme", waiting, ledger.Submitted{Held: small}},
		happening{"acme", over, ledger.Submitted{Content: &ledger.Content{Movement: small}, Held: small}}, happening{"acme", over, ledger.Voided{Released: &small}},
		happening{"acme", ledger.PolicyStream("EUR"), ledger.PolicySet{Currency: "EUR", ApprovalsNeeded: 1}},
		happening{"acme", reversed, ledger.Posted{Content: &ledger.Content{Movement: small}, Movement: small}}, happening{"acme", reversed, ledger.Reversed{}},
		happening{"acme", ledger.AccountStream(other), ledger.Closed{}},
	)
	options := h.with(Ledger())
	require.NoError(t, Rebuild(t.Context(), options, "ledger", nil))
	found := func() []string {
		report, err := VerifyLedger(t.Context(), options)
		require.NoError(t, err)
		require.Equal(t, []int{2, 6, 8}, []int{report.Accounts, report.Transactions, report.Entries})
		require.EqualValues(t, 13, report.Position)
		require.Len(t, report.Differences, report.Count)
		names, what := map[string]string{account.String(): "1", other.String(): "2"}, []string{}
		for _, d := range report.Differences {
			require.Equal(t, "acme", d.Org)
			what = append(what, strings.TrimSpace(names[d.AccountID]+" "+d.What))
		}
		return what
	}
	require.Empty(t, found())

	var schema string
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT schema FROM view_pointers WHERE name = 'ledger'`).Scan(&schema))
	for _, table := range Ledger().Tables {
		_, err := h.admin.Exec(t.Context(), `CREATE TABLE right_`+table+` AS SELECT * FROM `+schema+`.`+table)
		require.NoError(t, err)
	}
	for _, tampered := range []struct {
		sql  string
		what []string
	}{
		{`UPDATE account_totals SET debit = debit + 1 WHERE account_id = '1'`, []string{"1 balance"}},
		{`UPDATE account_totals SET debit = debit + 1, credit = credit + 1 WHERE account_id = '1'`, []string{"1 balance"}},
		{`UPDATE account_totals SET held_credit = 0 WHERE account_id = '2'`, []string{"2 held"}},
		{`UPDATE account_totals SET held_credit = held_credit + 1, held_debit = held_debit + 1 WHERE account_id = '2'`, []string{"2 held"}},
		{`DELETE FROM account_totals WHERE account_id = '1'`, []string{"1 balance", "1 held"}},
		{`INSERT INTO account_totals SELECT org, '3', debit, credit, 0, 0 FROM account_totals WHERE account_id = '1'`, []string{"balance"}},
		{`UPDATE entries SET date = '2026-02-01' WHERE account_id = '2' AND position = 3`, []string{"2 entries on 2026-01-31", "2 entries on 2026-02-01"}},
		{`UPDATE entries SET amount = 8 - sign(position - 4) WHERE account_id = '1' AND position IN (3, 11)`, []string{"1 entries on 2026-01-31"}},
		{`UPDATE entries SET side = 'debit', amount = -amount WHERE account_id = '2' AND position = 3`, []string{"2 entries on 2026-01-31"}},
		{`UPDATE entries SET recorded_at = recorded_at + interval '1 microsecond' WHERE account_id = '1' AND position = 3`, []string{"1 entries on 2026-01-31"}},
		{`UPDATE entries SET transaction_id = account_id WHERE account_id = '1' AND position = 3`, []string{"1 entries on 2026-01-31"}},
		{`DELETE FROM entries WHERE account_id = '1' AND position = 3`, []string{"1 entries on 2026-01-31"}},
		{`INSERT INTO entries SELECT org, '3', date, position, line, transaction_id, side, amount, recorded_at FROM entries WHERE account_id = '1' AND position = 3`, []string{"entries on 2026-01-31"}},
		{`DELETE FROM entry_sums WHERE account_id = '1'`, []string{"1 sums on 2026-01-31"}},
		{`UPDATE entry_sums SET debit = debit + 1, credit = credit + 1 WHERE account_id = '1'`, []string{"1 sums on 2026-01-31"}},
		{`UPDATE entry_sums SET bucket = 1 WHERE account_id = '2'`, []string{"2 sums on 2026-01-31"}},
		{`UPDATE entry_sums SET last_at = last_at + interval '1 microsecond' WHERE account_id = '2'`, []string{"2 sums on 2026-01-31"}},
		{`UPDATE entry_sums SET first_at = first_at - interval '1 microsecond' WHERE account_id = '2'`, []string{"2 sums on 2026-01-31"}},
		{`UPDATE accounts SET kind = 'liability' WHERE id = '1'`, []string{"1 account"}},
		{`UPDATE accounts SET currency = 'JPY' WHERE id = '1'`, []string{"1 account"}},
		{`UPDATE accounts SET min_balance = '-5.00' WHERE id = '1'`, []string{"1 account"}},
		{`UPDATE accounts SET status = 'open' WHERE id = '2'`, []string{"2 account"}},
		{`DELETE FROM accounts WHERE id = '1'`, []string{"1 account"}},
		{`DELETE FROM transactions WHERE status = 'voided'`, []string{"transactions"}},
		{`UPDATE transactions SET status = 'voided' WHERE status = 'reversed'`, []string{"transactions"}},
	} {
		sql := regexp.MustCompile(`\b(account_totals|entries|entry_sums|accounts|transactions)\b`).ReplaceAllString(tampered.sql, schema+".$1")
		sql = strings.NewReplacer(`'1'`, `'`+account.String()+`'`, `'2'`, `'`+other.String()+`'`, `'3'`, `'`+uuid.NewString()+`'`).Replace(sql)
		_, err := h.admin.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
		require.Equal(t, tampered.what, found(), tampered.sql)
		for _, table := range Ledger().Tables {
			_, err := h.admin.Exec(t.Context(), `DELETE FROM `+schema+`.`+table+`; INSERT INTO `+schema+`.`+table+` SELECT * FROM right_`+table)
			require.NoError(t, err)
		}
	}
	require.Empty(t, found())

	// Money that comes from nowhere is found in the log itself; the view does not have it.
	h = newHub(t)
	one := small
	one.Lines = small.Lines[:1]
	h.append(t, posted(one))
	options = h.with(Ledger())
	h.run(t, New(options))
	h.reaches(t, 1)
	report, err := VerifyLedger(t.Context(), options)
	require.NoError(t, err)
	require.Contains(t, report.Differences, LedgerDifference{Org: "acme", Currency: "EUR", What: "debits and credits"})
	require.Contains(t, report.Differences, LedgerDifference{Org: "acme", AccountID: account.String(), What: "balance"})

	_, err = VerifyLedger(t.Context(), newHub(t).with(Ledger()))
	require.Error(t, err, "without a view there is nothing to compare")
}
