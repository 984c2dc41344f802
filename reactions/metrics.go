package reactions

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// metrics say what became of events.
type metrics struct {
	events  *telemetry.Counters
	seconds *telemetry.Histograms
	status  statusGauges
}

func newMetrics(registry *telemetry.Registry, reactions []Reaction) *metrics {
	names := []string{membersName, timersName}
	for _, r := range reactions {
		names = append(names, r.Name)
	}
	reaction := telemetry.Label{Name: "reaction", Values: names}
	return &metrics{
		events: registry.Counters("hub_reactions_events_total", "Events, and members seen, that reactions were done with or tried in vain.",
			reaction, telemetry.Label{Name: "outcome", Values: []string{"done", "waiting", "failed"}}),
		seconds: registry.Histograms("hub_reactions_seconds", "How long an event took, all attempts included.", telemetry.Seconds(), reaction),
		status:  newStatusGauges(registry, reaction),
	}
}

// count is a middleware inside the one that parks.
func (m *metrics) count(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		began := time.Now()
		messages, err := next(msg)
		name, outcome := message.HandlerNameFromCtx(msg.Context()), "done"
		switch {
		case err != nil && isAway(err):
			outcome = "waiting"
		case err != nil:
			outcome = "failed"
		}
		m.events.With(name, outcome).Inc()
		m.seconds.With(name).Observe(time.Since(began).Seconds())
		return messages, err
	}
}

// statusGauges show how far reactions are, and timers.
type statusGauges struct{ leads, position, parked, stopped *telemetry.Gauges }

func newStatusGauges(registry *telemetry.Registry, reaction telemetry.Label) statusGauges {
	return statusGauges{
		leads:    registry.Gauges("hub_reactions_leads", "1 in the process that does the reaction; the other metrics of it are of that one.", reaction),
		position: registry.Gauges("hub_reactions_position", "Position up to which the reaction is done with the log, 0 in a process that does not do it.", reaction),
		parked:   registry.Gauges("hub_reactions_parked", "Events of the reaction that are set aside because it cannot be done with them.", reaction),
		stopped:  registry.Gauges("hub_reactions_stopped", "1 while the reaction cannot go on.", reaction),
	}
}

// of are those of one reaction, as a function that shows its status. Timers have no
// position.
func (g statusGauges) of(name string) func(Status) {
	leads, parked, stopped := g.leads.With(name), g.parked.With(name), g.stopped.With(name)
	var position *telemetry.Gauge
	if name != timersName {
		position = g.position.With(name)
	}
	return func(s Status) {
		leads.Set(flag(s.Leading))
		position.Set(float64(s.Position))
		parked.Set(float64(s.Parked))
		stopped.Set(flag(s.Err != ""))
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// timerMetrics say how timers are.
type timerMetrics struct {
	done    *telemetry.Counters
	late    *telemetry.Histograms
	waiting *telemetry.Gauge
	overdue *telemetry.Gauge
}

func newTimerMetrics(registry *telemetry.Registry, kinds []string) *timerMetrics {
	timer := telemetry.Label{Name: "timer", Values: kinds}
	return &timerMetrics{
		done: registry.Counters("hub_timers_total", "Timers whose time had come, by what became of them.",
			timer, telemetry.Label{Name: "outcome", Values: []string{firedMark, refusedMark, parkedMark}}),
		late:    registry.Histograms("hub_timers_late_seconds", "How long after its time a timer was done with.", telemetry.Seconds(), timer),
		waiting: registry.Gauge("hub_timers_due", "Timers that were due when this process looked last, 100 at most."),
		overdue: registry.Gauge("hub_timers_overdue_seconds", "For how long the first of those had been due."),
	}
}

// looked notes what is due.
func (m *timerMetrics) looked(due []DueTimer, now time.Time) {
	m.waiting.Set(float64(len(due)))
	overdue := 0.0
	if len(due) > 0 {
		overdue = now.Sub(due[0].Due).Seconds()
	}
	m.overdue.Set(overdue)
}

// fired notes the end of a timer.
func (m *timerMetrics) fired(d DueTimer, outcome string, now time.Time) {
	m.done.With(d.Kind, outcome).Inc()
	m.late.With(d.Kind).Observe(now.Sub(d.Due).Seconds())
}

// jobMetrics say how jobs are.
type jobMetrics struct {
	seconds *telemetry.Histograms
	steps   *telemetry.Counters
	open    *telemetry.Gauge
}

func newJobMetrics(registry *telemetry.Registry, kinds []string) *jobMetrics {
	job := telemetry.Label{Name: "job", Values: kinds}
	return &jobMetrics{
		seconds: registry.Histograms("hub_jobs_step_seconds", "How long a step of a job took.", telemetry.Seconds(), job),
		steps: registry.Counters("hub_jobs_steps_total", "Steps of jobs that were done or tried in vain.",
			job, telemetry.Label{Name: "outcome", Values: []string{"done", "waiting", "failed"}}),
		open: registry.Gauge("hub_jobs_open", "Jobs that this process goes through, those that are only to be cleared included, 100 at most."),
	}
}
