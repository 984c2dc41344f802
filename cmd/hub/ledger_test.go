package main

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/projections"
)

// The proof of the books at a terminal: of a running hub, and of one whose tables somebody
// has changed.
func TestLedgerVerify(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	var accounts []string
	for _, code := range []string{"1000", "3000"} {
		kind := map[string]string{"1000": "asset", "3000": "equity"}[code]
		made, _ := h.send("POST", "/api/v1/accounts", token, nil, map[string]any{"code": code, "name": code, "kind": kind, "currency": "EUR"})
		accounts = append(accounts, made.ID)
	}
	made, _ := h.send("POST", "/api/v1/transactions", token, nil, map[string]any{"date": "2026-01-01", "action": "post", "lines": []map[string]string{
		{"account_id": accounts[0], "side": "debit", "amount": "100.00"}, {"account_id": accounts[1], "side": "credit", "amount": "100.00"},
	}})
	h.get("/api/v1/transactions/"+made.ID, token, map[string]string{"Hub-Min-Position": strconv.FormatInt(made.Position, 10)}, nil)
	report := listed[projections.LedgerReport](h, "ledger", "verify")
	require.Len(t, report, 1)
	require.Equal(t, []int{2, 1, 2, 0}, []int{report[0].Accounts, report[0].Transactions, report[0].Entries, report[0].Count})
	require.Contains(t, h.command("ledger", "verify"), "2 accounts, 1 transactions, 2 entries, 0 differences\n")

	_, err := hubtest.Pool(t, h.postgres(), "").Exec(t.Context(), `UPDATE ledger_v1.account_totals SET debit = 4711 WHERE debit > 0`)
	require.NoError(t, err)
	code, output, fault := h.outcome("ledger", "verify")
	require.Equal(t, exitFailed, code)
	require.Contains(t, output, "1 differences")
	require.Contains(t, output, accounts[0])
	require.NotContains(t, output, "4711")
	require.Contains(t, fault, "hub projections rebuild ledger")
	code, output, _ = h.outcome("ledger", "verify", "--output", "json")
	require.Equal(t, exitFailed, code)
	require.NoError(t, json.Unmarshal([]byte(output), &report))
	require.Equal(t, []projections.LedgerDifference{{Org: "acme", AccountID: accounts[0], What: "balance"}}, report[0].Differences)
	// What it says to do helps.
	h.command("projections", "rebuild", "ledger")
	require.Contains(t, h.command("ledger", "verify"), " 0 differences\n")
	code, _, _ = h.outcome("ledger")
	require.Equal(t, exitMisuse, code)
}

// What is wrong with the view is built anew, and what is wrong with the log is not.
func TestWhatToDoAboutDifferences(t *testing.T) {
	t.Parallel()
	report := projections.LedgerReport{}
	require.NoError(t, ledgerFault(report))
	report.Count, report.Differences = 1, []projections.LedgerDifference{{What: "balance"}}
	require.ErrorContains(t, ledgerFault(report), "hub projections rebuild ledger")
	report.Count, report.Differences = 2, append(report.Differences, projections.LedgerDifference{Currency: "EUR", What: projections.WhatLogUnbalanced})
	require.ErrorContains(t, ledgerFault(report), "the log itself does not balance")
	require.NotContains(t, ledgerFault(report).Error(), "rebuild")
}
