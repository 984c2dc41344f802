package domain

import (
	"time"

	"github.com/google/uuid"
)

// Actor is who caused an event: the login (Sub) and the human behind it (Person,
// the same as Sub for a service).
type Actor struct {
	Sub    string `json:"sub"`
	Person string `json:"person"`
}

// Payload is the typed content of an event. Implementations are plain structs
// with JSON tags, named by hand: EventType is the stored name, as "entity.created".
type Payload interface{ EventType() string }

// Fact is what a decider says happened, before it has a place in the log, and
// what a fold reads back. It carries nothing that differs between the two, so
// that a decision and its replay cannot disagree.
type Fact struct {
	// ID is the event's; zero while a decider decides, who does not make ids.
	ID uuid.UUID
	// Stream is the one sequence of events this belongs to and is versioned in.
	Stream Tag
	// Tags are the further boundaries this event moves; the stream is implied.
	Tags []Tag
	// Subjects are the ids of the persons this is about, each one once. The command names
	// them among its boundaries (SubjectTag): why it was given is sealed for them.
	Subjects []string
	// Reason is why this was done, where it is another than why the command was given.
	Reason  *string
	Payload Payload
}

// Event is one row of the log, with Data as the exact bytes stored. Contract: §4.
type Event struct {
	Position      int64
	OrgPosition   int64
	Epoch         uuid.UUID
	ID            uuid.UUID
	Org           string
	Stream        Tag
	Version       int64
	Type          string
	SchemaVersion int
	Tags          []Tag
	Subjects      []string
	Data          []byte
	Actor         Actor
	// OnBehalfOf is nil unless a service acted for somebody.
	OnBehalfOf    *Actor
	Reason        string
	RequestID     string
	CorrelationID string
	CausationID   string
	CommandID     uuid.UUID
	OccurredAt    time.Time
	RecordedAt    time.Time
	// LeafHash is SHA-256(0x00 ‖ leaf), RFC 6962; docs/leaf.md gives the leaf.
	LeafHash []byte
}
