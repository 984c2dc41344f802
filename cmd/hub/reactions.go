package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/reactions"
)

func newReactions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reactions", Short: "Look after what follows from events", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("name list, retry or drop") },
	}
	cmd.AddCommand(newReactionsList(),
		newReactionsChange("retry", "Take parked events of a reaction up again, and their streams behind them", reactions.Retry),
		newReactionsChange("drop", "Give parked events of a reaction up; their streams go on", reactions.Drop))
	return cmd
}

func newReactionsList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the reactions, how far they are, and their parked events", Args: cobra.NoArgs}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withPlaces(cmd.Context(), func(pool *pgxpool.Pool) error {
			rows, err := reactions.List(cmd.Context(), pool)
			if err != nil {
				return err
			}
			return listReactions(*output, cmd.OutOrStdout(), rows)
		})
	})
	return cmd
}

func listReactions(output outputFlag, w io.Writer, rows []reactions.Listing) error {
	err := list(output, w, rows, []string{"name", "position", "parked"}, func(l reactions.Listing) []string {
		return []string{l.Name, fmt.Sprint(l.Position), fmt.Sprint(l.Parked)}
	})
	if err != nil || output == "json" {
		return err
	}
	for _, l := range rows {
		if len(l.Items) == 0 {
			continue
		}
		fmt.Fprintf(w, "\nThe first parked events of %s:\n", l.Name)
		err := list(output, w, l.Items, []string{"position", "type", "org", "stream", "parked at", "attempts", "reason"}, func(p reactions.Parked) []string {
			return []string{
				fmt.Sprint(p.Position), p.Type, p.Org, p.Stream, p.ParkedAt.UTC().Format(time.RFC3339), fmt.Sprint(p.Attempts), p.Reason,
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func newReactionsChange(use, short string, change func(context.Context, reactions.Database, string, int64) (int64, error)) *cobra.Command {
	var position int64
	cmd := &cobra.Command{Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1)}
	cmd.Flags().Int64Var(&position, "position", 0, "only the event at this position; 0 is all")
	cmd.RunE = doing(func(cmd *cobra.Command, args []string) error {
		return withPlaces(cmd.Context(), func(pool *pgxpool.Pool) error {
			changed, err := change(cmd.Context(), pool, args[0], position)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d events\n", use, changed)
			}
			return err
		})
	})
	return cmd
}

// withPlaces gives do the database in which reactions keep how far they are.
func withPlaces(ctx context.Context, do func(*pgxpool.Pool) error) error {
	cfg, err := toolConfig()
	if err != nil {
		return err
	}
	s := newSystem(cfg)
	defer func() { _ = s.close() }()
	pool, err := s.placesPool(ctx)
	if err != nil {
		return err
	}
	return do(pool)
}
