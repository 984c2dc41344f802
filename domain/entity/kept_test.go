package entity_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// What is taken up again is what was put aside, to the text of every value.
func TestKeptStatesAreRestored(t *testing.T) {
	created := entity.Created{Type: "customer", Key: "K", Attributes: attrs(`{"a":"<&>","b":1.50,"c":{"z":[],"y":null}}`), Tags: []string{}}
	for name, facts := range map[string][]domain.Payload{
		"nothing":  nil,
		"created":  {created},
		"bare":     {entity.Created{Type: "customer"}},
		"updated":  {created, entity.Updated{Attributes: attrs(`{"a":null,"d":"é\u2028"}`), Tags: []string{"x"}}},
		"archived": {created, entity.Archived{}},
		"sealed": {entity.Created{
			Type: "patient", SealedKey: json.RawMessage(`{"$sealed":"AQ4","subject":"s"}`),
			Attributes: attrs(`{"a":{"$sealed":"AQ8","subject":"s","sensitive":true},"b":{"$sealed":"ARA","subject":"s"},"c":1}`),
		}, entity.Updated{Attributes: attrs(`{"b":null,"c":{"$sealed":"ARB","subject":"s"}}`)}},
	} {
		var state domain.State = entity.Entity{}
		for _, payload := range facts {
			state = state.Evolve(domain.Fact{ID: id, Stream: "entity:1", Payload: payload})
		}
		if again := restored(t, state); !reflect.DeepEqual(again, state) {
			t.Errorf("%s: %+v, was %+v", name, again, state)
		}
	}
}

// A type restored decides as before: its schema is compiled again.
func TestKeptTypesAreRestored(t *testing.T) {
	schema := json.RawMessage(`{"type":"object","properties":{"<&>":{"maximum":1.50}},"required":["name"]}`)
	state := entity.Type{}.Evolve(domain.Fact{Stream: "entity_type:customer", Payload: entity.TypeDefined{Name: "customer", Title: "C & Co", Schema: schema}})
	state = state.Evolve(domain.Fact{Stream: "entity:1", Payload: entity.Created{Type: "customer"}})
	again := restored(t, state).(entity.Type)
	if again.Name != "customer" || again.Title != "C & Co" || !again.Used || string(again.Schema) != string(schema) || again.Version != 1 {
		t.Errorf("%+v", again)
	}
	for attributes, valid := range map[string]bool{`{"name":"Ana"}`: true, `{}`: false, `{"name":1,"<&>":2}`: false} {
		_, err := entity.NewEntity{ID: id, Type: "customer", Attributes: attrs(attributes)}.Decide(again, entity.Key{})
		if (err == nil) != valid {
			t.Errorf("%s: %v", attributes, err)
		}
	}
	if none := restored(t, entity.Type{Used: true}); !reflect.DeepEqual(none, entity.Type{Used: true}) {
		t.Errorf("%+v", none)
	}
}

func TestBrokenBytesAreNoState(t *testing.T) {
	for _, state := range []domain.Kept{entity.Entity{}, entity.Type{}} {
		if _, err := state.Restore([]byte("{")); err == nil {
			t.Errorf("%T was restored from half of it", state)
		}
	}
}

func restored(t *testing.T, state domain.State) domain.State {
	t.Helper()
	data, err := state.(domain.Kept).Keep()
	if err != nil {
		t.Fatal(err)
	}
	again, err := state.(domain.Kept).Restore(data)
	if err != nil {
		t.Fatal(err)
	}
	return again
}
