package main

import (
	"context"
	"time"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// lastSpansTimeout bounds how long a process that stops sends what is left of traces.
const lastSpansTimeout = 3 * time.Second

// newTracer is nil where traces are sent nowhere.
func (s *system) newTracer() *telemetry.Tracer {
	roles := make([]string, len(s.roles))
	for i, role := range s.roles {
		roles[i] = string(role)
	}
	return telemetry.NewTracer(telemetry.TracerOptions{
		Endpoint: s.cfg.OTLPEndpoint, Headers: s.cfg.OTLPHeaders(), RootCAs: []byte(s.cfg.OTLPCertificate.Reveal()), Ratio: s.cfg.TraceRatio,
		Service: s.cfg.ServiceName, Version: version, Roles: roles, Log: s.log, Metrics: s.metrics,
	})
}

// closeTracer sends the last spans. Should the receiver be away, nobody waits long for it.
func (s *system) closeTracer() {
	ctx, cancel := context.WithTimeout(context.Background(), lastSpansTimeout)
	defer cancel()
	if err := s.tracer.Close(ctx); err != nil {
		s.log.Warn("the last spans of traces were not sent", "error", err)
	}
}
