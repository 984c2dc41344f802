package entity_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

var (
	id    = uuid.MustParse("0190aaaa-0000-7000-8000-000000000001")
	other = uuid.MustParse("0190aaaa-0000-7000-8000-000000000002")
)

// attrs reads the attributes of a test.
func attrs(text string) map[string]json.RawMessage {
	var attributes map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &attributes); err != nil {
		panic(err)
	}
	return attributes
}

// typeOf is the state of a type "thing" with this schema.
func typeOf(schema string) entity.Type {
	defined := entity.TypeDefined{Name: "thing", Title: "Thing", Schema: json.RawMessage(schema)}
	return entity.Type{}.Evolve(domain.Fact{Stream: "entity_type:thing", Payload: defined}).(entity.Type)
}

// entityOf is the state of an entity "thing" with these attributes and tags.
func entityOf(attributes string, tags ...string) entity.Entity {
	created := entity.Created{Type: "thing", Attributes: attrs(attributes), Tags: append([]string{}, tags...), TypeVersion: 1}
	return fold(entity.Entity{}, domain.Fact{Stream: entity.Stream(id), Payload: created})
}

func fold(e entity.Entity, facts ...domain.Fact) entity.Entity {
	var state domain.State = e
	for _, fact := range facts {
		state = state.Evolve(fact)
	}
	return state.(entity.Entity)
}

// refused expects a problem with this code and these faults, as location, message
// and so on; no faults means that any will do.
func refused(t *testing.T, err error, code string, faults ...string) {
	t.Helper()
	p := problem.Of(err)
	if p == nil || p.Code != code {
		t.Fatalf("got %v, want the problem %s", err, code)
	}
	if len(faults) == 0 {
		return
	}
	var got []string
	for _, field := range p.Fields {
		got = append(got, field.Location, field.Message)
	}
	if a, b := text(got), text(faults); a != b {
		t.Fatalf("%s names the faults\n%s\nwant\n%s", code, a, b)
	}
}

func text(v any) string {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(data)
}

// decided expects this payload as the only fact.
func decided(t *testing.T, facts []domain.Fact, err error, payload domain.Payload) domain.Fact {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if len(facts) != 1 {
		t.Fatalf("got %d facts, want one", len(facts))
	}
	if got, want := text(facts[0].Payload), text(payload); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	return facts[0]
}

func unchanged(t *testing.T, facts []domain.Fact, err error) {
	t.Helper()
	if err != nil || len(facts) != 0 {
		t.Fatalf("got %v, %v, want nothing", facts, err)
	}
}
