package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/migrations"
)

// addFilter offers what replay and tail can be restricted to.
func addFilter(cmd *cobra.Command) *subscription.Filter {
	var f subscription.Filter
	cmd.Flags().StringVar(&f.Org, "org", "", "only this organisation")
	cmd.Flags().StringSliceVar(&f.Types, "type", nil, "only this type, as entity.created; may be repeated")
	cmd.Flags().StringVar((*string)(&f.Tag), "tag", "", "only what bears this tag, as entity:0190…")
	return &f
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
	var after, until int64
	cmd := &cobra.Command{Use: "replay", Short: "Print the log from a position to its end", Args: cobra.NoArgs}
	output, filter := addOutput(cmd), addFilter(cmd)
	cmd.Flags().Int64Var(&after, "after", 0, "start after this position")
	cmd.Flags().Int64Var(&until, "until", 0, "stop after this position; 0 is the end of the log")
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withLog(cmd.Context(), *filter, func(_ config.Config, store *eventstore.Store) error {
			head, _, err := store.Head(cmd.Context())
			if err != nil {
				return err
			}
			if until == 0 || until > head {
				until = head
			}
			printer := newEventPrinter(cmd.OutOrStdout(), *output == "json", true)
			reader := subscription.NewReader(store, *filter)
			for at := (subscription.Place{Position: after}); at.Position < until; {
				batch, err := reader.Read(cmd.Context(), at, until)
				if err != nil {
					return err
				}
				if err := printer.all(batch.Events); err != nil {
					return err
				}
				at = batch.At
			}
			return printer.end()
		})
	})
	return cmd
}

func newEventsTail() *cobra.Command {
	after := int64(-1)
	cmd := &cobra.Command{
		Use: "tail", Short: "Print events as they are appended, until interrupted", Args: cobra.NoArgs,
		Long: "Prints events as they are appended: as NATS_URL brings them, and otherwise by\n" +
			"asking the log. With --output json each is an object on a line of its own.",
	}
	output, filter := addOutput(cmd), addFilter(cmd)
	cmd.Flags().Int64Var(&after, "after", -1, "start after this position; -1 is the end of the log")
	cmd.RunE = doing(func(cmd *cobra.Command, _ []string) error {
		return withLog(cmd.Context(), *filter, func(cfg config.Config, store *eventstore.Store) error {
			at := subscription.Place{Position: after}
			if after < 0 {
				var err error
				if at.Position, at.Epoch, err = store.Head(cmd.Context()); err != nil {
					return err
				}
			}
			options := subscription.Options{Store: store, Filter: *filter, Log: newLog(cfg, cfg.LogLevel)}
			if cfg.NATSURL != "" {
				conn, err := connectNATS(cfg, options.Log)
				if err != nil {
					return err
				}
				defer conn.Close()
				js, err := jetstream.New(conn)
				if err != nil {
					return fmt.Errorf("preparing JetStream: %w", err)
				}
				options.Feed = subscription.NewFeed(js)
			}
			return tail(cmd.Context(), options, at, newEventPrinter(cmd.OutOrStdout(), *output == "json", false))
		})
	})
	return cmd
}

// tail prints until it is interrupted, which is how a tail ends.
func tail(ctx context.Context, options subscription.Options, at subscription.Place, printer *eventPrinter) error {
	events := subscription.New(options)
	defer events.Close()
	for {
		batch, err := events.Next(ctx, at)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := printer.all(batch.Events); err != nil {
			return err
		}
		at = batch.At
	}
}

// withLog gives do the log as a role that may read what the filter asks for.
func withLog(ctx context.Context, filter subscription.Filter, do func(config.Config, *eventstore.Store) error) error {
	cfg, err := toolConfig()
	if err != nil {
		return err
	}
	role := eventstore.RoleRelay
	if filter.Org != "" {
		role = eventstore.RoleQuery
	}
	pool, err := eventstore.OpenPool(ctx, cfg.DatabaseURL.Reveal(), role, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Log.Check(ctx, pool); err != nil {
		return err
	}
	return do(cfg, eventstore.New(pool))
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

func (p *eventPrinter) all(events []domain.Event) error {
	for _, e := range events {
		if err := p.print(e); err != nil {
			return err
		}
	}
	return nil
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
