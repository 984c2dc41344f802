package projections

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// trace puts a batch that has been applied into the trace of each command that it has
// events of which the view is made of.
func (w *worker) trace(ctx context.Context, events []domain.Event, schema string, began time.Time) {
	if w.options.Tracer == nil {
		return
	}
	ended := time.Now()
	var last uuid.UUID // the events of a command follow one another
	for _, e := range events {
		if e.CommandID == last || !slices.Contains(w.projection.Types, e.Type) {
			continue
		}
		last = e.CommandID
		_, span := w.options.Tracer.FollowFrom(ctx, eventstore.CauseOf(e), telemetry.Consumer, "project "+w.projection.Name, began)
		span.Text("hub.schema", schema)
		span.Number("hub.position", e.Position)
		span.Number("hub.batch.events", int64(len(events)))
		span.EndAt(ended)
	}
}
