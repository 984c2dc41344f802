package entity

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Archiving takes an entity out of use.
type Archiving struct {
	ID       uuid.UUID
	Outgoing Outgoing
	Incoming Incoming
}

// SourceTypes are the types of the entities that refer to the one that is archived.
func (a Archiving) SourceTypes() []string {
	var names []string
	for _, l := range a.Incoming.links.all() {
		if !slices.Contains(names, l.Type) {
			names = append(names, l.Type)
		}
	}
	return names
}

// Detached are the sources of the relationships that go with it; typeOf gives types by
// name, an empty one where it is not known yet. More than MaxDetached are none: then it is
// refused.
func (a Archiving) Detached(typeOf func(string) Type) []uuid.UUID {
	var sources []uuid.UUID
	for _, l := range a.Incoming.links.all() {
		if typ := typeOf(l.Type); typ.Exists() && l.ID != a.ID && !typ.restricts(l.Kind) {
			sources = append(sources, l.ID)
		}
	}
	if len(sources) > MaxDetached {
		return nil
	}
	return sources
}

// Decide archives the entity; one that is archived stays as it is. Relationships that lead
// to it keep it in use, or are removed, as their kinds say. Problems:
// relationship_restricted, too_many_relationships.
func (a Archiving) Decide(current Entity, typeOf func(string) Type) ([]domain.Fact, error) {
	if current.Archived {
		return nil, nil
	}
	kept := heldBy{}
	var detached []domain.Fact
	for _, l := range a.Incoming.links.all() {
		switch restricts := typeOf(l.Type).restricts(l.Kind); {
		case l.ID == a.ID: // goes and comes back with it
		case !restricts:
			detached = append(detached, removed(l.ID, l.Kind, a.ID, true))
		case !l.Archived:
			kept[relationshipOf{l.Kind, l.Type}]++
		}
	}
	switch {
	case len(kept) > 0:
		return nil, kept.problem("Entities in use refer to this one, by relationships that keep it from being archived. Remove those, or archive these first.")
	case len(detached) > MaxDetached:
		return nil, tooMany("Archiving would remove %d relationships; at once it can be %d. Remove some first.", len(detached), MaxDetached)
	}
	return append([]domain.Fact{{Stream: Stream(a.ID), Tags: a.Outgoing.targetTags(), Payload: Archived{}}}, detached...), nil
}

// heldBy counts the relationships that stand in the way.
type heldBy map[relationshipOf]int

// relationshipOf is a kind of relationships of a type.
type relationshipOf struct{ kind, typeName string }

func (h heldBy) problem(detail string) *problem.Problem {
	kinds := slices.SortedFunc(maps.Keys(h), func(a, b relationshipOf) int {
		return cmp.Or(cmp.Compare(a.typeName, b.typeName), cmp.Compare(a.kind, b.kind))
	})
	counts := []any{}
	for _, k := range kinds {
		counts = append(counts, map[string]any{"kind": k.kind, "source_type": k.typeName, "count": h[k]})
	}
	p := problem.New(problem.Conflict, "relationship_restricted", detail)
	p.Extra = map[string]any{"relationships": counts}
	return p
}

// targetTags are the boundaries of all that the entity refers to: whether it is in use is
// part of them.
func (o Outgoing) targetTags() []domain.Tag {
	var tags []domain.Tag
	for _, target := range o.Targets("") {
		tags = append(tags, IncomingTag(target))
	}
	return tags
}

// Restoration brings an archived entity back, changed by a merge patch where one is
// given: what no longer follows the type has no other way back.
type Restoration struct {
	ID uuid.UUID
	// Document is as of Patch; nil changes nothing.
	Document json.RawMessage
	Outgoing Outgoing
}

// Decide restores the entity; one that is in use stays as it is. All attributes must
// follow the type as it is now, and what it refers to must be in use; relationships that
// archiving a target removes are removed now. targetOf gives the entities that it refers
// to. Problems: conflict when an entity that is in use shall be changed,
// relationship_restricted, and those of a patch.
func (n Restoration) Decide(current Entity, typ Type, targetOf func(uuid.UUID) Entity) ([]domain.Fact, error) {
	document := n.Document
	if document == nil {
		document = json.RawMessage("{}")
	}
	changed, whole, err := Patch{ID: n.ID, Document: document}.apply(current)
	switch {
	case err != nil:
		return nil, err
	case !current.Archived && !changed.nothing():
		return nil, problem.New(problem.Conflict, "conflict", "The entity is not archived. Change it by PATCH.")
	case !current.Archived:
		return nil, nil
	}
	if err := validAttributes(typ, current, whole); err != nil {
		return nil, err
	}
	facts := []domain.Fact{{Stream: Stream(n.ID), Tags: n.Outgoing.targetTags(), Payload: Restored{TypeVersion: current.newlyFollows(typ)}}}
	kept := heldBy{}
	for _, l := range n.Outgoing.links.all() {
		switch {
		case l.ID == n.ID || !targetOf(l.ID).Archived:
		case typ.restricts(l.Kind):
			kept[relationshipOf{l.Kind, typ.Name}]++
		default:
			facts = append(facts, removed(n.ID, l.Kind, l.ID, true))
		}
	}
	if len(kept) > 0 {
		return nil, kept.problem("What the entity refers to is archived. Restore that first.")
	}
	if !changed.nothing() {
		facts = append(facts, domain.Fact{Stream: Stream(n.ID), Payload: changed})
	}
	return typ.Sealed(n.ID, facts), nil
}
