// Package domain holds what every business area shares and nothing that touches
// the world: no I/O, clock, randomness or globals. A command is decided on the
// folded state of its boundaries (decide: state, command, metadata → facts or a
// refusal) and facts fold into states (evolve: state, fact → state).
//
// Areas live in sub-packages and never import each other.
package domain

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// State is what the events of one boundary fold to. States are values: Evolve
// returns a new one and leaves its receiver as it was, because the loop keeps
// both until the log has accepted the fact. Evolve never fails; it ignores facts
// that say nothing about its boundary.
type State interface {
	Evolve(Fact) State
	// Size is the approximate memory held, in bytes; it bounds the loop's cache.
	Size() int
}

// Kept is a State whose boundaries may get long. It can be stored and taken up again, so
// that not all events are folded whenever a process meets the boundary: a cache, read
// only by the program that wrote it.
type Kept interface {
	State
	// Keep gives the whole state as bytes.
	Keep() ([]byte, error)
	// Restore gives the state of those bytes, whatever the receiver is.
	Restore([]byte) (State, error)
}

// Folds maps a kind of tag to the empty state of its boundaries.
type Folds map[string]State

// Reader gives a decider the boundaries it named. In Boundaries, one that is not
// loaded yet reads as empty; in Decide, reading one that was not named panics: such
// a decision would not be protected by the append.
type Reader interface {
	// State is the folded state, the kind's empty state when nothing happened yet.
	State(Tag) State
	// Version counts the events of the stream of this name, 0 when there is none.
	Version(Tag) int64
	// Open gives what a sealed value of a state says, for the time of the decision. The
	// command must have named the value's subject among its boundaries (SubjectTag).
	// Error: ErrErased.
	Open(Sealed) (json.RawMessage, error)
	// Token stands for a personal name in a tag: random, and the same for the same name
	// of a kind. In Boundaries it is "" until it was looked up, which asking for it does.
	Token(kind, name string) string
}

// Read is the typed form of Reader.State.
func Read[S State](r Reader, t Tag) S { return r.State(t).(S) }

// Meta is what a decision may know beside state and command.
type Meta struct {
	Org        string
	Actor      Actor
	OnBehalfOf *Actor
	// Roles and Groups are the caller's, as the token says; a service has none.
	Roles, Groups []string
	// Now is the command's time, UTC; deciders have no other clock.
	Now time.Time
	// IfMatch is the version the caller believes current, nil for any.
	IfMatch *int64

	Reason        string
	RequestID     string
	CorrelationID string
	CausationID   string
	CommandID     uuid.UUID
}

// Decision is what a command leads to: facts, all or none of them recorded, and
// the resource that the receipt is about. No facts means nothing had to change.
type Decision struct {
	// ResourceID is the receipt's id; Stream is the resource's, for its version.
	ResourceID string
	Stream     Tag
	// Created says that the resource did not exist before.
	Created bool
	Facts   []Fact
}

// Decider is one command with its rules.
type Decider interface {
	// Boundaries names all that the decision depends on. It is called again with
	// what it named loaded, until it names nothing new. A SubjectTag is no boundary; it
	// says that the decision seals or opens values of that subject.
	Boundaries(Reader) []Tag
	// Decide returns a *problem.Problem as error when the rules refuse.
	Decide(Reader, Meta) (Decision, error)
}

// Fresher is a Decider that has just invented some of its boundaries, as the
// stream of a new random id. The loop may take them as empty without reading:
// should one not be, the append refuses, because it checks every boundary.
type Fresher interface {
	Decider
	Fresh() []Tag
}

// Deriver is a Decider that makes something out of another thing, which is what
// preconditions are about.
type Deriver interface {
	Decider
	// Origin is the stream of that thing, one of the boundaries.
	Origin() Tag
}

// Walker is a Decider that finds its boundaries one after the other, along a way of
// unknown length.
type Walker interface {
	Decider
	// Rounds is how often it may name further boundaries, if that is more than others may.
	Rounds() int
}
