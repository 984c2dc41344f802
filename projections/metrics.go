package projections

import (
	"time"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// workerMetrics are what a worker counts itself.
type workerMetrics struct{ events, seconds *telemetry.Histogram }

func (o Options) viewLabel() telemetry.Label {
	label := telemetry.Label{Name: "view"}
	for _, p := range o.Projections {
		label.Values = append(label.Values, p.Name)
	}
	return label
}

// measure shows the status as metrics.
func (w *worker) measure() {
	metrics, name := w.options.Metrics, w.projection.Name
	view := telemetry.At{Name: "view", Value: name}
	sample := func(name, help string, of func(Status) float64) {
		metrics.Sample(name, help, func() float64 { return of(w.currentStatus()) }, view)
	}
	sample("hub_view_leads", "1 in the process that keeps the view; the other metrics of views are of that one.", func(s Status) float64 { return flag(s.Leads) })
	sample("hub_view_position", "Position up to which the view has the log.", func(s Status) float64 { return float64(s.Position) })
	sample("hub_view_lag_positions", "Events that the view lacks.", func(s Status) float64 { return float64(s.Positions) })
	sample("hub_view_lag_seconds", "Age of the first event that the view lacks.", func(s Status) float64 { return s.Seconds })
	sample("hub_view_stopped", "1 while the view cannot go on.", func(s Status) float64 { return flag(s.Err != "") })
	sample("hub_view_parked", "Streams that the view has set aside because it cannot apply an event of theirs.", func(s Status) float64 { return float64(s.Parked) })
	w.metrics = workerMetrics{
		events:  metrics.Histograms("hub_view_batch_events", "Events in a batch of a view.", telemetry.Counts(), w.options.viewLabel()).With(name),
		seconds: metrics.Histograms("hub_view_batch_seconds", "Time to fold and commit a batch of a view.", telemetry.Seconds(), w.options.viewLabel()).With(name),
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// jobMetrics are what a runner counts.
type jobMetrics struct {
	jobs                          *telemetry.Counters
	done, differences, verifiedAt *telemetry.Gauges
}

func (o Options) jobMetrics() jobMetrics {
	kinds := telemetry.Label{Name: "job", Values: []string{KindRebuild, KindVerify, KindRetry}}
	states := telemetry.Label{Name: "state", Values: []string{StateCompleted, StateFailed, StateCancelled}}
	return jobMetrics{
		jobs:        o.Metrics.Counters("hub_view_jobs_total", "Jobs of views that have ended in this process.", o.viewLabel(), kinds, states),
		done:        o.Metrics.Gauges("hub_view_job_done_ratio", "Share of the log that the latest job in this process has behind it.", o.viewLabel(), kinds),
		differences: o.Metrics.Gauges("hub_view_verify_differences", "Rows that the latest verify in this process found to differ from the log.", o.viewLabel()),
		verifiedAt:  o.Metrics.Gauges("hub_view_verified_timestamp_seconds", "When that was, as Unix time.", o.viewLabel()),
	}
}

// progressed notes how far a job is.
func (m jobMetrics) progressed(j Job, done, total int64) {
	if total > 0 {
		m.done.With(j.View, j.Kind).Set(float64(done) / float64(total))
	}
}

// ended notes the outcome of a job.
func (m jobMetrics) ended(j Job, o outcome) {
	m.jobs.With(j.View, j.Kind, o.state).Inc()
	if o.state == StateCompleted {
		m.done.With(j.View, j.Kind).Set(1)
	}
	if o.state == StateCompleted && j.Kind == KindVerify {
		m.differences.With(j.View).Set(float64(o.findings))
		m.verifiedAt.With(j.View).Set(float64(time.Now().Unix()))
	}
}
