package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/lease"
	"github.com/reactdjango-hub/backend/projections"
	"github.com/reactdjango-hub/backend/readmodels"
)

// catchingUpSeconds is from when on a view counts as behind and not just as busy.
const catchingUpSeconds = 1.0

// operations answers what is under /operations, in processes that answer queries. It
// acts as eventstore.RoleQuery, which sees nothing of these tables that names an
// organisation.
type operations struct {
	// views is where the views are written, which may not be where queries read.
	views *pgxpool.Pool
	log   *pgxpool.Pool
	store *eventstore.Store
	js    jetstream.JetStream
	// relayFault is what the relay of this process says, if it has one.
	relayFault func() string
}

// startOperations does not wait for the databases: queries go on without the log.
func (s *system) startOperations(ctx context.Context) (*httpapi.Operations, error) {
	views, err := s.openPool(ctx, "operations", s.cfg.ProjectionDatabaseURL, eventstore.RoleQuery, operationsConnections)
	if err != nil {
		return nil, err
	}
	log, err := s.openPool(ctx, "operations_log", s.cfg.DatabaseURL, eventstore.RoleQuery, operationsConnections)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(s.nats)
	if err != nil {
		return nil, fmt.Errorf("preparing JetStream for operations: %w", err)
	}
	o := &operations{views: views, log: log, store: eventstore.New(log), js: js, relayFault: func() string {
		if s.relay == nil {
			return ""
		}
		return s.relay.Status().Err
	}}
	return &httpapi.Operations{
		Views: o.listViews, Jobs: o.listJobs, Parked: o.listParked, Request: o.request, Cancel: o.cancel, Relay: o.relay,
		Reactions: o.listReactions, ChangeParked: o.changeParked,
	}, nil
}

func (o *operations) listViews(ctx context.Context) ([]httpapi.OperatedView, error) {
	views, err := projections.List(ctx, o.views)
	if err != nil {
		return nil, databaseAway(err)
	}
	jobs, err := projections.Jobs(ctx, o.views)
	if err != nil {
		return nil, databaseAway(err)
	}
	head, _, err := o.store.Head(ctx)
	if err != nil {
		return nil, databaseAway(err)
	}
	found := make([]httpapi.OperatedView, len(views))
	for i, v := range views {
		lag, err := projections.LagOf(ctx, o.store, v.Position, head)
		if err != nil {
			return nil, databaseAway(err)
		}
		found[i] = httpapi.OperatedView{
			Name: v.Name, Version: v.Version, Schema: v.Schema, State: stateOf(v, lag), Error: v.Err, Position: v.Position,
			LagPositions: lag.Positions, LagSeconds: lag.Seconds, UpdatedAt: v.UpdatedAt, Parked: v.Parked, Previous: v.Previous,
		}
		for _, j := range jobs {
			if j.View == v.Name && j.Active() {
				shown := shownJob(j)
				found[i].Job = &shown
			}
		}
	}
	return found, nil
}

func stateOf(v projections.Listing, lag projections.Lag) string {
	switch {
	case v.Err != "":
		return "stopped"
	case lag.Seconds > catchingUpSeconds:
		return "catching_up"
	}
	return "following"
}

func shownJob(j projections.Job) httpapi.ViewJob {
	return httpapi.ViewJob{
		ID: j.ID.String(), View: j.View, Kind: j.Kind, RequestedBy: j.RequestedBy, State: j.State, Done: j.Done, Total: j.Total,
		Rate: j.Rate, ETASeconds: j.ETASeconds, Error: j.Error, Findings: j.Findings,
		RequestedAt: j.RequestedAt, StartedAt: j.StartedAt, FinishedAt: j.FinishedAt,
	}
}

func (o *operations) listJobs(ctx context.Context) ([]httpapi.ViewJob, error) {
	jobs, err := projections.Jobs(ctx, o.views)
	if err != nil {
		return nil, databaseAway(err)
	}
	found := make([]httpapi.ViewJob, len(jobs))
	for i, j := range jobs {
		found[i] = shownJob(j)
	}
	return found, nil
}

func (o *operations) listParked(ctx context.Context) ([]httpapi.ParkedStream, error) {
	parked, err := projections.ListParkedHashes(ctx, o.views, readmodels.MaxLimit+1)
	if err != nil {
		return nil, databaseAway(err)
	}
	found := make([]httpapi.ParkedStream, len(parked))
	for i, p := range parked {
		found[i] = httpapi.ParkedStream{
			View: p.View, StreamHash: p.StreamHash, FirstPosition: p.FirstPosition, LastPosition: p.LastPosition,
			Events: p.Events, Reason: p.Reason, ParkedAt: p.ParkedAt,
		}
	}
	return found, nil
}

func (o *operations) request(ctx context.Context, asked httpapi.Asked, view, kind string) (httpapi.ViewJob, bool, error) {
	return operate(ctx, o, asked, func(tx pgx.Tx) (httpapi.ViewJob, error) {
		j, isNew, err := projections.Request(ctx, tx, view, kind)
		switch {
		case errors.Is(err, projections.ErrUnknownView):
			return httpapi.ViewJob{}, noSuchView()
		case errors.Is(err, projections.ErrBusy):
			return httpapi.ViewJob{}, problem.New(problem.Conflict, "job_running", "A %s is under way for this view. Wait for it, or cancel it.", j.Kind)
		case err == nil && isNew && asked.DryRun:
			j.ID = uuid.Nil // nobody is to take it for that of a job
		}
		return shownJob(j), err
	})
}

func (o *operations) cancel(ctx context.Context, asked httpapi.Asked, view string) (httpapi.ViewJob, bool, error) {
	return operate(ctx, o, asked, func(tx pgx.Tx) (httpapi.ViewJob, error) {
		jobs, err := projections.Jobs(ctx, tx)
		if err != nil {
			return httpapi.ViewJob{}, err
		}
		for _, j := range jobs {
			if j.View == view && j.Active() {
				_, err := projections.Cancel(ctx, tx, view)
				return shownJob(j), err
			}
		}
		return httpapi.ViewJob{}, problem.New(problem.NotFound, "not_found", "No job is under way for this view.")
	})
}

// operate does an operation, and keeps what it answers, a refusal too, with what it did.
func operate[T any](ctx context.Context, o *operations, asked httpapi.Asked, do func(pgx.Tx) (T, error)) (found T, replayed bool, err error) {
	answer, err := projections.Operate(ctx, o.views, projections.Asked(asked), func(tx pgx.Tx) (answer projections.Answer, err error) {
		found, err := do(tx)
		if refused := problem.Of(err); commands.Kept(refused) {
			answer.Refusal, err = commands.EncodeRefusal(refused)
			return answer, err
		}
		if err == nil {
			answer.Answer, err = json.Marshal(found)
		}
		return answer, err
	})
	switch {
	case errors.Is(err, projections.ErrKeyReused):
		return found, false, problem.New(problem.Invalid, "idempotency_key_reused", "This Idempotency-Key was used for a different request. Use a new key for each request.")
	case errors.Is(err, projections.ErrUnknownOutcome):
		unknown := problem.New(problem.OutcomeUnknown, "outcome_unknown", "It may or may not have been done. Send it again with the same Idempotency-Key to learn which.")
		return found, false, fmt.Errorf("%w (%w)", unknown, err)
	case err != nil:
		return found, false, databaseAway(err)
	case answer.Refusal != nil:
		refused, err := commands.DecodeRefusal(answer.Refusal)
		if err != nil {
			return found, false, err
		}
		return found, answer.Replayed, refused
	}
	if err := json.Unmarshal(answer.Answer, &found); err != nil {
		return found, false, fmt.Errorf("reading the answer to an operation: %w", err)
	}
	return found, answer.Replayed, nil
}

// relay sees the relay by what it does, because it may be in another process.
func (o *operations) relay(ctx context.Context) (httpapi.RelayState, error) {
	head, _, err := o.store.Head(ctx)
	if err != nil {
		return httpapi.RelayState{}, databaseAway(err)
	}
	state := httpapi.RelayState{Head: head, Error: o.relayFault()}
	if state.Leader, err = lease.Held(ctx, o.log, lease.LogTable, relayLease); err != nil {
		return httpapi.RelayState{}, databaseAway(err)
	}
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	stream, err := o.js.Stream(ctx, relay.StreamName)
	if err != nil {
		state.Error = "JetStream does not answer, or the stream is not there"
		return state, nil
	}
	info := stream.CachedInfo().State
	state.First, state.Published = int64(info.FirstSeq), int64(info.LastSeq) //nolint:gosec // positions are int64
	lag, err := projections.LagOf(ctx, o.store, state.Published, head)
	if err != nil {
		return httpapi.RelayState{}, databaseAway(err)
	}
	state.LagPositions, state.LagSeconds = lag.Positions, lag.Seconds
	return state, nil
}

const (
	// operationsConnections is for somebody who looks now and then.
	operationsConnections = 2
	// relayLease is the name of the lease of whoever copies the log.
	relayLease = "relay"
	// relayTimeout bounds how long NATS may take to say how far the stream is.
	relayTimeout = 2 * time.Second
)

func noSuchView() error {
	return problem.New(problem.NotFound, "not_found", "There is no view of this name.")
}

// databaseAway keeps the cause for the log.
func databaseAway(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	away := problem.New(problem.Unavailable, "views_unavailable", "A database that this needs does not answer. Try again in a moment.").Retry(time.Second)
	return fmt.Errorf("%w (%w)", away, cause)
}
