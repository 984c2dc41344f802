package projections

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

// Every balance that is not what the log adds up to is found, and what is right is not.
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
	waiting, over := ledger.TransactionStream(uuid.New()), ledger.TransactionStream(uuid.New())
	h.append(t,
		happening{"acme", ledger.AccountStream(account), ledger.Opened{Code: "1", Kind: ledger.Asset, Currency: "EUR"}},
		happening{"acme", ledger.AccountStream(other), ledger.Opened{Code: "2", Kind: ledger.Income, Currency: "EUR"}},
		posted(small), posted(large), posted(large),
		happening{"acme", waiting, ledger.Drafted{Content: ledger.Content{Movement: small}}}, happening{"acme", waiting, ledger.Submitted{Held: small}},
		happening{"acme", over, ledger.Submitted{Content: &ledger.Content{Movement: small}, Held: small}}, happening{"acme", over, ledger.Voided{Released: &small}},
		happening{"acme", ledger.PolicyStream("EUR"), ledger.PolicySet{Currency: "EUR", ApprovalsNeeded: 1}},
	)
	options := h.with(Ledger())
	require.NoError(t, Rebuild(t.Context(), options, "ledger", nil))
	report, err := VerifyLedger(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, LedgerReport{Position: 10, Accounts: 2, Transactions: 5, Entries: 6, Differences: []LedgerDifference{}}, report)

	var schema string
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT schema FROM view_pointers WHERE name = 'ledger'`).Scan(&schema))
	_, err = h.admin.Exec(t.Context(), `
		UPDATE `+schema+`.account_totals SET debit = debit + 1 WHERE account_id = '`+account.String()+`';
		UPDATE `+schema+`.account_totals SET held_credit = 0 WHERE account_id = '`+other.String()+`';
		UPDATE `+schema+`.entries SET date = '2026-02-01' WHERE account_id = '`+other.String()+`' AND amount = 7;
		DELETE FROM `+schema+`.entry_sums WHERE account_id = '`+account.String()+`'`)
	require.NoError(t, err)
	report, err = VerifyLedger(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 5, report.Count)
	require.ElementsMatch(t, []LedgerDifference{
		{Org: "acme", AccountID: account.String(), What: "balance"},
		{Org: "acme", AccountID: account.String(), What: "sums on 2026-01-31"},
		{Org: "acme", AccountID: other.String(), What: "held"},
		{Org: "acme", AccountID: other.String(), What: "balance on 2026-01-31"},
		{Org: "acme", AccountID: other.String(), What: "balance on 2026-02-01"},
	}, report.Differences)

	// Money that comes from nowhere is found in the log itself; the view does not have it.
	h = newHub(t)
	one := small
	one.Lines = small.Lines[:1]
	h.append(t, posted(one))
	options = h.with(Ledger())
	h.run(t, New(options))
	h.reaches(t, 1)
	report, err = VerifyLedger(t.Context(), options)
	require.NoError(t, err)
	require.Contains(t, report.Differences, LedgerDifference{Org: "acme", Currency: "EUR", What: "debits and credits"})
	require.Contains(t, report.Differences, LedgerDifference{Org: "acme", AccountID: account.String(), What: "balance"})

	_, err = VerifyLedger(t.Context(), newHub(t).with(Ledger()))
	require.Error(t, err, "without a view there is nothing to compare")
}
