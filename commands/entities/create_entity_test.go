package entities_test

import (
	"slices"
	"testing"

	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestCreateEntity(t *testing.T) {
	create := entities.CreateEntity{ID: ana, Type: "customer", Key: "A-1", Attributes: attrs(`{"name":"Ana"}`), Tags: []string{"vip"}}
	if !slices.Equal(create.Fresh(), []domain.Tag{entity.Stream(ana)}) {
		t.Errorf("got %v as new", create.Fresh())
	}

	given(t, customerDefined(customerSchema)).When(create).
		Named(entity.Stream(ana), "entity_type:customer", "key:customer/A-1").
		Resource(ana.String(), entity.Stream(ana), true).
		Then(anaCreated())

	// Neither a key nor the first of its type: nothing moves but its own stream.
	given(t, customerDefined(customerSchema), anaCreated()).
		When(entities.CreateEntity{ID: bob, Type: "customer", Attributes: attrs(`{"name":"Bob"}`)}).
		Named(entity.Stream(bob), "entity_type:customer").
		Then(domain.Fact{
			Stream:  entity.Stream(bob),
			Payload: entity.Created{Type: "customer", Attributes: attrs(`{"name":"Bob"}`), Tags: []string{}, TypeVersion: 1},
		})
}

func TestCreateEntityRefuses(t *testing.T) {
	create := entities.CreateEntity{ID: bob, Type: "customer", Key: "A-1", Attributes: attrs(`{"name":"Bob"}`)}
	defined := customerDefined(customerSchema)

	given(t).When(create).ThenProblem("unknown_type")
	given(t, defined).When(entities.CreateEntity{ID: bob, Type: "no such", Key: "A-1"}).
		Named(entity.Stream(bob)).ThenProblem("unknown_type")
	given(t, defined).When(entities.CreateEntity{ID: bob, Type: "customer", Key: "\t"}).
		Named(entity.Stream(bob), "entity_type:customer").ThenProblem("invalid_key")
	given(t, defined).When(entities.CreateEntity{ID: bob, Type: "customer"}).ThenProblem("invalid_attributes")
	given(t, defined).When(entities.CreateEntity{ID: bob, Type: "customer", Tags: []string{""}}).ThenProblem("invalid_tags")
	given(t, defined).IfMatch(3).When(create).ThenProblem("version_conflict")

	p := given(t, defined, anaCreated()).When(create).ThenProblem("key_taken")
	if p.Extra["id"] != ana.String() {
		t.Errorf("got %v, want the id of the holder", p.Extra)
	}
	create.ID = ana
	given(t, defined, anaCreated()).When(create).ThenProblem("conflict")
}

// Archiving does not free a key: restoring could fail otherwise.
func TestCreateEntityWithTheKeyOfAnArchivedOne(t *testing.T) {
	given(t, customerDefined(customerSchema), anaCreated(), anaArchived()).
		When(entities.CreateEntity{ID: bob, Type: "customer", Key: "A-1", Attributes: attrs(`{"name":"Bob"}`)}).
		ThenProblem("key_taken")
}

// The same key under another type is another key.
func TestCreateEntityWithTheSameKeyOfAnotherType(t *testing.T) {
	supplier := domain.Fact{Stream: "entity_type:supplier", Payload: entity.TypeDefined{Name: "supplier", Schema: []byte(`{}`)}}
	given(t, customerDefined(customerSchema), supplier, anaCreated()).
		When(entities.CreateEntity{ID: bob, Type: "supplier", Key: "A-1"}).
		Then(domain.Fact{
			Stream:  entity.Stream(bob),
			Tags:    []domain.Tag{"key:supplier/A-1", "entity_type:supplier"},
			Payload: entity.Created{Type: "supplier", Key: "A-1", Attributes: attrs(`{}`), Tags: []string{}, TypeVersion: 1},
		})
}
