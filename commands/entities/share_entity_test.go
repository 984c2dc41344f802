package entities_test

import (
	"testing"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

func anaShared(entries ...entity.ACLEntry) domain.Fact {
	return domain.Fact{Stream: entity.Stream(ana), Payload: entity.AccessChanged{Entries: append([]entity.ACLEntry{}, entries...)}}
}

func as(sub string, roles ...string) func(*domain.Meta) {
	return func(m *domain.Meta) { m.Actor.Sub, m.Roles = sub, roles }
}

func TestShareEntity(t *testing.T) {
	bob := entity.ACLEntry{Principal: "user:bob", Rights: entity.Rights()}
	share := entities.ShareEntity{ID: ana, Entries: []entity.ACLEntry{bob}}
	defined := customerDefined(customerSchema)

	given(t, defined, anaCreated()).IfMatch(1).When(share).
		Named(entity.Stream(ana)).
		Resource(ana.String(), entity.Stream(ana), false).
		Then(anaShared(bob))

	// Neither roles nor having shared it help those who are not named.
	s := given(t, defined, anaCreated(), anaShared(bob))
	s.When(share).ThenProblem("not_found")
	s.When(entities.PatchEntity{ID: ana, Patch: []byte(`{"tags":[]}`)}).ThenProblem("not_found")
	s.When(entities.ArchiveEntity{ID: ana}).ThenProblem("not_found")
	// And roles are not needed by those who are.
	s.With(as("bob", "viewer")).When(share).ThenNothing()
	s.When(entities.ArchiveEntity{ID: ana}).Then(anaArchived())
	s.When(entities.RestoreEntity{ID: ana}).Then(anaRestored())
	s.With(as("eve", "admin")).When(entities.ShareEntity{ID: ana}).Then(anaShared())
	s.With(as("bob", "viewer")).When(share).ThenProblem("forbidden")
}

func TestShareEntityRefuses(t *testing.T) {
	defined := customerDefined(customerSchema)
	given(t).When(entities.ShareEntity{ID: ana}).ThenProblem("not_found")
	given(t, defined, anaCreated()).IfMatch(2).When(entities.ShareEntity{ID: ana}).ThenProblem("version_conflict")
	given(t, defined, anaCreated()).When(entities.ShareEntity{ID: ana}).ThenNothing()
	p := given(t, defined, anaCreated()).When(entities.ShareEntity{ID: ana, Entries: []entity.ACLEntry{
		{Principal: "role:editor", Rights: entity.Rights()}, {Principal: "role:editors", Rights: entity.Rights()},
	}}).ThenProblem("invalid_acl")
	if len(p.Fields) != 1 || p.Fields[0].Location != "body.entries/1/principal" {
		t.Errorf("got %+v", p.Fields)
	}
}

// A key is taken by what one may not see as well, but that is all one learns.
func TestCreateEntityWithTheKeyOfAHiddenOne(t *testing.T) {
	create := entities.CreateEntity{ID: bob, Type: "customer", Key: "A-1", Attributes: attrs(`{"name":"Bob"}`)}
	s := given(t, customerDefined(customerSchema), anaCreated(), anaShared(entity.ACLEntry{Principal: "user:bob", Rights: entity.Rights()}))
	if p := s.When(create).ThenProblem("key_taken"); p.Extra != nil {
		t.Errorf("got %v", p.Extra)
	}
	if p := s.With(as("bob", "editor")).When(create).ThenProblem("key_taken"); p.Extra["id"] != ana.String() {
		t.Errorf("got %v", p.Extra)
	}
}
