package commands

import (
	"errors"
	"slices"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// What became of a command, beside the refusals, which are named by their kind.
const (
	wasAccepted  = "accepted"
	wasUnchanged = "unchanged"
	wasReplayed  = "replayed"
	wasDryRun    = "dry_run"
	// wasAbandoned: the caller went away before there was an answer.
	wasAbandoned   = "abandoned"
	wasOverloaded  = "overloaded"
	wasUnavailable = "unavailable"
	wasUnknown     = "unknown"
	wasFailed      = "failed"
)

// loopMetrics are what a loop tells about itself.
type loopMetrics struct {
	outcomes map[string]*telemetry.Counter
	// turn counts the commands of turns; waited is a command's time in the queue.
	turn, waited *telemetry.Histogram
	// The phases of a turn. locked is all of a second attempt.
	load, decide, append, locked  phase
	secondAttempts, resubmissions *telemetry.Counter
	cacheHits, cacheMisses        *telemetry.Counter
	cacheBytes                    *telemetry.Gauge
	// events are those that turns have appended.
	events *telemetry.Counter
}

func newLoopMetrics(r *telemetry.Registry, queue chan *call) *loopMetrics {
	outcomes := []string{
		wasAccepted, wasUnchanged, wasReplayed, wasDryRun, wasAbandoned,
		wasOverloaded, wasUnavailable, wasUnknown, wasFailed,
	}
	for _, name := range keptKinds {
		outcomes = append(outcomes, name)
	}
	counters := r.Counters("hub_loop_commands_total", "Commands by what became of them; refusals by their kind.", telemetry.Label{Name: "outcome", Values: outcomes})
	phases := r.Histograms("hub_loop_turn_seconds", "Time that turns took, by phase; locked is a whole second attempt.", telemetry.Seconds(),
		telemetry.Label{Name: "phase", Values: []string{"load", "decide", "append", "locked"}})
	reads := r.Counters("hub_loop_cache_reads_total", "Boundaries that commands named first in a turn, by whether their state was cached.",
		telemetry.Label{Name: "result", Values: []string{"hit", "miss"}})
	r.Sample("hub_loop_queued_commands", "Commands that wait for a turn.", func() float64 { return float64(len(queue)) })
	r.Sample("hub_loop_queue_limit_commands", "Commands that may wait; more are refused.", func() float64 { return maxQueued })
	m := &loopMetrics{
		outcomes:       make(map[string]*telemetry.Counter, len(outcomes)),
		turn:           r.Histogram("hub_loop_turn_commands", "Commands that were decided in one turn.", telemetry.Counts()),
		waited:         r.Histogram("hub_loop_wait_seconds", "Time that commands waited for their turn.", telemetry.Seconds()),
		load:           phase{"load", phases.With("load")},
		decide:         phase{"decide", phases.With("decide")},
		append:         phase{"append", phases.With("append")},
		locked:         phase{"locked", phases.With("locked")},
		secondAttempts: r.Counter("hub_loop_second_attempts_total", "Turns that were decided again under the log's lock, because what they were decided on had moved or was answered before."),
		resubmissions:  r.Counter("hub_loop_resubmissions_total", "Times that a turn whose outcome was unknown was asked for again."),
		events:         r.Counter("hub_loop_events_total", "Events that this process has appended to the log by commands."),
		cacheHits:      reads.With("hit"),
		cacheMisses:    reads.With("miss"),
		cacheBytes:     r.Gauge("hub_loop_cache_bytes", "Memory of the states that are kept between turns."),
	}
	for _, name := range outcomes {
		m.outcomes[name] = counters.With(name)
	}
	return m
}

// count takes in what a caller was answered, and ends the span of the command.
func (m *loopMetrics) count(c *call, r Receipt, err error) {
	outcome := outcomeOf(c.Submission, r, err)
	m.outcomes[outcome].Inc()
	c.span.Text("hub.command.outcome", outcome)
	if slices.Contains([]string{wasOverloaded, wasUnavailable, wasUnknown, wasFailed}, outcome) {
		c.span.Fail(outcome)
	}
	c.span.End()
}

// outcomeOf names what became of a command.
func outcomeOf(s Submission, r Receipt, err error) string {
	name := wasAccepted
	p := problem.Of(err)
	switch {
	case r.Replayed:
		name = wasReplayed
	case err == nil && s.DryRun:
		name = wasDryRun
	case err == nil && len(r.Events) == 0:
		name = wasUnchanged
	case err == nil:
	case errors.Is(err, errAbandoned):
		name = wasAbandoned
	case p == nil:
		name = wasFailed
	case p.Code == codeOverloaded:
		name = wasOverloaded
	case p.Kind == problem.OutcomeUnknown:
		name = wasUnknown
	case keptKinds[p.Kind] != "":
		name = keptKinds[p.Kind]
	default:
		name = wasUnavailable
	}
	return name
}

// again counts that a turn is tried again.
func (m *loopMetrics) again(unknown bool) {
	if unknown {
		m.resubmissions.Inc()
		return
	}
	m.secondAttempts.Inc()
}

// phase is a part of a turn.
type phase struct {
	name    string
	seconds *telemetry.Histogram
}

// lap measures phases of a turn that follow one another.
type lap struct {
	turn *turn
	from time.Time
}

// end also puts the phase into the trace of each command of the turn: who reads one
// trace wants to know where its time went, whoever else was in the turn.
func (l *lap) end(of phase) {
	now := time.Now()
	of.seconds.Observe(now.Sub(l.from).Seconds())
	for _, c := range l.turn.calls {
		if c.span.Recorded() {
			l.turn.loop.tracer.Past(c.within, of.name, l.from, now)
		}
	}
	l.from = now
}
