package entity_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestDefineWhatIsSearched(t *testing.T) {
	definition := entity.Definition{Name: "thing", Title: "T", Search: []string{"b", "a"}}
	facts, err := definition.Decide(entity.Type{}, nil)
	fact := decided(t, facts, err, entity.TypeDefined{Name: "thing", Title: "T", Schema: json.RawMessage(`{}`), Search: []string{"b", "a"}})
	current := entity.Type{}.Evolve(fact).(entity.Type)
	facts, err = definition.Decide(current, nil)
	unchanged(t, facts, err)
	for _, other := range [][]string{nil, {"b"}, {"a", "b"}} {
		definition.Search = other
		if facts, err = definition.Decide(current, nil); err != nil || len(facts) != 1 {
			t.Errorf("%v: %v %v", other, facts, err)
		}
	}
}

func TestWhatCannotBeSearched(t *testing.T) {
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprint("a", i))
	}
	const open, listed = `{}`, `{"properties":{"name":{},"city":{"type":"string"}}}`
	for _, test := range []struct {
		schema string
		names  []string
		want   []string
	}{
		{open, many, []string{"body.search"}},
		{open, []string{"a", "b", "a"}, []string{"body.search/2"}},
		{open, []string{"", "$sealed", "a\nb"}, []string{"body.search/0", "body.search/1", "body.search/2"}},
		{listed, []string{"name", "town", "city", "name"}, []string{"body.search/1", "body.search/3"}},
		{listed, []string{"city", "name"}, nil},
		{`{"properties":{}}`, []string{"a"}, []string{"body.search/0"}},
		{`{"PROPERTIES":5}`, []string{"a"}, nil},
	} {
		_, err := entity.Definition{Name: "thing", Schema: json.RawMessage(test.schema), Search: test.names}.Decide(entity.Type{}, nil)
		var got []string
		if err != nil {
			refused(t, err, "invalid_search_attributes")
			for _, field := range problem.Of(err).Fields {
				got = append(got, field.Location)
			}
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s %q: %v, want %v", test.schema, test.names, got, test.want)
		}
	}
}
