package identity

import (
	"time"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// sourceMetrics are of the keys of the issuer, and of the tokens that are verified by them.
type sourceMetrics struct {
	fetched, failed                        *telemetry.Counter
	seconds                                *telemetry.Histogram
	known, verified, refused, undetermined *telemetry.Counter
}

// measure makes the metrics of a source; one process has one.
func (s *keySource) measure(r *telemetry.Registry) {
	fetches := r.Counters("hub_identity_fetches_total", "Times that the issuer was asked for its keys.",
		telemetry.Label{Name: "result", Values: []string{"good", "failed"}})
	tokens := r.Counters("hub_identity_tokens_total", "Tokens by what was found: known from lately, verified, refused, or undetermined for want of keys.",
		telemetry.Label{Name: "result", Values: []string{"known", "verified", "refused", "undetermined"}})
	s.metrics = sourceMetrics{
		fetched: fetches.With("good"), failed: fetches.With("failed"),
		seconds: r.Histogram("hub_identity_fetch_seconds", "Time that the issuer took to give its keys, or to fail.", telemetry.Seconds()),
		known:   tokens.With("known"), verified: tokens.With("verified"), refused: tokens.With("refused"), undetermined: tokens.With("undetermined"),
	}
	r.Sample("hub_identity_keys_age_seconds", "Age of the issuer's last good answer; -1 before the first. Its keys are used for a day.", func() float64 {
		set := s.current.Load()
		if set == nil {
			return -1
		}
		return s.now().Sub(set.loadedAt).Seconds()
	})
	r.Sample("hub_identity_waiting_requests", "Requests that wait for the issuer.", func() float64 { return float64(s.waiting.Load()) })
	r.Sample("hub_identity_waiting_limit_requests", "Requests that may wait so; more are refused.", func() float64 { return maxWaiting })
}

// took counts one fetch.
func (m *sourceMetrics) took(since time.Duration, err error) {
	m.seconds.Observe(since.Seconds())
	if err != nil {
		m.failed.Inc()
		return
	}
	m.fetched.Inc()
}
