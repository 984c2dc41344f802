package entities_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// employing is the type customer with relationships to itself.
func employing() domain.Fact {
	return domain.Fact{Stream: "entity_type:customer", Payload: entity.TypeDefined{
		Name: "customer", Title: "Customer", Schema: json.RawMessage(`{}`),
		Relationships: []entity.RelationshipKind{
			{Kind: "boss", Target: "customer", OnArchive: "restrict", Acyclic: true},
			{Kind: "friend", Target: "customer", OnArchive: "detach"},
		},
	}}
}

func created(id uuid.UUID) domain.Fact {
	return domain.Fact{Stream: entity.Stream(id), Payload: entity.Created{Type: "customer", Attributes: attrs(`{}`), Tags: []string{}, TypeVersion: 1}}
}

func related(source uuid.UUID, kind string, target uuid.UUID) domain.Fact {
	return domain.Fact{
		Stream: entity.Stream(source), Tags: []domain.Tag{entity.OutgoingTag(source), entity.IncomingTag(target)},
		Payload: entity.RelationshipAdded{Kind: kind, TargetID: target, SourceType: "customer", TargetType: "customer"},
	}
}

func unrelated(source uuid.UUID, kind string, target uuid.UUID, detached bool) domain.Fact {
	fact := related(source, kind, target)
	fact.Payload = entity.RelationshipRemoved{Kind: kind, TargetID: target, Detached: detached}
	return fact
}

func archived(id uuid.UUID, targets ...uuid.UUID) domain.Fact {
	fact := domain.Fact{Stream: entity.Stream(id), Payload: entity.Archived{}}
	for _, target := range targets {
		fact.Tags = append(fact.Tags, entity.IncomingTag(target))
	}
	return fact
}

func TestAddRelationship(t *testing.T) {
	add := entities.AddRelationship{ID: ana, Kind: "friend", TargetID: bob}
	given(t, employing(), created(ana), created(bob)).IfMatch(1).When(add).
		Named(entity.Stream(ana), entity.OutgoingTag(ana), entity.Stream(bob), entity.IncomingTag(bob), "entity_type:customer").
		Resource(ana.String(), entity.Stream(ana), false).
		Then(related(ana, "friend", bob))
	given(t, employing(), created(ana), created(bob), related(ana, "friend", bob)).When(add).ThenNothing()
	// Friends may be friends of each other, and of themselves.
	given(t, employing(), created(ana), created(bob), related(bob, "friend", ana)).When(add).Then(related(ana, "friend", bob))
	add.TargetID = ana
	given(t, employing(), created(ana)).When(add).Then(related(ana, "friend", ana))
}

func TestAddRelationshipRefuses(t *testing.T) {
	add := entities.AddRelationship{ID: ana, Kind: "boss", TargetID: bob}
	given(t).When(add).ThenProblem("not_found")
	given(t, employing(), created(ana), created(bob)).IfMatch(2).When(add).ThenProblem("version_conflict")
	given(t, employing(), created(ana)).When(add).ThenProblem("unknown_target")
	given(t, customerDefined(`{}`), created(ana), created(bob)).When(add).ThenProblem("unknown_kind")
	given(t, employing(), created(ana), created(bob), archived(bob)).When(add).ThenProblem("conflict")
	add.TargetID = ana
	given(t, employing(), created(ana)).When(add).ThenProblem("relationship_cycle")
}

// The decision reads all that the target leads to, and so is refused when somebody closes
// the circle meanwhile.
func TestAddRelationshipFollowsTheTarget(t *testing.T) {
	facts := []domain.Fact{employing(), created(ana)}
	chain := make([]uuid.UUID, entity.MaxWalkDepth+2)
	for i := range chain {
		chain[i] = uuid.MustParse(fmt.Sprintf("0190aaaa-0000-7000-8000-%012d", i))
		facts = append(facts, created(chain[i]))
		if i > 0 {
			facts = append(facts, related(chain[i-1], "boss", chain[i]), related(chain[i-1], "friend", ana))
		}
	}
	const long = 30
	near := entities.AddRelationship{ID: ana, Kind: "boss", TargetID: chain[len(chain)-long]}
	outcome := given(t, facts...).When(near)
	if got := len(outcome.Boundaries); got != 5+long {
		t.Errorf("reads %d boundaries, want the five of every relationship and %d on the way", got, long)
	}
	outcome.Then(related(ana, "boss", chain[len(chain)-long]))

	given(t, facts...).When(entities.AddRelationship{ID: ana, Kind: "boss", TargetID: chain[0]}).ThenProblem("too_many_relationships")
	facts = append(facts, related(chain[long], "boss", ana))
	given(t, facts...).When(entities.AddRelationship{ID: ana, Kind: "boss", TargetID: chain[long-3]}).ThenProblem("relationship_cycle")
}

func TestRemoveRelationship(t *testing.T) {
	remove := entities.RemoveRelationship{ID: ana, Kind: "friend", TargetID: bob}
	given(t, customerDefined(`{}`), created(ana), created(bob), related(ana, "friend", bob)).IfMatch(2).When(remove).
		Named(entity.Stream(ana), entity.OutgoingTag(ana), entity.Stream(bob)).
		Resource(ana.String(), entity.Stream(ana), false).
		Then(unrelated(ana, "friend", bob, false))
	given(t).When(remove).ThenProblem("not_found")
	given(t, employing(), created(ana), created(bob)).When(remove).ThenProblem("not_found")
	given(t, employing(), created(ana)).IfMatch(2).When(remove).ThenProblem("version_conflict")
}

func TestArchiveEntityThatOthersReferTo(t *testing.T) {
	archive := entities.ArchiveEntity{ID: bob}
	s := given(t, employing(), created(ana), created(bob), related(ana, "friend", bob), related(bob, "friend", ana))
	s.When(archive).
		Named(entity.Stream(bob), entity.OutgoingTag(bob), entity.IncomingTag(bob), "entity_type:customer", entity.Stream(ana)).
		Resource(bob.String(), entity.Stream(bob), false).
		Then(archived(bob, ana), unrelated(ana, "friend", bob, true))
	// What it refers to itself it has again when it is back.
	s.When(entities.RestoreEntity{ID: bob}).
		Named(entity.Stream(bob), entity.OutgoingTag(bob), "entity_type:customer", entity.Stream(ana)).
		Then(domain.Fact{Stream: entity.Stream(bob), Tags: []domain.Tag{entity.IncomingTag(ana)}, Payload: entity.Restored{}})

	s = given(t, employing(), created(ana), created(bob), related(ana, "boss", bob))
	s.When(archive).ThenProblem("relationship_restricted")
	s.When(entities.ArchiveEntity{ID: ana}).Then(archived(ana, bob))
	s.When(archive).Then(archived(bob))
	s.When(entities.RestoreEntity{ID: ana}).ThenProblem("relationship_restricted")
	s.When(entities.RestoreEntity{ID: bob}).Then(domain.Fact{Stream: entity.Stream(bob), Payload: entity.Restored{}})
	s.When(entities.RestoreEntity{ID: ana}).Then(domain.Fact{Stream: entity.Stream(ana), Tags: []domain.Tag{entity.IncomingTag(bob)}, Payload: entity.Restored{}})
}

func TestDefineEntityTypeWithRelationships(t *testing.T) {
	define := entities.DefineEntityType{Name: "customer", Title: "Customer", Relationships: []entity.RelationshipKind{
		{Kind: "boss", Target: "customer", Acyclic: true}, {Kind: "supplier", Target: "supplier", OnArchive: "detach"}, {Kind: "x", Target: "No name"},
	}}
	given(t).When(define).Named("entity_type:customer", "entity_type:supplier").ThenProblem("unknown_type")
	define.Relationships = define.Relationships[:2]
	supplier := domain.Fact{Stream: "entity_type:supplier", Payload: entity.TypeDefined{Name: "supplier", Schema: json.RawMessage(`{}`)}}
	given(t, supplier).When(define).Then(domain.Fact{Stream: "entity_type:customer", Payload: entity.TypeDefined{
		Name: "customer", Title: "Customer", Schema: json.RawMessage(`{}`), Relationships: []entity.RelationshipKind{
			{Kind: "boss", Target: "customer", OnArchive: "restrict", Acyclic: true}, {Kind: "supplier", Target: "supplier", OnArchive: "detach"},
		},
	}})
}
