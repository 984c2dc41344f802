package entity

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Limits on relationships. An entity that is archived says so to all its targets, in the
// tags of one event; archiving a target reads all relationships that lead to it, and
// detaching is an event for each in one turn of the loop.
const (
	MaxOutgoing = 500
	MaxIncoming = 10_000
	MaxDetached = 500
)

// Limits on the walk that looks for a cycle: each step is one more read of the log.
const (
	MaxWalkDepth = 32
	maxWalked    = 500
)

// NewRelationship is a relationship that an entity shall have.
type NewRelationship struct {
	ID       uuid.UUID
	Kind     string
	TargetID uuid.UUID
}

// Ends is what a new relationship is decided on beside the type of its source.
type Ends struct {
	Source   Entity
	Outgoing Outgoing
	Target   Entity
	Incoming Incoming
}

// Decide adds the relationship; one that is there stays as it is. next gives the targets
// of an entity along the kind. Problems: conflict when an end is archived, unknown_kind,
// unknown_target, wrong_target_type, too_many_relationships, relationship_cycle.
func (n NewRelationship) Decide(typ Type, ends Ends, next func(uuid.UUID) []uuid.UUID) ([]domain.Fact, error) {
	if ends.Source.Archived {
		return nil, problem.New(problem.Conflict, "conflict", "The entity is archived. Restore it before you change it.")
	}
	declared, found := typ.Relationship(n.Kind)
	switch {
	case !found:
		return nil, problem.New(problem.Invalid, "unknown_kind", "The type %s declares no relationship of this kind.", typ.Name).
			With(problem.Field{Location: "body.kind", Message: "is not a kind that the entity's type declares"})
	case ends.Outgoing.links.has(n.Kind, n.TargetID):
		return nil, nil
	}
	if err := n.checkTarget(declared, ends.Target); err != nil {
		return nil, err
	}
	if err := n.checkRoom(ends); err != nil {
		return nil, err
	}
	if declared.Acyclic {
		if err := n.checkCycle(next); err != nil {
			return nil, err
		}
	}
	return []domain.Fact{{
		Stream:  Stream(n.ID),
		Tags:    []domain.Tag{OutgoingTag(n.ID), IncomingTag(n.TargetID)},
		Payload: RelationshipAdded{Kind: n.Kind, TargetID: n.TargetID, SourceType: ends.Source.Type, TargetType: ends.Target.Type},
	}}, nil
}

func (n NewRelationship) checkTarget(declared RelationshipKind, target Entity) error {
	switch {
	case !target.Exists():
		return problem.New(problem.Invalid, "unknown_target", "There is no entity with the id of the target.").
			With(problem.Field{Location: "body.target_id", Message: "is not the id of an entity"})
	case target.Type != declared.Target:
		return problem.New(problem.Invalid, "wrong_target_type", "Relationships of this kind lead to entities of the type %s.", declared.Target).
			With(problem.Field{Location: "body.target_id", Message: "must be an entity of the type " + declared.Target})
	case target.Archived:
		return problem.New(problem.Conflict, "conflict", "The target is archived. Restore it before you refer to it.")
	}
	return nil
}

func (n NewRelationship) checkRoom(ends Ends) error {
	switch {
	case ends.Outgoing.links.count >= MaxOutgoing:
		return tooMany("The entity has %d relationships already, which is the most. Remove one, or turn the kind around.", MaxOutgoing)
	case ends.Incoming.links.count >= MaxIncoming:
		return tooMany("%d relationships lead to the target already, which is the most. Use an attribute for what so many have in common.", MaxIncoming)
	}
	return nil
}

func (n NewRelationship) checkCycle(next func(uuid.UUID) []uuid.UUID) error {
	_, end := Walk(n.TargetID, n.ID, next)
	switch end {
	case WalkMet:
		return problem.New(problem.Conflict, "relationship_cycle", "The target leads back to the entity, and this kind of relationship must not go in a circle.")
	case WalkTooFar:
		return tooMany("The target leads to more than %d entities, or further than %d steps: whether that is a circle is not looked for.", maxWalked, MaxWalkDepth)
	case WalkDone:
	}
	return nil
}

func tooMany(format string, args ...any) *problem.Problem {
	return problem.New(problem.Conflict, "too_many_relationships", "%s", fmt.Sprintf(format, args...))
}

// WalkEnd is how a walk along relationships ended.
type WalkEnd int

// The ends of a walk.
const (
	WalkDone   WalkEnd = iota // all was seen
	WalkMet                   // it met what it looked for
	WalkTooFar                // it has a limit
)

// Walk follows relationships from an entity, the nearest first, until it meets another.
// It returns all that it has seen: whatever would make it meet the other begins at one of
// those, so a decision on all of them cannot miss a cycle that others close meanwhile.
func Walk(from, until uuid.UUID, next func(uuid.UUID) []uuid.UUID) (seen []uuid.UUID, end WalkEnd) {
	seen = []uuid.UUID{from}
	known := map[uuid.UUID]bool{from: true}
	level := seen
	for depth := 0; len(level) > 0; depth++ {
		if slices.Contains(level, until) {
			return seen, WalkMet
		}
		if depth >= MaxWalkDepth {
			return seen, WalkTooFar
		}
		var after []uuid.UUID
		for _, id := range level {
			for _, target := range next(id) {
				if known[target] {
					continue
				}
				if len(seen) >= maxWalked && target != until {
					return seen, WalkTooFar
				}
				known[target] = true
				seen, after = append(seen, target), append(after, target)
			}
		}
		level = after
	}
	return seen, WalkDone
}

// Unrelate removes a relationship. Problems: conflict when the entity is archived,
// not_found when it has no such relationship.
func Unrelate(id uuid.UUID, source Entity, outgoing Outgoing, kind string, target uuid.UUID) ([]domain.Fact, error) {
	if source.Archived {
		return nil, problem.New(problem.Conflict, "conflict", "The entity is archived. Restore it before you change it.")
	}
	if !outgoing.links.has(kind, target) {
		return nil, problem.New(problem.NotFound, "not_found", "The entity has no such relationship.")
	}
	return []domain.Fact{removed(id, kind, target, false)}, nil
}

// removed is the fact that a relationship is gone; detached because its target is archived.
func removed(source uuid.UUID, kind string, target uuid.UUID, detached bool) domain.Fact {
	return domain.Fact{
		Stream:  Stream(source),
		Tags:    []domain.Tag{OutgoingTag(source), IncomingTag(target)},
		Payload: RelationshipRemoved{Kind: kind, TargetID: target, Detached: detached},
	}
}
