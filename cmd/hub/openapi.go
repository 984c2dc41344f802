package main

import (
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/httpapi"
)

func newOpenAPI() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the OpenAPI 3.1 document", Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			spec, err := httpapi.Spec()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(spec)
			return err
		}),
	}
}
