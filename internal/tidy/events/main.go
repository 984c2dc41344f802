// Command events writes the catalogue of events, docs/events, from the payload
// types and golden files in domain/.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/reactdjango-hub/backend/internal/tidy/events/catalogue"
)

const folder = "docs/events"

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
}

func write() error {
	pages, err := catalogue.Pages("domain")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // documents for everybody
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil { //nolint:gosec // documents for everybody
			return err
		}
	}
	return nil
}
