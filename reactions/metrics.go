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
}

func newMetrics(registry *telemetry.Registry, reactions []Reaction) *metrics {
	names := []string{membersName}
	for _, r := range reactions {
		names = append(names, r.Name)
	}
	reaction := telemetry.Label{Name: "reaction", Values: names}
	return &metrics{
		events: registry.Counters("hub_reactions_events_total", "Events, and members seen, that reactions were done with or tried in vain.",
			reaction, telemetry.Label{Name: "outcome", Values: []string{"done", "waiting", "failed"}}),
		seconds: registry.Histograms("hub_reactions_seconds", "How long an event took, all attempts included.", telemetry.Seconds(), reaction),
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
