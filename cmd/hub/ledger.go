package main

import (
	"fmt"
	"io"

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
			"with the view at one position, and debits with credits in each currency. Names what\n" +
			"differs, never its value. Fails when anything does. It shares no code with what\n" +
			"writes the view.",
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
			if report.Count > 0 {
				return fmt.Errorf("%d balances are not what the log makes of them", report.Count)
			}
			return nil
		})
	})
	return cmd
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
