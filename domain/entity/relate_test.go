package entity_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

var (
	knows  = entity.RelationshipKind{Kind: "knows", Target: "thing", OnArchive: "detach"}
	owner  = entity.RelationshipKind{Kind: "owner", Target: "thing", OnArchive: "restrict"}
	parent = entity.RelationshipKind{Kind: "parent", Target: "thing", OnArchive: "restrict", Acyclic: true}
)

// typeWith is the type "thing" with these kinds.
func typeWith(kinds ...entity.RelationshipKind) entity.Type {
	typ := typeOf(`{}`)
	typ.Relationships = kinds
	return typ
}

// numbered is one of many ids.
func numbered(i int) (made uuid.UUID) {
	made[6], made[8] = 0x70, 0x80
	binary.BigEndian.PutUint32(made[12:], uint32(i))
	return made
}

func added(kind string, target uuid.UUID) entity.RelationshipAdded {
	return entity.RelationshipAdded{Kind: kind, TargetID: target, SourceType: "thing", TargetType: "thing"}
}

// outgoing folds what an entity refers to.
func outgoing(payloads ...domain.Payload) entity.Outgoing {
	var state domain.State = entity.Outgoing{}
	for _, payload := range payloads {
		state = state.Evolve(domain.Fact{Stream: entity.Stream(id), Payload: payload})
	}
	return state.(entity.Outgoing)
}

// incoming folds what refers to id: facts of other streams.
func incoming(facts ...domain.Fact) entity.Incoming {
	var state domain.State = entity.Incoming{}
	for _, fact := range facts {
		state = state.Evolve(fact)
	}
	return state.(entity.Incoming)
}

func from(source uuid.UUID, payload domain.Payload) domain.Fact {
	return domain.Fact{Stream: entity.Stream(source), Payload: payload}
}

func nowhere(uuid.UUID) []uuid.UUID { return nil }

func TestRelate(t *testing.T) {
	active, archived := entityOf(`{}`), fold(entityOf(`{}`), domain.Fact{Payload: entity.Archived{}})
	stranger := active
	stranger.Type = "stranger"
	full := entity.Outgoing{}
	for i := range entity.MaxOutgoing {
		full = full.Evolve(from(id, added("knows", numbered(i)))).(entity.Outgoing)
	}
	popular := entity.Incoming{}
	for i := range entity.MaxIncoming {
		popular = popular.Evolve(from(numbered(i), added("knows", id))).(entity.Incoming)
	}
	for name, test := range map[string]struct {
		kind string
		ends entity.Ends
		next func(uuid.UUID) []uuid.UUID
		code string
	}{
		"":                  {kind: "knows", ends: entity.Ends{Source: active, Target: active}},
		"archived":          {"knows", entity.Ends{Source: archived, Target: active}, nowhere, "conflict"},
		"unknown kind":      {"likes", entity.Ends{Source: active, Target: active}, nowhere, "unknown_kind"},
		"no target":         {"knows", entity.Ends{Source: active}, nowhere, "unknown_target"},
		"wrong target":      {"knows", entity.Ends{Source: active, Target: stranger}, nowhere, "wrong_target_type"},
		"archived target":   {"knows", entity.Ends{Source: active, Target: archived}, nowhere, "conflict"},
		"too many":          {"knows", entity.Ends{Source: active, Target: active, Outgoing: full}, nowhere, "too_many_relationships"},
		"too many to it":    {"knows", entity.Ends{Source: active, Target: active, Incoming: popular}, nowhere, "too_many_relationships"},
		"a circle":          {"parent", entity.Ends{Source: active, Target: active}, func(uuid.UUID) []uuid.UUID { return []uuid.UUID{id} }, "relationship_cycle"},
		"a long way":        {"parent", entity.Ends{Source: active, Target: active}, func(at uuid.UUID) []uuid.UUID { return []uuid.UUID{numbered(int(at[15]) + 1)} }, "too_many_relationships"},
		"a circle, allowed": {kind: "knows", ends: entity.Ends{Source: active, Target: active}, next: func(uuid.UUID) []uuid.UUID { return []uuid.UUID{id} }},
	} {
		facts, err := entity.NewRelationship{ID: id, Kind: test.kind, TargetID: other}.Decide(typeWith(knows, parent), test.ends, test.next)
		if test.code != "" {
			refused(t, err, test.code)
			continue
		}
		fact := decided(t, facts, err, added("knows", other))
		if want := []domain.Tag{entity.OutgoingTag(id), entity.IncomingTag(other)}; fact.Stream != entity.Stream(id) || !slices.Equal(fact.Tags, want) {
			t.Errorf("%s: %s %v", name, fact.Stream, fact.Tags)
		}
	}
	straight, err := entity.NewRelationship{ID: id, Kind: "parent", TargetID: other}.Decide(typeWith(parent), entity.Ends{Source: active, Target: active}, nowhere)
	decided(t, straight, err, added("parent", other))
	there := entity.Ends{Source: active, Target: archived, Outgoing: outgoing(added("knows", other))}
	facts, err := entity.NewRelationship{ID: id, Kind: "knows", TargetID: other}.Decide(typeWith(knows), there, nowhere)
	unchanged(t, facts, err)

	facts, err = entity.Unrelate(id, active, there.Outgoing, "knows", other)
	decided(t, facts, err, entity.RelationshipRemoved{Kind: "knows", TargetID: other})
	_, err = entity.Unrelate(id, active, there.Outgoing, "owner", other)
	refused(t, err, "not_found")
	_, err = entity.Unrelate(id, archived, there.Outgoing, "knows", other)
	refused(t, err, "conflict")
}

// A walk names all that it depends on, also where it ends before its time.
func TestWalk(t *testing.T) {
	ways := map[uuid.UUID][]uuid.UUID{numbered(1): {numbered(2), numbered(3)}, numbered(2): {numbered(3), numbered(1)}, numbered(3): {numbered(4)}}
	next := func(at uuid.UUID) []uuid.UUID { return ways[at] }
	seen, end := entity.Walk(numbered(1), id, next)
	if end != entity.WalkDone || !slices.Equal(seen, []uuid.UUID{numbered(1), numbered(2), numbered(3), numbered(4)}) {
		t.Errorf("%v %v", seen, end)
	}
	if _, end = entity.Walk(numbered(1), numbered(4), next); end != entity.WalkMet {
		t.Errorf("got %v on the way to one that is there", end)
	}
	if _, end = entity.Walk(id, id, next); end != entity.WalkMet {
		t.Errorf("got %v where it begins", end)
	}
	wide := func(uuid.UUID) (all []uuid.UUID) {
		for i := range 600 {
			all = append(all, numbered(i))
		}
		return all
	}
	if seen, end = entity.Walk(other, id, wide); end != entity.WalkTooFar || len(seen) != 500 {
		t.Errorf("got %v after %d", end, len(seen))
	}
}

func TestArchivingWhatOthersReferTo(t *testing.T) {
	types := func(string) entity.Type { return typeWith(knows, owner) }
	active := entityOf(`{}`)
	referring := func(kind string, sources ...int) (facts []domain.Fact) {
		for _, source := range sources {
			facts = append(facts, from(numbered(source), added(kind, id)))
		}
		return facts
	}
	archiving := func(facts ...domain.Fact) entity.Archiving {
		return entity.Archiving{ID: id, Outgoing: outgoing(added("owner", other), added("knows", other)), Incoming: incoming(facts...)}
	}

	// Those in use that restrict are counted by kind.
	restricting := append(referring("owner", 1, 2), referring("knows", 3)...)
	_, err := archiving(append(restricting, referring("boss", 4)...)...).Decide(active, func(string) entity.Type {
		return typeWith(knows, owner, entity.RelationshipKind{Kind: "boss", Target: "thing", OnArchive: "restrict"})
	})
	refused(t, err, "relationship_restricted")
	want := []any{map[string]any{"kind": "boss", "source_type": "thing", "count": 1}, map[string]any{"kind": "owner", "source_type": "thing", "count": 2}}
	if got := problem.Of(err).Extra["relationships"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// Archived ones do not stand in the way, nor does what the entity refers to itself by.
	facts := append(referring("owner", 1), from(numbered(1), entity.Archived{}), from(id, added("owner", id)), from(id, added("knows", id)))
	got, err := archiving(facts...).Decide(active, types)
	fact := decided(t, got, err, entity.Archived{})
	if !slices.Equal(fact.Tags, []domain.Tag{entity.IncomingTag(other)}) {
		t.Errorf("got the tags %v", fact.Tags)
	}
	// They do once they are back.
	_, err = archiving(append(facts, from(numbered(1), entity.Restored{}))...).Decide(active, types)
	refused(t, err, "relationship_restricted")

	// The others are removed from their sources, archived or not.
	facts = append(referring("knows", 1, 2, 3), from(numbered(2), entity.RelationshipRemoved{Kind: "knows", TargetID: id}), from(numbered(3), entity.Archived{}))
	detaching := archiving(facts...)
	if sources := detaching.Detached(types); !slices.Equal(sources, []uuid.UUID{numbered(1), numbered(3)}) {
		t.Errorf("detaches %v", sources)
	}
	if names := detaching.SourceTypes(); !slices.Equal(names, []string{"thing"}) {
		t.Errorf("reads the types %v", names)
	}
	got, err = detaching.Decide(active, types)
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, source := range []int{1, 3} {
		decided(t, got[i+1:i+2], nil, entity.RelationshipRemoved{Kind: "knows", TargetID: id, Detached: true})
		if got[i+1].Stream != entity.Stream(numbered(source)) || !slices.Equal(got[i+1].Tags, []domain.Tag{entity.OutgoingTag(numbered(source)), entity.IncomingTag(id)}) {
			t.Errorf("%d: %+v", i, got[i+1])
		}
	}
	// Before the types are known nothing is detached.
	if sources := detaching.Detached(func(string) entity.Type { return entity.Type{} }); len(sources) > 0 {
		t.Errorf("detaches %v of types that are not known", sources)
	}

	many := make([]int, entity.MaxDetached+1)
	for i := range many {
		many[i] = i
	}
	crowd := archiving(referring("knows", many...)...)
	_, err = crowd.Decide(active, types)
	refused(t, err, "too_many_relationships")
	if sources := crowd.Detached(types); len(sources) > 0 {
		t.Errorf("reads %d sources in vain", len(sources))
	}
	// A kind that is not declared any more lets go.
	got, err = archiving(referring("owner", 1)...).Decide(active, func(string) entity.Type { return typeWith() })
	if err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRestoringWhatRefersToOthers(t *testing.T) {
	archived := fold(entityOf(`{}`), domain.Fact{Payload: entity.Archived{}})
	gone := func(uuid.UUID) entity.Entity { return archived }
	there := func(uuid.UUID) entity.Entity { return entityOf(`{}`) }
	restoration := entity.Restoration{ID: id, Outgoing: outgoing(added("owner", other), added("owner", id))}
	facts, err := restoration.Decide(archived, typeWith(owner), there)
	if fact := decided(t, facts, err, entity.Restored{}); !slices.Equal(fact.Tags, []domain.Tag{entity.IncomingTag(id), entity.IncomingTag(other)}) {
		t.Errorf("got the tags %v", fact.Tags)
	}
	_, err = restoration.Decide(archived, typeWith(owner), gone)
	refused(t, err, "relationship_restricted")
	// A kind that detaches now does so now.
	facts, err = restoration.Decide(archived, typeWith(), gone)
	if err != nil || len(facts) != 2 {
		t.Fatalf("%v, %v", facts, err)
	}
	decided(t, facts[1:], nil, entity.RelationshipRemoved{Kind: "owner", TargetID: other, Detached: true})
}

func TestDeclaringRelationships(t *testing.T) {
	known := func(name string) bool { return name == "thing" || name == "company" }
	define := func(current entity.Type, force bool, kinds ...entity.RelationshipKind) ([]domain.Fact, error) {
		return entity.Definition{Name: "thing", Title: "Thing", Schema: json.RawMessage(`{}`), Relationships: kinds, Force: force}.Decide(current, known)
	}
	facts, err := define(entity.Type{}, false, entity.RelationshipKind{Kind: "owner", Target: "thing"}, parent)
	defined := decided(t, facts, err, entity.TypeDefined{Name: "thing", Title: "Thing", Schema: json.RawMessage(`{}`), Relationships: []entity.RelationshipKind{owner, parent}})
	current := entity.Type{}.Evolve(defined).(entity.Type)
	facts, err = define(current, false, owner, parent)
	unchanged(t, facts, err)

	many := make([]entity.RelationshipKind, entity.MaxKinds+1)
	for name, test := range map[string]struct {
		kinds   []entity.RelationshipKind
		code    string
		at, why string
	}{
		"many":      {many, "invalid_relationships", "", "must have at most 50 items"},
		"name":      {[]entity.RelationshipKind{{Kind: "A b", Target: "thing"}}, "invalid_relationships", "/0/kind", "must match ^[a-z][a-z0-9_]{0,62}$"},
		"twice":     {[]entity.RelationshipKind{owner, parent, owner}, "invalid_relationships", "/2/kind", "is declared twice"},
		"policy":    {[]entity.RelationshipKind{{Kind: "a", Target: "thing", OnArchive: "cascade"}}, "invalid_relationships", "/0/on_archive", "must be restrict or detach"},
		"no type":   {[]entity.RelationshipKind{{Kind: "a", Target: "ghost"}}, "unknown_type", "/0/target", "is not the name of an entity type"},
		"no name":   {[]entity.RelationshipKind{{Kind: "a", Target: "Ghost!"}}, "unknown_type", "/0/target", "is not the name of an entity type"},
		"removed":   {[]entity.RelationshipKind{owner}, "narrowing_change", "", "does not declare parent any more"},
		"elsewhere": {[]entity.RelationshipKind{{Kind: "owner", Target: "company"}, parent}, "narrowing_change", "/0/target", "may refuse what the schema allowed before"},
		"acyclic":   {[]entity.RelationshipKind{{Kind: "owner", Target: "thing", Acyclic: true}, parent}, "narrowing_change", "/0/acyclic", "may refuse what the schema allowed before"},
	} {
		_, err := define(current, false, test.kinds...)
		refused(t, err, test.code, "body.relationships"+test.at, test.why)
		if test.code != "narrowing_change" {
			continue
		}
		if facts, err := define(current, true, test.kinds...); err != nil || len(facts) != 1 {
			t.Errorf("%s by force: %v", name, err)
		}
	}
	// Another policy, and what need not be without circles any more, refuse nothing.
	relaxed := parent
	relaxed.Acyclic, relaxed.OnArchive = false, "detach"
	if facts, err := define(current, false, owner, relaxed, knows); err != nil || len(facts) != 1 {
		t.Errorf("%v, %v", facts, err)
	}
}

// Links are values however many there are, and come back from what was kept.
func TestLinksAreKept(t *testing.T) {
	var kept []entity.Incoming
	var was []string
	state := entity.Incoming{}
	for i := range 600 {
		kept, was = append(kept, state), append(was, visible(state))
		state = state.Evolve(from(numbered(i%300), added(fmt.Sprint("k", i%3), id))).(entity.Incoming)
		if i%7 == 0 {
			state = state.Evolve(from(numbered(i/2), entity.RelationshipRemoved{Kind: "k0", TargetID: id})).(entity.Incoming)
		}
		if i%5 == 0 {
			state = state.Evolve(from(numbered(i%300), entity.Archived{})).(entity.Incoming)
		}
	}
	for i := range kept {
		if now := visible(kept[i]); now != was[i] {
			t.Fatalf("state %d was %s, is %s", i, was[i], now)
		}
	}
	if again := restored(t, state); visible(again) != visible(state) {
		t.Errorf("restored as %s, was %s", visible(again), visible(state))
	}
	out := outgoing(added("owner", other), added("owner", other), added("knows", other), added("knows", id))
	if again := restored(t, out); visible(again) != visible(out) || len(out.Targets("")) != 2 || len(out.Targets("owner")) != 1 {
		t.Errorf("%s, restored as %s", visible(out), visible(again))
	}
	if odd := (entity.Incoming{}).Evolve(domain.Fact{Stream: "entity_type:x", Payload: added("knows", id)}); visible(odd) != visible(entity.Incoming{}) {
		t.Errorf("an event of no entity: %s", visible(odd))
	}
	for _, state := range []domain.Kept{entity.Outgoing{}, entity.Incoming{}} {
		if _, err := state.Restore([]byte("{")); err == nil {
			t.Errorf("%T was restored from half of it", state)
		}
	}
}
