package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/projections"
)

// maxHealthyLag is how many positions a copy or a view may be behind before health
// says so: about a second of work at the rates that were measured.
const maxHealthyLag = 5000

// identityPatience is what health waits for the issuer: most of its time is for the
// databases, and an issuer that hangs is told of as one that does not answer.
const identityPatience = time.Second

var errDraining = errors.New("this process is stopping")

// ready says whether to send requests here.
func (s *system) ready() error {
	if s.draining.Load() {
		return errDraining
	}
	return nil
}

// health probes what this process depends on. Without the log's database nothing
// can be served; the rest can be done without for a while.
func (s *system) health(ctx context.Context) httpapi.Health {
	h := httpapi.Health{
		Status: httpapi.Healthy, Service: "backend", Version: version, Timestamp: time.Now().UTC(),
		Database: "connected", Features: []string{"entities", "reactions", "transactions"},
		Components: map[string]httpapi.Component{
			"redis": s.redisHealth(ctx), "nats": s.natsHealth(), "identity": s.identityHealth(ctx),
		},
	}
	head, err := s.databaseHealth(ctx, &h)
	if err == nil && s.views != nil {
		err = s.projectionsHealth(ctx, &h, head)
	}
	if err != nil {
		s.log.Warn("health: a database does not answer", "error", err)
		h.Database = "unreachable"
		h.Components["database"] = httpapi.Component{Status: httpapi.Unhealthy, Detail: "a database that this process needs does not answer"}
	}
	if s.relay != nil {
		status := s.relay.Status()
		component := lagging(head, status.Published, status.Err)
		if !status.Leading && component.Status == httpapi.Healthy {
			component.Detail = "another relay works"
		}
		h.Components["relay"] = component
	}
	if s.reactor != nil {
		h.Components["reactions"] = s.reactionsHealth(head)
	}
	for _, c := range h.Components {
		h.Status = worse(httpapi.Component{Status: h.Status}, c).Status
	}
	return h
}

// databaseHealth probes those databases that the roles of this process use, and
// returns the head of the log when that is one of them.
func (s *system) databaseHealth(ctx context.Context, h *httpapi.Health) (head int64, err error) {
	h.Components["database"] = httpapi.Component{Status: httpapi.Healthy}
	if s.reads != nil {
		oldest, err := s.reads.Oldest(ctx)
		switch {
		case err != nil:
			return 0, err
		case oldest.Epoch != uuid.Nil:
			h.Epoch = oldest.Epoch.String()
		}
	}
	if s.store != nil {
		head, epoch, err := s.store.Head(ctx)
		if err != nil {
			return 0, err
		}
		h.Epoch = epoch.String()
		return head, nil
	}
	return 0, nil
}

// projectionsHealth tells of the views as the database has them, whoever keeps them, and
// of what only the projector of this process knows. head is 0 when it is not known.
func (s *system) projectionsHealth(ctx context.Context, h *httpapi.Health, head int64) error {
	views, err := projections.List(ctx, s.views)
	if err != nil {
		return err
	}
	found := httpapi.Component{Status: httpapi.Healthy}
	if len(views) == 0 && s.engine == nil {
		found = httpapi.Component{Status: httpapi.Degraded, Detail: "no projector has made the views yet"}
	}
	for _, view := range views {
		found = worse(found, worse(lagging(head, view.Position, view.Err), parked(view)))
	}
	if s.engine != nil {
		for _, own := range s.engine.Status() {
			found = worse(found, lagging(0, 0, own.Err))
		}
	}
	h.Components["projections"] = found
	return nil
}

// lagging is the health of what follows the log.
func lagging(head, position int64, fault string) httpapi.Component {
	switch behind := head - position; {
	case fault != "":
		return httpapi.Component{Status: httpapi.Degraded, Detail: fault}
	case behind > maxHealthyLag:
		return httpapi.Component{Status: httpapi.Degraded, Detail: fmt.Sprintf("%d positions behind the log", behind)}
	}
	return httpapi.Component{Status: httpapi.Healthy}
}

// parked is the health of a view some of whose streams wait.
func parked(view projections.Listing) httpapi.Component {
	if view.Parked == 0 {
		return httpapi.Component{Status: httpapi.Healthy}
	}
	return httpapi.Component{
		Status: httpapi.Degraded,
		Detail: fmt.Sprintf("view %s: %d streams are parked, as an event of theirs cannot be applied", view.Name, view.Parked),
	}
}

func (s *system) redisHealth(ctx context.Context) httpapi.Component {
	if s.limiter == nil {
		return httpapi.Component{Status: "unused"}
	}
	switch configured, err := s.limiter.Probe(ctx); {
	case !configured:
		return httpapi.Component{Status: "unused"}
	case err != nil:
		return httpapi.Component{Status: httpapi.Degraded, Detail: "does not answer; each process counts requests by itself"}
	}
	return httpapi.Component{Status: httpapi.Healthy}
}

func (s *system) natsHealth() httpapi.Component {
	if s.nats.Status() == nats.CONNECTED {
		return httpapi.Component{Status: httpapi.Healthy}
	}
	return httpapi.Component{Status: httpapi.Degraded, Detail: "not connected; views are fed from the log"}
}

func (s *system) identityHealth(ctx context.Context) httpapi.Component {
	if !s.runs(config.CommandAPI) && !s.runs(config.QueryAPI) {
		return httpapi.Component{Status: "unused"}
	}
	ctx, cancel := context.WithTimeout(ctx, identityPatience)
	defer cancel()
	err := s.verifier.Probe(ctx)
	switch {
	case err == nil:
		return httpapi.Component{Status: httpapi.Healthy}
	case errors.Is(err, identity.ErrDevelopmentIssuer):
		return httpapi.Component{Status: httpapi.Unhealthy, Detail: identity.ErrDevelopmentIssuer.Error()}
	case errors.Is(err, identity.ErrNoKeys):
		return httpapi.Component{Status: httpapi.Unhealthy, Detail: "there are no keys of the identity service, so no token can be verified"}
	default:
		return httpapi.Component{Status: httpapi.Degraded, Detail: "the identity service does not answer; its known keys are used"}
	}
}

// worse is the component in the worse state.
func worse(a, b httpapi.Component) httpapi.Component {
	rank := map[string]int{httpapi.Degraded: 1, httpapi.Unhealthy: 2}
	if rank[b.Status] > rank[a.Status] || a.Status == "" {
		return b
	}
	return a
}
