package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/migrations"
	"github.com/reactdjango-hub/backend/projections"
)

func newProjections() *cobra.Command {
	cmd := &cobra.Command{
		Use: "projections", Short: "Look after the read tables", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("name a command: list, rebuild, verify, parked, retry, jobs, cancel, rollback or prune")
		},
	}
	cmd.AddCommand(
		newProjectionsList(), newProjectionsRebuild(), newProjectionsVerify(), newProjectionsParked(), newProjectionsRetry(),
		newProjectionsJobs(), newProjectionsCancel(), newProjectionsRollback(), newProjectionsPrune(),
	)
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
			return list(*output, cmd.OutOrStdout(), rows, []string{"name", "schema", "position", "parked", "previous", "error"}, func(v projections.Listing) []string {
				return []string{v.Name, v.Schema, fmt.Sprint(v.Position), fmt.Sprint(v.Parked), v.Previous, v.Err}
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
				watch, end := watchJob(cmd.ErrOrStderr())
				defer end()
				return projections.Rebuild(cmd.Context(), options, args[0], watch)
			})
		}),
	}
}

// newProjectionsVerify fails when there is a difference.
func newProjectionsVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [NAME]", Short: "Hold a view, or all, against the log, row by row", Args: cobra.MaximumNArgs(1),
		Long: "Builds the view once more from the log and compares it with the live one at one\n" +
			"position. Names the rows that differ, never their values. Fails when any does.",
	}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, args []string) error {
		return withProjections(cmd.Context(), func(options projections.Options) error {
			reports, differences, err := verifyAll(cmd, options, viewNames(args))
			if err != nil {
				return err
			}
			if err := printReports(*output, cmd.OutOrStdout(), reports); err != nil {
				return err
			}
			if differences > 0 {
				return fmt.Errorf("%d rows are not what the log makes of them", differences)
			}
			return nil
		})
	})
	return cmd
}

func verifyAll(cmd *cobra.Command, options projections.Options, names []string) (reports []projections.Report, differences int64, err error) {
	for _, name := range names {
		watch, end := watchJob(cmd.ErrOrStderr())
		report, err := projections.Verify(cmd.Context(), options, name, watch)
		end()
		if err != nil {
			return nil, 0, err
		}
		reports, differences = append(reports, report), differences+report.Differences
	}
	return reports, differences, nil
}

func printReports(output outputFlag, w io.Writer, reports []projections.Report) error {
	if output == "json" {
		return list(output, w, reports, nil, nil)
	}
	var rows [][]string
	for _, r := range reports {
		fmt.Fprintf(w, "%s at position %d: %d rows, %d differences\n", r.View, r.Position, r.Rows, r.Differences)
		for _, d := range r.Details {
			var key []string
			for _, column := range slices.Sorted(maps.Keys(d.Key)) {
				key = append(key, column+"="+d.Key[column])
			}
			rows = append(rows, []string{r.View, d.Table, d.Kind, strings.Join(key, " "), strings.Join(d.Columns, ",")})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return list(output, w, rows, []string{"view", "table", "difference", "key", "columns"}, func(row []string) []string { return row })
}

func newProjectionsRollback() *cobra.Command {
	return &cobra.Command{
		Use: "rollback NAME", Short: "Go back to the tables that a view had before it was built anew", Args: cobra.ExactArgs(1),
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return withProjections(cmd.Context(), func(options projections.Options) error {
				schema, err := projections.Rollback(cmd.Context(), options, args[0])
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "view %s is answered by %s\n", args[0], schema)
				return err
			})
		}),
	}
}

func newProjectionsPrune() *cobra.Command {
	return &cobra.Command{
		Use: "prune [NAME]", Short: "Drop the tables that no view answers from, those of the way back included", Args: cobra.MaximumNArgs(1),
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return withProjections(cmd.Context(), func(options projections.Options) error {
				for _, name := range viewNames(args) {
					dropped, err := projections.Prune(cmd.Context(), options, name)
					if err != nil {
						return err
					}
					for _, schema := range dropped {
						fmt.Fprintln(cmd.OutOrStdout(), "dropped", schema)
					}
				}
				return nil
			})
		}),
	}
}

func newProjectionsCancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel NAME", Short: "Cancel the job that is under way for a view", Args: cobra.ExactArgs(1),
		RunE: doing(func(cmd *cobra.Command, args []string) error {
			return withProjections(cmd.Context(), func(options projections.Options) error {
				found, err := projections.Cancel(cmd.Context(), options.Pool, args[0])
				if err == nil && !found {
					err = fmt.Errorf("no job is under way for view %s", args[0])
				}
				return err
			})
		}),
	}
}

func newProjectionsJobs() *cobra.Command {
	cmd := &cobra.Command{Use: "jobs", Short: "List the jobs of the views, the latest first", Args: cobra.NoArgs}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withProjections(cmd.Context(), func(options projections.Options) error {
			rows, err := projections.Jobs(cmd.Context(), options.Pool)
			if err != nil {
				return err
			}
			return list(*output, cmd.OutOrStdout(), rows, []string{"view", "job", "state", "done", "total", "findings", "requested", "error"}, func(j projections.Job) []string {
				return []string{j.View, j.Kind, j.State, fmt.Sprint(j.Done), fmt.Sprint(j.Total), fmt.Sprint(j.Findings), j.RequestedAt.Format(time.RFC3339), j.Error}
			})
		})
	})
	return cmd
}

func newProjectionsParked() *cobra.Command {
	cmd := &cobra.Command{Use: "parked", Short: "List the streams that wait because an event of theirs cannot be applied", Args: cobra.NoArgs}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withProjections(cmd.Context(), func(options projections.Options) error {
			rows, err := projections.ListParked(cmd.Context(), options.Pool)
			if err != nil {
				return err
			}
			return list(*output, cmd.OutOrStdout(), rows, []string{"view", "org", "stream", "position", "events", "reason"}, func(p projections.Parked) []string {
				return []string{p.View, p.Org, string(p.Stream), fmt.Sprint(p.FirstPosition), fmt.Sprint(p.Events), p.Reason}
			})
		})
	})
	return cmd
}

// newProjectionsRetry fails while streams are left: then the cause is still there.
func newProjectionsRetry() *cobra.Command {
	cmd := &cobra.Command{
		Use: "retry [NAME]", Short: "Apply what parked streams have waiting, of one view or of all", Args: cobra.MaximumNArgs(1),
	}
	output := addOutput(cmd)
	cmd.RunE = doing(func(cmd *cobra.Command, args []string) error {
		return withProjections(cmd.Context(), func(options projections.Options) error {
			var (
				rows []projections.Retried
				left int
			)
			for _, name := range viewNames(args) {
				done, err := projections.Retry(cmd.Context(), options, name)
				if err != nil {
					return err
				}
				rows, left = append(rows, done), left+done.Left
			}
			err := list(*output, cmd.OutOrStdout(), rows, []string{"view", "freed", "left"}, func(r projections.Retried) []string {
				return []string{r.View, fmt.Sprint(r.Freed), fmt.Sprint(r.Left)}
			})
			if err == nil && left > 0 {
				err = fmt.Errorf("%d streams are still parked", left)
			}
			return err
		})
	})
	return cmd
}

// viewNames are those named, or else all.
func viewNames(args []string) []string {
	if len(args) > 0 {
		return args
	}
	var names []string
	for _, p := range projections.All() {
		names = append(names, p.Name)
	}
	return names
}

// watchJob shows how a job goes: a bar on a terminal, elsewhere a line a second at most
// and one at the end. end is called when nothing more comes.
func watchJob(w io.Writer) (watch func(projections.Job), end func()) {
	terminal := isTerminal(w)
	var last time.Time
	watch = func(j projections.Job) {
		now := time.Now()
		if j.Active() && now.Sub(last) < time.Second && (!terminal || now.Sub(last) < 100*time.Millisecond) {
			return
		}
		last = now
		if terminal {
			fmt.Fprintf(w, "\r%s\x1b[K", progressBar(j))
			return
		}
		fmt.Fprintf(w, "%s %s: %s, %d of %d positions\n", j.Kind, j.View, j.State, j.Done, j.Total)
	}
	end = func() {
		if terminal && !last.IsZero() {
			fmt.Fprintln(w)
		}
	}
	return watch, end
}

// barCells is how wide a progress bar is; with its figures it fits 80 columns.
const barCells = 24

func progressBar(j projections.Job) string {
	share := 0.0
	switch {
	case j.State == projections.StateCompleted:
		share = 1
	case j.Total > 0:
		share = float64(j.Done) / float64(j.Total)
	}
	full := int(share * barCells)
	text := fmt.Sprintf("%s %s [%s%s] %3.0f %% %.0f/s", j.Kind, j.View, strings.Repeat("█", full), strings.Repeat("░", barCells-full), share*100, j.Rate)
	if j.ETASeconds != nil {
		text += fmt.Sprintf(" %.0f s left", *j.ETASeconds)
	}
	return text
}

// isTerminal reports whether somebody watches.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// withProjections gives do what a tool for views needs.
func withProjections(ctx context.Context, do func(projections.Options) error) error {
	cfg, err := toolConfig()
	if err != nil {
		return err
	}
	s := newSystem(cfg)
	if s.masters, err = mastersOfTool(cfg); err != nil && !errors.Is(err, errNoSecret) {
		return err
	}
	defer func() { _ = s.close() }()
	options, err := s.projectionOptions(ctx)
	if err != nil {
		return err
	}
	return do(options)
}

// projectionOptions are what a projector and its tools have in common.
func (s *system) projectionOptions(ctx context.Context) (projections.Options, error) {
	views, err := s.pool(ctx, "views", migrations.Projections, s.cfg.ProjectionDatabaseURL, eventstore.RoleProjector, projectorConnections)
	if err != nil {
		return projections.Options{}, err
	}
	log, err := s.pool(ctx, "projector", migrations.Log, s.cfg.DatabaseURL, eventstore.RoleProjector, projectorConnections)
	if err != nil {
		return projections.Options{}, err
	}
	keys, err := s.keys(ctx, log, false)
	if err != nil {
		return projections.Options{}, err
	}
	s.store = eventstore.New(log)
	return projections.Options{Pool: views, Store: s.store, Codec: codec(), Keys: keys, Log: s.log, Metrics: s.metrics, Tracer: s.tracer}, nil
}
