package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/projections"
)

func newLedger() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ledger", Short: "Prove the balances of accounts", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("name a command: verify") },
	}
	cmd.AddCommand(newLedgerVerify())
	return cmd
}

// newLedgerVerify fails when there is a difference.
func newLedgerVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Add up every line in the log and compare each balance with the view", Args: cobra.NoArgs,
		Long: "Adds up what the log has posted and holds, by account and by date, and compares it\n" +
			"with the view at one position: accounts, balances, what is held, each entry, the sums\n" +
			"that balances of the past are read from, which transactions there are; and debits with\n" +
			"credits in each currency. Names what differs, never its value. Fails when anything does,\n" +
			"and says what to do. It shares no code with what writes the view.",
	}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withProjections(cmd.Context(), func(options projections.Options) error {
			report, err := projections.VerifyLedger(cmd.Context(), options)
			if err != nil {
				return err
			}
			if err := printLedgerReport(*output, cmd.OutOrStdout(), report); err != nil {
				return err
			}
			return ledgerFault(report)
		})
	})
	return cmd
}

// ledgerFault says what to do about differences, nil when there are none.
func ledgerFault(report projections.LedgerReport) error {
	inLog := slices.ContainsFunc(report.Differences, func(d projections.LedgerDifference) bool { return d.What == projections.WhatLogUnbalanced })
	switch {
	case report.Count == 0:
		return nil
	case inLog:
		return fmt.Errorf("%d differences, and the log itself does not balance: no program of the hub writes such events. Keep a backup, and look for what was posted with \"hub events replay\"", report.Count)
	}
	return fmt.Errorf("%d differences: the view is not what the log makes of it. \"hub projections rebuild ledger\" builds it anew from the log; see before who has changed its tables", report.Count)
}

func printLedgerReport(output outputFlag, w io.Writer, report projections.LedgerReport) error {
	if output == "json" {
		return list(output, w, []projections.LedgerReport{report}, nil, nil)
	}
	fmt.Fprintf(w, "ledger at position %d: %d accounts, %d transactions, %d entries, %d differences\n",
		report.Position, report.Accounts, report.Transactions, report.Entries, report.Count)
	if len(report.Differences) == 0 {
		return nil
	}
	return list(output, w, report.Differences, []string{"org", "account", "currency", "difference"}, func(d projections.LedgerDifference) []string {
		return []string{d.Org, d.AccountID, d.Currency, d.What}
	})
}
