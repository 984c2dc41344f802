package relay

import (
	"errors"
	"time"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// Status is how far the relay is, for health, operators and metrics.
type Status struct {
	// Leading says that this relay works; the others wait for its lease.
	Leading bool `json:"leading"`
	// Published is the position up to which the stream is known to have the log;
	// Head the last position that the relay saw in the log; Epoch the log's.
	Published int64  `json:"published"`
	Head      int64  `json:"head"`
	Epoch     string `json:"epoch,omitempty"`
	// RecordedAt is when the event at Published was recorded; zero when this relay has
	// published nothing yet.
	RecordedAt time.Time `json:"published_recorded_at,omitzero"`
	// Err says in a sentence for operators, without addresses or secrets, why
	// nothing is published; empty when all is well. Since is when that began.
	Err   string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// What happened since the process began: streams filled up again, streams made
	// again, answers that another relay was faster, losses of the log's end that were
	// appended again, and that began a new epoch.
	Refills   int64 `json:"refills"`
	Recreated int64 `json:"recreated"`
	Overtaken int64 `json:"overtaken"`
	Restored  int64 `json:"restored"`
	Forks     int64 `json:"forks"`
}

// LagSeconds is the age of the last event that is published, 0 when all are.
func (s Status) LagSeconds() float64 {
	if s.Published >= s.Head || s.RecordedAt.IsZero() {
		return 0
	}
	return max(0, time.Since(s.RecordedAt).Seconds())
}

// metrics are what is counted beside the status.
type metrics struct {
	published *telemetry.Counter
	delay     *telemetry.Histogram
}

func newMetrics(registry *telemetry.Registry, r *Relay) metrics {
	sample := func(name, help string, read func(Status) float64) {
		registry.Sample(name, help, func() float64 { return read(r.Status()) })
	}
	flag := func(set bool) float64 {
		if set {
			return 1
		}
		return 0
	}
	sample("hub_relay_head_position", "Last position that the relay saw in the log.", func(s Status) float64 { return float64(s.Head) })
	sample("hub_relay_published_position", "Position up to which JetStream has the log.", func(s Status) float64 { return float64(s.Published) })
	sample("hub_relay_lag_positions", "Positions that JetStream does not have yet.", func(s Status) float64 { return float64(max(0, s.Head-s.Published)) })
	sample("hub_relay_lag_seconds", "Age of the last event that is published, 0 when all are.", Status.LagSeconds)
	sample("hub_relay_stopped", "1 while the relay cannot publish.", func(s Status) float64 { return flag(s.Err != "") })
	sample("hub_relay_leading", "1 while this relay has the lease.", func(s Status) float64 { return flag(s.Leading) })
	sample("hub_relay_refills", "Streams that had lost their end and were filled up.", func(s Status) float64 { return float64(s.Refills) })
	sample("hub_relay_recreated", "Streams that were made again.", func(s Status) float64 { return float64(s.Recreated) })
	sample("hub_relay_overtaken", "Messages refused because the stream had another last sequence.", func(s Status) float64 { return float64(s.Overtaken) })
	sample("hub_relay_restored", "Losses of the log's end that were appended again.", func(s Status) float64 { return float64(s.Restored) })
	sample("hub_relay_forks", "Epochs begun because the log had lost its end.", func(s Status) float64 { return float64(s.Forks) })
	return metrics{
		published: registry.Counter("hub_relay_published_total", "Events that this relay got stored in JetStream."),
		delay:     registry.Histogram("hub_relay_delay_seconds", "From the recording of an event to its acknowledgement by JetStream, of those for which one is asked.", telemetry.Seconds()),
	}
}

// Status is safe to call from anywhere.
func (r *Relay) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// update changes the status and tells those who wait for it.
func (r *Relay) update(change func(*Status)) {
	r.mu.Lock()
	change(&r.status)
	status := r.status
	r.mu.Unlock()
	r.changed(status)
}

func (r *Relay) sawHead(head int64) {
	r.update(func(s *Status) { s.Head = head })
}

func (r *Relay) sawPublished(p pending) {
	r.acknowledged += int64(p.messages)
	r.metrics.published.Add(float64(p.messages))
	r.metrics.delay.Observe(max(0, time.Since(p.recorded).Seconds()))
	r.update(func(s *Status) { s.Published, s.RecordedAt = p.position, p.recorded })
}

func (r *Relay) recovered(published int64) {
	previous := r.Status().Err
	if previous != "" {
		r.options.Log.Info("relay: publishing again", "position", published)
	}
	r.update(func(s *Status) {
		if published < s.Published {
			s.Refills++
		}
		s.Published, s.Err = published, ""
		if previous != "" || s.Since.IsZero() {
			s.Since = time.Now()
		}
	})
}

// failed shows a failure, unless it only means to look at the stream again.
func (r *Relay) failed(err error) {
	var f *failure
	switch {
	case errors.Is(err, errOvertaken):
		r.update(func(s *Status) { s.Overtaken++ })
		return
	case errors.Is(err, errSettled):
		return
	case !errors.As(err, &f):
		f = &failure{says: "the relay failed", cause: err}
	}
	previous := r.Status().Err
	if previous == f.says {
		return
	}
	r.options.Log.Warn("relay: not publishing", "reason", f.says, "error", err)
	r.update(func(s *Status) {
		s.Err = f.says
		if previous == "" {
			s.Since = time.Now()
		}
	})
}

// failure is an error with a sentence for Status. The cause may hold addresses and
// is for the log only.
type failure struct {
	says  string
	cause error
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.says
	}
	return f.says + ": " + f.cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }
