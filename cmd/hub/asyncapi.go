package main

import (
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/httpapi"
)

func newAsyncAPI() *cobra.Command {
	return &cobra.Command{
		Use: "asyncapi", Short: "Print the AsyncAPI 3.0 document of the events", Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			spec, err := httpapi.AsyncSpec(kinds())
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(spec)
			return err
		}),
	}
}
