// Package access is the record of who has seen what of whom. Nothing is decided on it: its
// events are only found by their subjects, so that reading never gets into the way of
// writing.
package access

import "github.com/reactdjango-hub/backend/domain"

// Recorded says that something was shown, before it was: sensitive values in clear, or
// entities of a type that has every read recorded. The event's subjects are the entities, its
// actor is who saw them. Stream access:<id>, one for each.
type Recorded struct {
	// Route is what was asked for, as "GET /api/v1/entities/{id}".
	Route string `json:"route"`
	// Attributes are the names of the sensitive values that were shown in clear, of any of the
	// subjects; none where only what is not sensitive was shown.
	Attributes []string `json:"attributes"`
	// Reasons says that it was shown why something was done with the subjects.
	Reasons bool `json:"reasons,omitempty"`
}

// EventType names the event.
func (Recorded) EventType() string { return "access.recorded" }

// Kinds are the events of this area.
func Kinds() []domain.EventKind { return []domain.EventKind{domain.Kind[Recorded]()} }
