package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/migrations"
	"github.com/reactdjango-hub/backend/projections"
	"github.com/reactdjango-hub/backend/reactions"
)

// reactorConnections are for the leases, places and parked events of reactions, and as
// many again for reading the log.
const reactorConnections = 3

func (s *system) startReactor(ctx, background context.Context, submit reactions.Submit, keys *keyring.Keyring) error {
	places, err := s.placesPool(ctx)
	if err != nil {
		return err
	}
	log, err := s.pool(ctx, "reactor", migrations.Log, s.cfg.DatabaseURL, eventstore.RoleProjector, reactorConnections)
	if err != nil {
		return err
	}
	feed, err := s.events()
	if err != nil {
		return err
	}
	s.store = eventstore.New(log)
	s.reactor = reactions.New(reactions.Options{
		Pool: places, Store: s.store, Codec: codec(), Feed: feed, Conn: s.nats, SeenKey: s.seenKey(), Submit: submit, Log: s.log, Metrics: s.metrics, Tracer: s.tracer,
		Erase: func(ctx context.Context, org, subject string) error {
			return keys.Erase(ctx, keyring.Ref{Org: org, Subject: subject}, nil)
		},
	})
	s.work(background, "reactor", s.reactor.Run)
	select { // before this process takes requests, whose tokens it is to be told of
	case <-s.reactor.Started():
	case <-ctx.Done():
	}
	return ctx.Err()
}

// seenKey seals what APIs tell reactors of members.
func (s *system) seenKey() []byte { return config.DeriveKey(s.secret, "members seen") }

// observer tells reactors whom the tokens speak for that this process verifies.
func (s *system) observer(background context.Context) func(identity.Caller) {
	observer := reactions.NewObserver(s.nats, s.seenKey(), s.log)
	s.work(background, "member observer", observer.Run)
	return func(c identity.Caller) {
		observer.Seen(reactions.SeenMember{Org: c.Org, Sub: c.Sub, Person: c.Person, Roles: c.Roles, Groups: c.Groups, IssuedAt: c.Issued, Name: c.Name, Email: c.Email})
	}
}

// placesPool is where reactions and their tools keep how far they are.
func (s *system) placesPool(ctx context.Context) (*pgxpool.Pool, error) {
	return s.pool(ctx, "reactions", migrations.Projections, s.cfg.ProjectionDatabaseURL, eventstore.RoleProjector, reactorConnections)
}

// reactionsHealth is of the reactions that this process does.
func (s *system) reactionsHealth(head int64) httpapi.Component {
	worst := httpapi.Component{Status: httpapi.Healthy}
	for _, r := range s.reactor.Status() {
		if !r.Leading {
			continue
		}
		fault := r.Err
		if fault == "" && r.Parked > 0 {
			fault = fmt.Sprintf("%d events are parked; hub reactions list shows them", r.Parked)
		}
		worst = worse(worst, lagging(head, r.Position, fault))
	}
	return worst
}

// needsLoop says whether this process gives commands.
func (s *system) needsLoop() bool { return s.runs(config.CommandAPI) || s.runs(config.Reactor) }

func (o *operations) listReactions(ctx context.Context) ([]httpapi.OperatedReaction, error) {
	listings, err := reactions.ListHashes(ctx, o.views)
	if err != nil {
		return nil, databaseAway(err)
	}
	head, _, err := o.store.Head(ctx)
	if err != nil {
		return nil, databaseAway(err)
	}
	found := make([]httpapi.OperatedReaction, len(listings))
	for i, l := range listings {
		lag, err := projections.LagOf(ctx, o.store, l.Position, head)
		if err != nil {
			return nil, databaseAway(err)
		}
		found[i] = httpapi.OperatedReaction{
			Name: l.Name, Position: l.Position, LagPositions: lag.Positions, LagSeconds: lag.Seconds, UpdatedAt: l.UpdatedAt,
			Parked: l.Parked, Items: make([]httpapi.ParkedEvent, len(l.Items)),
		}
		for j, p := range l.Items {
			found[i].Items[j] = httpapi.ParkedEvent{
				Position: p.Position, StreamHash: p.StreamHash, Type: p.Type, Reason: p.Reason, Attempts: p.Attempts, Retry: p.Retry, ParkedAt: p.ParkedAt,
			}
		}
	}
	return found, nil
}

func (o *operations) changeParked(ctx context.Context, asked httpapi.Asked, reaction, change string, position int64) (int64, bool, error) {
	return operate(ctx, o, asked, func(tx pgx.Tx) (int64, error) {
		do := reactions.Retry
		if change == "drop" {
			do = reactions.Drop
		}
		events, err := do(ctx, tx, reaction, position)
		if errors.Is(err, reactions.ErrUnknownReaction) {
			err = problem.New(problem.NotFound, "not_found", "There is no reaction of this name.")
		}
		return events, err
	})
}
