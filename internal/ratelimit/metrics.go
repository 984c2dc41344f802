package ratelimit

import "github.com/reactdjango-hub/backend/internal/telemetry"

// metrics are of one limiter; a process has one.
type metrics struct {
	// inRedis and here count requests by where they were counted.
	inRedis, here [2]*telemetry.Counter
	seconds       *telemetry.Histogram
	failures      *telemetry.Counter
}

// decisions are the values of the label, refused first.
var decisions = [2]string{"refused", "allowed"}

func (l *Limiter) measure(r *telemetry.Registry) {
	requests := r.Counters("hub_limiter_requests_total", "Requests by where they were counted, and by what was decided.",
		telemetry.Label{Name: "counted", Values: []string{"redis", "process"}}, telemetry.Label{Name: "decision", Values: decisions[:]})
	l.metrics = metrics{
		seconds:  r.Histogram("hub_limiter_redis_seconds", "Time of a round trip to Redis, or until it was given up.", telemetry.Seconds()),
		failures: r.Counter("hub_limiter_redis_failures_total", "Round trips to Redis that failed; it is left alone for some seconds then."),
	}
	for i, decision := range decisions {
		l.metrics.inRedis[i], l.metrics.here[i] = requests.With("redis", decision), requests.With("process", decision)
	}
	r.Sample("hub_limiter_redis_resting", "1 while requests are counted in each process because Redis failed.", func() float64 {
		if l.shared != nil && l.shared.resting() {
			return 1
		}
		return 0
	})
	r.Sample("hub_limiter_callers", "Callers that are counted in this process.", func() float64 { return float64(l.local.len()) })
	r.Sample("hub_limiter_callers_limit", "Callers that can be; others are let through uncounted.", func() float64 { return maxCallers })
}

// counted notes a decision, and returns it.
func counted(by [2]*telemetry.Counter, d Decision) Decision {
	if d.Allowed {
		by[1].Inc()
	} else {
		by[0].Inc()
	}
	return d
}
