package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/projections"
)

func newProjections() *cobra.Command {
	cmd := &cobra.Command{
		Use: "projections", Short: "Look after the read tables", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("name list or rebuild") },
	}
	cmd.AddCommand(newProjectionsList(), newProjectionsRebuild())
	return cmd
}

func newProjectionsList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the views and how far they are", Args: cobra.NoArgs}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withProjections(cmd.Context(), func(options projections.Options) error {
			rows, err := projections.List(cmd.Context(), options.Pool)
			if err != nil {
				return err
			}
			return list(*output, cmd.OutOrStdout(), rows, []string{"name", "schema", "position"}, func(v projections.Listing) []string {
				return []string{v.Name, v.Schema, fmt.Sprint(v.Position)}
			})
		})
	})
	return cmd
}

func newProjectionsRebuild() *cobra.Command {
	return &cobra.Command{
		Use: "rebuild NAME", Short: "Build a view anew from the whole log, beside the live one, and swap it in", Args: cobra.ExactArgs(1),
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return withProjections(cmd.Context(), func(options projections.Options) error {
				return projections.Rebuild(cmd.Context(), options, args[0], progress(cmd.OutOrStdout()))
			})
		}),
	}
}

// progress prints a line at most once a second, and one at the end.
func progress(w io.Writer) func(done, total int64) {
	var last time.Time
	return func(done, total int64) {
		if now := time.Now(); done >= total || now.Sub(last) >= time.Second {
			last = now
			fmt.Fprintf(w, "%d of %d positions\n", done, total)
		}
	}
}

// withProjections gives do what a tool for views needs.
func withProjections(ctx context.Context, do func(projections.Options) error) error {
	cfg, err := toolConfig()
	if err != nil {
		return err
	}
	s := newSystem(cfg)
	defer func() { _ = s.close() }()
	options, err := s.projectionOptions(ctx)
	if err != nil {
		return err
	}
	return do(options)
}
