package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Look at the configuration", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("name check") },
	}
	check := &cobra.Command{
		Use: "check [ROLE…]", Short: "Report every fault of the environment, or list what is in force",
		Long: "Checks the environment for 'hub serve ROLE…', or without a role for 'hub dev'.",
	}
	output := addOutput(check)
	check.RunE = func(cmd *cobra.Command, args []string) error {
		mode := config.Dev()
		if len(args) > 0 {
			roles, err := config.ParseRoles(args)
			if err != nil {
				return err
			}
			mode = config.Serve(roles...)
		}
		return doing(func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(mode, os.Environ())
			if err != nil {
				return err
			}
			return list(*output, cmd.OutOrStdout(), cfg.Describe(), []string{"name", "value", "from", "meaning"}, func(s config.Setting) []string {
				return []string{s.Name, s.Value, s.Source, s.Meaning}
			})
		})(cmd, args)
	}
	cmd.AddCommand(check)
	return cmd
}
