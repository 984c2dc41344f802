// Command hub is the whole of Hub Backend in one binary: the system for
// development (hub dev), each of its roles alone (hub serve), and the tools of
// those who run it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X main.version=…".
var version = "development"

// The exit codes of the contract, §1.
const (
	exitFailed = 1
	exitMisuse = 2
)

// failure is an error of a command that was used rightly and did not succeed.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// gcPercent is how much garbage may pile up for each byte in use. Little is in use,
// tens of megabytes, and every command makes garbage, so Go's default of 100 spends a
// tenth of all CPU on collecting; this costs some 100 MB under load instead.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var failed failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed):
		fmt.Fprintln(root.ErrOrStderr(), "hub:", err)
		return exitFailed
	default:
		fmt.Fprintf(root.ErrOrStderr(), "hub: %v\nSee 'hub --help'.\n", err)
		return exitMisuse
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "hub",
		Short:         "Hub Backend: an event-sourced business backend",
		SilenceErrors: true, // run prints them, with the right exit code
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(*cobra.Command, []string) error { return errors.New("name a command") },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		newDev(), newServe(), newDevIdentity(), newHealthcheck(), newMigrate(), newConfig(), newToken(), newEvents(), newProjections(), newReactions(),
		newKeys(), newLedger(), newBackup(), newRestore(), newOpenAPI(), newAsyncAPI(), newVersion(),
	)
	return root
}

// doing makes a command's function whose errors are failures, not misuse.
func doing(do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := do(cmd, args); err != nil {
			return failure{err}
		}
		return nil
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this binary", Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		}),
	}
}
