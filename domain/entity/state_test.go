package entity_test

import (
	"reflect"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestEntityFolds(t *testing.T) {
	e := entityOf(`{"name":"Ana","city":"Paris"}`, "vip")
	if !e.Exists() || (entity.Entity{}).Exists() {
		t.Error("an entity exists once it was created")
	}
	updated := entity.Updated{Attributes: attrs(`{"name":"Eva","city":null,"age":7}`)}
	e = fold(e, domain.Fact{Payload: updated}, domain.Fact{Payload: entity.Archived{}})
	want := entity.Entity{Type: "thing", Archived: true, Attributes: attrs(`{"name":"Eva","age":7}`), Tags: []string{"vip"}, TypeVersion: 1}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("got %+v, want %+v", e, want)
	}
	e = fold(e, domain.Fact{Payload: entity.Restored{}}, domain.Fact{Payload: entity.Updated{Tags: []string{}}}, domain.Fact{Payload: entity.TypeDefined{}})
	if e.Archived || len(e.Tags) != 0 || len(e.Attributes) != 2 {
		t.Errorf("got %+v, want it restored and without tags", e)
	}
}

func TestTypeFolds(t *testing.T) {
	typ := typeOf(`{}`)
	if !typ.Exists() || (entity.Type{}).Exists() || typ.Used {
		t.Errorf("got %+v, want a type that exists and is not used", typ)
	}
	used := typ.Evolve(domain.Fact{Payload: entity.Created{Type: "thing"}}).(entity.Type)
	redefined := used.Evolve(domain.Fact{Payload: entity.TypeDefined{Name: "thing", Title: "New"}}).(entity.Type)
	if !used.Used || typ.Used || !redefined.Used || redefined.Title != "New" {
		t.Errorf("got %v, %v, %+v: use begins with the first entity and outlives a new definition", used.Used, typ.Used, redefined)
	}
	if got := redefined.Evolve(domain.Fact{Payload: entity.Archived{}}).(entity.Type); got.Title != "New" {
		t.Errorf("got %+v after an event about something else", got)
	}
}

func TestKeyFolds(t *testing.T) {
	free := entity.Key{}
	for _, payload := range []domain.Payload{entity.Created{Type: "thing"}, entity.Archived{}} {
		if got := free.Evolve(domain.Fact{Stream: "entity:x", Payload: payload}); got != free {
			t.Errorf("%T: got %+v, want a free key", payload, got)
		}
	}
	taken := free.Evolve(domain.Fact{Stream: "entity:x", Payload: entity.Created{Type: "thing", Key: "k"}})
	if taken != (entity.Key{EntityID: "x"}) {
		t.Errorf("got %+v, want it taken by x", taken)
	}
}

func TestSizesGrow(t *testing.T) {
	for name, pair := range map[string][2]domain.State{
		"entity": {entityOf(`{}`), entityOf(`{"name":"Ana"}`, "vip")},
		"type":   {entity.Type{}, typeOf(`{"type":"object"}`)},
		"key":    {entity.Key{}, entity.Key{EntityID: id.String()}},
	} {
		if small, large := pair[0].Size(), pair[1].Size(); small <= 0 || large <= small {
			t.Errorf("%s: sizes %d and %d", name, small, large)
		}
	}
}
