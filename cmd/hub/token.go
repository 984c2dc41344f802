package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/identity"
)

func newToken() *cobra.Command {
	var request identity.TokenRequest
	cmd := &cobra.Command{
		Use: "token", Short: "Print a token of the development issuer (HUB_DEV_IDENTITY_ADDR)", Args: cobra.NoArgs,
		Example: "  hub token --sub ana --org acme --role admin",
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.Tool(), os.Environ())
			if err != nil {
				return err
			}
			token, err := identity.RequestToken(cmd.Context(), "http://"+cfg.DevIdentityAddr, request)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&request.Sub, "sub", "", "login of the caller")
	flags.StringVar(&request.Org, "org", "", "organisation")
	flags.StringSliceVar(&request.Roles, "role", nil, "role; may be repeated")
	flags.StringSliceVar(&request.Groups, "group", nil, "group; may be repeated")
	flags.BoolVar(&request.MFA, "mfa", false, "as if logged in with a second factor")
	for _, name := range []string{"sub", "org", "role"} {
		// Fails only for a flag that was not declared above.
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}
