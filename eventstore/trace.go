package eventstore

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// CauseOf says to which trace belongs what is done because of an event.
func CauseOf(e domain.Event) telemetry.Cause {
	return telemetry.Cause{Correlation: e.CorrelationID, Command: e.CommandID, At: e.RecordedAt}
}
