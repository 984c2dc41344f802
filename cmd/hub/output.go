package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// outputFlag is --output: a table for people or JSON, an array of objects, for programs.
type outputFlag string

func addOutput(cmd *cobra.Command) *outputFlag {
	o := outputFlag("text")
	cmd.Flags().Var(&o, "output", "text or json")
	return &o
}

func (o *outputFlag) String() string { return string(*o) }
func (o *outputFlag) Type() string   { return "format" }

func (o *outputFlag) Set(value string) error {
	if value != "text" && value != "json" {
		return fmt.Errorf("must be text or json")
	}
	*o = outputFlag(value)
	return nil
}

// list prints rows as a JSON array or as a table of what cells returns for each.
func list[T any](o outputFlag, w io.Writer, rows []T, header []string, cells func(T) []string) error {
	if o == "json" {
		if rows == nil {
			rows = []T{}
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(rows)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.ToUpper(strings.Join(header, "\t")))
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(cells(row), "\t"))
	}
	return table.Flush()
}
