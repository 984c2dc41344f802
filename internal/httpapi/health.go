package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	healthPath = basePath + "/health"
	livePath   = "/livez"
	readyPath  = "/readyz"

	// healthAge is how old a shown report may be: the contract lets dependencies be
	// probed every 5 s at most.
	healthAge = 5 * time.Second
	// unhealthyAge is the same while nothing works, short because somebody waits for
	// the end of it, as at start.
	unhealthyAge = 250 * time.Millisecond
	// healthTimeout bounds one round of probing; a dependency that needs longer does
	// not serve anybody either.
	healthTimeout = 3 * time.Second
)

// The states in a Health.
const (
	Healthy   = "healthy"
	Degraded  = "degraded"
	Unhealthy = "unhealthy"
)

// Health is the report at /api/health/.
type Health struct {
	Status    string    `json:"status" enum:"healthy,degraded,unhealthy" doc:"degraded: it serves, without something it can live without."`
	Service   string    `json:"service" example:"backend"`
	Version   string    `json:"version" example:"1.0.0"`
	Timestamp time.Time `json:"timestamp" doc:"When the dependencies were probed."`
	Epoch     string    `json:"epoch" doc:"The log that positions belong to; empty when it cannot be read."`
	Database  string    `json:"database" doc:"connected, or what is wrong." example:"connected"`
	Features  []string  `json:"features"`
	// Components has an entry for each dependency and part, by name.
	Components map[string]Component `json:"components"`
}

// Component is one dependency or part in a Health.
type Component struct {
	Status string `json:"status" enum:"healthy,degraded,unhealthy,unused" doc:"unused: not configured."`
	Detail string `json:"detail,omitempty" doc:"What is wrong, or how far it is behind."`
}

// healthCache shows one report to everybody until it is too old.
type healthCache struct {
	probe func(context.Context) Health

	mutex sync.Mutex
	last  Health
}

// report probes at most once per healthAge, whoever asks and however often.
func (h *healthCache) report(ctx context.Context) Health {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	age := healthAge
	if h.last.Status == Unhealthy {
		age = unhealthyAge
	}
	if time.Since(h.last.Timestamp) < age {
		return h.last
	}
	// The report is for everybody, so it does not end with the one who asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()
	h.last = h.probe(ctx)
	h.last.Service, h.last.Timestamp = "backend", time.Now().UTC()
	if h.last.Features == nil {
		h.last.Features = []string{}
	}
	if h.last.Components == nil {
		h.last.Components = map[string]Component{}
	}
	return h.last
}

type healthOutput struct {
	Status int
	Body   Health
}

func (a *API) getHealth(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	report := a.health.report(ctx)
	if report.Version == "" {
		report.Version = a.version
	}
	if report.Status == Unhealthy {
		return &healthOutput{Status: http.StatusServiceUnavailable, Body: report}, nil
	}
	return &healthOutput{Status: http.StatusOK, Body: report}, nil
}

// Probe is the answer of /livez and /readyz.
type Probe struct {
	Status string `json:"status" example:"ok"`
}

type probeOutput struct{ Body Probe }

func (a *API) isLive(context.Context, *struct{}) (*probeOutput, error) {
	return &probeOutput{Body: Probe{Status: "ok"}}, nil
}

// isReady says only that it is not ready: the reason can name hosts and goes to
// the log.
func (a *API) isReady(ctx context.Context, _ *struct{}) (*probeOutput, error) {
	if err := a.ready(); err != nil {
		a.log.WarnContext(ctx, "not ready", "error", err)
		return nil, problem.New(problem.Unavailable, "not_ready", "This process cannot serve now.")
	}
	return &probeOutput{Body: Probe{Status: "ok"}}, nil
}
