// Package access is the record of who has seen what of whom. Nothing is decided on it: its
// events are only found by their subjects, so that reading never gets into the way of
// writing.
package access

import "github.com/reactdjango-hub/backend/domain"

// Recorded says that sensitive values were shown in clear, before they were. The event's
// subjects are the persons, its actor is who saw them. Stream access:<id>, one for each.
type Recorded struct {
	// Route is what was asked for, as "GET /api/v1/entities/{id}".
	Route string `json:"route"`
	// Attributes are the names of what was shown, of any of the subjects.
	Attributes []string `json:"attributes"`
}

// EventType names the event.
func (Recorded) EventType() string { return "access.recorded" }

// Kinds are the events of this area.
func Kinds() []domain.EventKind { return []domain.EventKind{domain.Kind[Recorded]()} }
