package entity

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// link is one relationship seen from one of its ends.
type link struct {
	Kind string `json:"kind"`
	// ID and Type are the other end's.
	ID   uuid.UUID `json:"id"`
	Type string    `json:"type"`
	// Archived says that the other end, a source, is archived. Of targets it says nothing.
	Archived bool `json:"archived,omitempty"`
}

// links is a set of them. It is a value: what changes it makes another, which shares what
// did not change. So that this costs little for thousands, too, they lie in as many parts
// as the last byte of an id has values, which in a UUID is as good as random.
type links struct {
	parts map[byte][]link
	count int
}

func partOf(id uuid.UUID) byte { return id[len(id)-1] }

// has reports whether there is a relationship of this kind with the other end.
func (s links) has(kind string, id uuid.UUID) bool {
	return slices.ContainsFunc(s.parts[partOf(id)], func(l link) bool { return l.Kind == kind && l.ID == id })
}

// with is the set with one more; what was there of the same kind and end is replaced.
func (s links) with(l link) links {
	s = s.without(l.Kind, l.ID)
	return s.put(partOf(l.ID), append(slices.Clip(s.parts[partOf(l.ID)]), l))
}

// without is the set without one.
func (s links) without(kind string, id uuid.UUID) links {
	if !s.has(kind, id) {
		return s
	}
	kept := slices.DeleteFunc(slices.Clone(s.parts[partOf(id)]), func(l link) bool { return l.Kind == kind && l.ID == id })
	return s.put(partOf(id), kept)
}

// archived is the set in which the other end is archived, or is not.
func (s links) archived(id uuid.UUID, archived bool) links {
	changed := slices.Clone(s.parts[partOf(id)])
	for i := range changed {
		if changed[i].ID == id {
			changed[i].Archived = archived
		}
	}
	return s.put(partOf(id), changed)
}

func (s links) put(part byte, of []link) links {
	next := links{parts: maps.Clone(s.parts), count: s.count + len(of) - len(s.parts[part])}
	if next.parts == nil {
		next.parts = map[byte][]link{}
	}
	if next.parts[part] = of; len(of) == 0 {
		delete(next.parts, part)
	}
	return next
}

// all are the links in a fixed order.
func (s links) all() []link {
	all := make([]link, 0, s.count)
	for _, part := range s.parts {
		all = append(all, part...)
	}
	slices.SortFunc(all, func(a, b link) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), slices.Compare(a.ID[:], b.ID[:]))
	})
	return all
}

// linkBytes is what a link takes in memory, roughly, with its texts.
const linkBytes = 120

func (s links) size() int { return entryBytes + s.count*linkBytes }

func (s links) keep() ([]byte, error) { return json.Marshal(s.all()) }

func restoredLinks(data []byte) (s links, err error) {
	var all []link
	err = json.Unmarshal(data, &all)
	for _, l := range all {
		s = s.with(l)
	}
	return s, err
}

// Outgoing is the state of the relationships that an entity is the source of. They have a
// boundary of their own, so that who follows them is not troubled by other changes.
type Outgoing struct{ links links }

// Evolve folds one fact.
func (o Outgoing) Evolve(f domain.Fact) domain.State {
	switch p := f.Payload.(type) {
	case RelationshipAdded:
		o.links = o.links.with(link{Kind: p.Kind, ID: p.TargetID, Type: p.TargetType})
	case RelationshipRemoved:
		o.links = o.links.without(p.Kind, p.TargetID)
	}
	return o
}

// Size is the approximate memory held, in bytes.
func (o Outgoing) Size() int { return o.links.size() }

// Keep gives the state as bytes for Restore.
func (o Outgoing) Keep() ([]byte, error) { return o.links.keep() }

// Restore gives the state of what Keep gave.
func (Outgoing) Restore(data []byte) (domain.State, error) {
	found, err := restoredLinks(data)
	return Outgoing{found}, err
}

// Targets are the ends of its relationships of a kind; of all kinds for "".
func (o Outgoing) Targets(kind string) []uuid.UUID {
	var targets []uuid.UUID
	for _, l := range o.links.all() {
		if (kind == "" || l.Kind == kind) && !slices.Contains(targets, l.ID) {
			targets = append(targets, l.ID)
		}
	}
	return targets
}

// Incoming is the state of the relationships that an entity is the target of. Sources
// that are archived, or restored, say so here as well.
type Incoming struct{ links links }

// Evolve folds one fact.
func (i Incoming) Evolve(f domain.Fact) domain.State {
	source, err := uuid.Parse(f.Stream.Name())
	if err != nil {
		return i
	}
	switch p := f.Payload.(type) {
	case RelationshipAdded:
		i.links = i.links.with(link{Kind: p.Kind, ID: source, Type: p.SourceType})
	case RelationshipRemoved:
		i.links = i.links.without(p.Kind, source)
	case Archived:
		i.links = i.links.archived(source, true)
	case Restored:
		i.links = i.links.archived(source, false)
	}
	return i
}

// Size is the approximate memory held, in bytes.
func (i Incoming) Size() int { return i.links.size() }

// Keep gives the state as bytes for Restore.
func (i Incoming) Keep() ([]byte, error) { return i.links.keep() }

// Restore gives the state of what Keep gave.
func (Incoming) Restore(data []byte) (domain.State, error) {
	found, err := restoredLinks(data)
	return Incoming{found}, err
}

var (
	_ domain.Kept = Outgoing{}
	_ domain.Kept = Incoming{}
)
