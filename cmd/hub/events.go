package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

// tailInterval is how often tail looks for new events.
const tailInterval = 250 * time.Millisecond

// eventFilter is what replay and tail print of the log.
type eventFilter struct {
	org   string
	types []string
}

func (f eventFilter) wants(e domain.Event) bool {
	return (f.org == "" || f.org == e.Org) && (len(f.types) == 0 || slices.Contains(f.types, e.Type))
}

func (f *eventFilter) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.org, "org", "", "only this organisation")
	cmd.Flags().StringSliceVar(&f.types, "type", nil, "only this type, as entity.created; may be repeated")
}

func newEvents() *cobra.Command {
	cmd := &cobra.Command{
		Use: "events", Short: "Read the event log", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("name tail or replay") },
	}
	cmd.AddCommand(newEventsReplay(), newEventsTail())
	return cmd
}

func newEventsReplay() *cobra.Command {
	var filter eventFilter
	var after, until int64
	cmd := &cobra.Command{Use: "replay", Short: "Print the log from a position to its end", Args: cobra.NoArgs}
	output := addOutput(cmd)
	filter.add(cmd)
	cmd.Flags().Int64Var(&after, "after", 0, "start after this position")
	cmd.Flags().Int64Var(&until, "until", 0, "stop after this position; 0 is the end of the log")
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withLog(cmd.Context(), func(store *eventstore.Store) error {
			if until == 0 {
				var err error
				if until, _, err = store.Head(cmd.Context()); err != nil {
					return err
				}
			}
			printer := newEventPrinter(cmd.OutOrStdout(), *output == "json", true)
			for after < until {
				next, err := printAfter(cmd.Context(), store, after, until, filter, printer)
				if err != nil {
					return err
				}
				if next == after {
					break // the log is shorter than asked for
				}
				after = next
			}
			return printer.end()
		})
	})
	return cmd
}

func newEventsTail() *cobra.Command {
	var filter eventFilter
	after := int64(-1)
	cmd := &cobra.Command{
		Use: "tail", Short: "Print events as they are appended, until interrupted", Args: cobra.NoArgs,
		Long: "Prints events as they are appended. With --output json each is an object on a line of its own.",
	}
	output := addOutput(cmd)
	filter.add(cmd)
	cmd.Flags().Int64Var(&after, "after", -1, "start after this position; -1 is the end of the log")
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withLog(cmd.Context(), func(store *eventstore.Store) error {
			return tail(cmd.Context(), store, after, filter, newEventPrinter(cmd.OutOrStdout(), *output == "json", false))
		})
	})
	return cmd
}

func tail(ctx context.Context, store *eventstore.Store, after int64, filter eventFilter, printer *eventPrinter) error {
	if after < 0 {
		var err error
		if after, _, err = store.Head(ctx); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(tailInterval)
	defer ticker.Stop()
	for {
		next, err := printAfter(ctx, store, after, 0, filter, printer)
		if ctx.Err() != nil {
			return nil // interrupted, which is how a tail ends
		}
		if err != nil {
			return err
		}
		if next > after {
			after = next
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// printAfter prints one batch and returns the position it came to; until 0 is no end.
func printAfter(ctx context.Context, store *eventstore.Store, after, until int64, filter eventFilter, p *eventPrinter) (int64, error) {
	entries, err := store.ReadLog(ctx, after, eventstore.MaxReadLimit)
	if err != nil {
		return after, err
	}
	for _, entry := range entries {
		if until > 0 && entry.Position > until {
			return until, nil
		}
		after = entry.Position
		if filter.wants(entry.Event) {
			if err := p.print(entry.Event); err != nil {
				return after, err
			}
		}
	}
	return after, nil
}

// withLog gives do the whole log, as the relay may read it.
func withLog(ctx context.Context, do func(*eventstore.Store) error) error {
	cfg, err := toolConfig()
	if err != nil {
		return err
	}
	pool, err := eventstore.OpenPool(ctx, cfg.DatabaseURL.Reveal(), eventstore.RoleRelay, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	return do(eventstore.New(pool))
}

// eventPrinter writes events as lines for people or as JSON: one array, or, for what
// has no end, an object a line.
type eventPrinter struct {
	w           io.Writer
	json, array bool
	printed     int
}

func newEventPrinter(w io.Writer, asJSON, array bool) *eventPrinter {
	return &eventPrinter{w: w, json: asJSON, array: array}
}

func (p *eventPrinter) print(e domain.Event) error {
	if !p.json {
		_, err := fmt.Fprintf(p.w, "%d\t%s\t%s\t%s\t%s/%d\t%s\t%s\n",
			e.Position, e.RecordedAt.Format(time.RFC3339Nano), e.Org, e.Type, e.Stream, e.Version, e.Actor.Sub, e.Data)
		return err
	}
	line, err := json.Marshal(printedEvent{
		Position: e.Position, OrgPosition: e.OrgPosition, Epoch: e.Epoch.String(), ID: e.ID.String(), Org: e.Org,
		Stream: e.Stream, Version: e.Version, Type: e.Type, SchemaVersion: e.SchemaVersion, Tags: e.Tags, Subjects: e.Subjects,
		Data: e.Data, Actor: e.Actor, OnBehalfOf: e.OnBehalfOf, Reason: e.Reason, RequestID: e.RequestID,
		CorrelationID: e.CorrelationID, CausationID: e.CausationID, CommandID: e.CommandID.String(),
		OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt, LeafHash: e.LeafHash,
	})
	if err != nil {
		return err
	}
	switch {
	case p.array && p.printed == 0:
		_, err = fmt.Fprintf(p.w, "[\n%s", line)
	case p.array:
		_, err = fmt.Fprintf(p.w, ",\n%s", line)
	default:
		_, err = fmt.Fprintf(p.w, "%s\n", line)
	}
	p.printed++
	return err
}

// end closes the array.
func (p *eventPrinter) end() error {
	var err error
	switch {
	case p.json && p.array && p.printed == 0:
		_, err = fmt.Fprintln(p.w, "[]")
	case p.json && p.array:
		_, err = fmt.Fprintln(p.w, "\n]")
	}
	return err
}

// printedEvent has the names of the contract, §4.
type printedEvent struct {
	Position      int64           `json:"position"`
	OrgPosition   int64           `json:"org_position"`
	Epoch         string          `json:"epoch"`
	ID            string          `json:"id"`
	Org           string          `json:"org"`
	Stream        domain.Tag      `json:"stream"`
	Version       int64           `json:"version"`
	Type          string          `json:"type"`
	SchemaVersion int             `json:"schema_version"`
	Tags          []domain.Tag    `json:"tags"`
	Subjects      []string        `json:"subjects"`
	Data          json.RawMessage `json:"data"`
	Actor         domain.Actor    `json:"actor"`
	OnBehalfOf    *domain.Actor   `json:"on_behalf_of,omitempty"`
	Reason        string          `json:"reason,omitempty"`
	RequestID     string          `json:"request_id,omitempty"`
	CorrelationID string          `json:"correlation_id,omitempty"`
	CausationID   string          `json:"causation_id,omitempty"`
	CommandID     string          `json:"command_id"`
	OccurredAt    time.Time       `json:"occurred_at"`
	RecordedAt    time.Time       `json:"recorded_at"`
	LeafHash      []byte          `json:"leaf_hash"`
}
