package keyring

import "github.com/reactdjango-hub/backend/internal/telemetry"

// metrics count for all keyrings of a process together.
type metrics struct {
	cached, loaded *telemetry.Counter
	seconds        *telemetry.Histogram
	failures       *telemetry.Counter
	held           *telemetry.Gauge
	evicted        *telemetry.Counter
}

func newMetrics(r *telemetry.Registry) metrics {
	found := r.Counters("hub_keys_total", "Keys of subjects that were asked for, by where they were looked for: in memory, or in the database.",
		telemetry.Label{Name: "in", Values: []string{"memory", "database"}})
	return metrics{
		cached: found.With("memory"), loaded: found.With("database"),
		seconds:  r.Histogram("hub_keys_load_seconds", "Time to load keys from the database and unwrap them.", telemetry.Seconds()),
		failures: r.Counter("hub_keys_failures_total", "Times that keys could not be loaded or unwrapped."),
		held:     r.Gauge("hub_keys_held", "Unwrapped keys in memory."),
		evicted:  r.Counter("hub_keys_evicted_total", "Unwrapped keys that had to go before their time, because there were too many."),
	}
}
