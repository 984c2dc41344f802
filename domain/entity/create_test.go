package entity_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestCreate(t *testing.T) {
	n := entity.NewEntity{
		ID: id, Type: "thing", Key: "a/b", KeyName: "a/b",
		Attributes: attrs(`{"name": "A & B", "size": 1.50, "gone": null, "deep": { "z": [1, {"y": null}], "a": 1e2 } }`),
		Tags:       []string{"vip", "gold", "vip"},
	}
	facts, err := n.Decide(typeOf(`{}`), entity.Key{})
	fact := decided(t, facts, err, entity.Created{
		Type: "thing", Key: "a/b",
		Attributes: attrs(`{"name":"A & B","size":1.50,"deep":{"a":1e2,"z":[1,{"y":null}]}}`),
		Tags:       []string{"gold", "vip"}, TypeVersion: 1,
	})
	if got, want := fmt.Sprint(fact.Stream, " ", fact.Tags), "entity:"+id.String()+" [key:thing/a/b entity_type:thing]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(fact.Payload.(entity.Created).Attributes["name"]); got != `"A & B"` {
		t.Errorf("the name was recorded as %s", got)
	}
}

// Only the first entity of a type moves the type, and only one with a key a key.
func TestCreateTagsWhatItMoves(t *testing.T) {
	typ := typeOf(`{}`)
	typ.Used = true
	facts, err := entity.NewEntity{ID: id, Type: "thing"}.Decide(typ, entity.Key{})
	fact := decided(t, facts, err, entity.Created{Type: "thing", Attributes: attrs(`{}`), Tags: []string{}, TypeVersion: 1})
	if len(fact.Tags) != 0 {
		t.Errorf("got the tags %v", fact.Tags)
	}
}

func TestCreateRefuses(t *testing.T) {
	many := map[string]json.RawMessage{}
	for i := range 201 {
		many[fmt.Sprintf("a%03d", i)] = json.RawMessage("1")
	}
	tags51 := make([]string, 51)
	for i := range tags51 {
		tags51[i] = fmt.Sprint(i)
	}
	for name, test := range map[string]struct {
		new    entity.NewEntity
		code   string
		faults []string
	}{
		"long key":     {entity.NewEntity{Key: strings.Repeat("k", 201)}, "invalid_key", []string{"body.key", "must have at most 200 characters"}},
		"control key":  {entity.NewEntity{Key: "a\x7f"}, "invalid_key", []string{"body.key", "must not hold control characters or bidirectional overrides"}},
		"binary key":   {entity.NewEntity{Key: "\xfe"}, "invalid_key", []string{"body.key", "must be UTF-8"}},
		"empty tag":    {entity.NewEntity{Tags: []string{"a", ""}}, "invalid_tags", []string{"body.tags/1", "must not be empty"}},
		"long tag":     {entity.NewEntity{Tags: []string{strings.Repeat("t", 101)}}, "invalid_tags", []string{"body.tags/0", "must have at most 100 characters"}},
		"51 tags":      {entity.NewEntity{Tags: tags51}, "invalid_tags", []string{"body.tags", "must have at most 50 items"}},
		"no JSON":      {entity.NewEntity{Attributes: map[string]json.RawMessage{"a/~": json.RawMessage("{")}}, "invalid_attributes", []string{"body.attributes/a~1~0", "is not valid JSON"}},
		"no name":      {entity.NewEntity{Attributes: attrs(`{"":1}`)}, "invalid_attributes", []string{"body.attributes/", "must have a name"}},
		"long name":    {entity.NewEntity{Attributes: attrs(`{"` + strings.Repeat("n", 201) + `":1}`)}, "invalid_attributes", []string{"body.attributes/" + strings.Repeat("n", 201), "must have at most 200 characters"}},
		"sealed":       {entity.NewEntity{Attributes: attrs(`{"$sealed":"x"}`)}, "invalid_attributes", []string{"body.attributes/$sealed", "must not be named $sealed"}},
		"sealed below": {entity.NewEntity{Attributes: attrs(`{"a":[{"$sealed":"x","subject":"y"}]}`)}, "invalid_attributes", []string{"body.attributes/a/0", "must not hold a member named $sealed"}},
		"escaped":      {entity.NewEntity{Attributes: attrs(`{"a":{"\u0024sealed":"x"}}`)}, "invalid_attributes", []string{"body.attributes/a", "must not hold a member named $sealed"}},
		"NUL":          {entity.NewEntity{Attributes: attrs(`{"a":"x\u0000"}`)}, "invalid_attributes", []string{"body.attributes/a", "must not hold NUL characters"}},
		"NUL name":     {entity.NewEntity{Attributes: attrs(`{"a":{"x\u0000":1}}`)}, "invalid_attributes", []string{"body.attributes/a", "must not hold NUL characters"}},
		"number":       {entity.NewEntity{Attributes: attrs(`{"a":{"b":[0,-1e400]}}`)}, "invalid_attributes", []string{"body.attributes/a/b/1", "is a number beyond the range of a double"}},
		"deep array":   {entity.NewEntity{Attributes: attrs(`{"a":` + strings.Repeat("[", 33) + "1" + strings.Repeat("]", 33) + `}`)}, "invalid_attributes", []string{"body.attributes/a" + strings.Repeat("/0", 32), "is nested too deeply"}},
		"deep object":  {entity.NewEntity{Attributes: attrs(strings.Repeat(`{"a":`, 34) + "1" + strings.Repeat("}", 34))}, "invalid_attributes", []string{"body.attributes/a" + strings.Repeat("/a", 32), "is nested too deeply"}},
		"many values":  {entity.NewEntity{Attributes: attrs(`{"a":[` + strings.Repeat("1,", 20_000) + `1]}`)}, "invalid_attributes", []string{"body.attributes/a/19999", "holds too many values"}},
		"two faults":   {entity.NewEntity{Attributes: attrs(`{"a":{"z":1e999,"b":{"c":1},"y":1e999},"":1}`)}, "invalid_attributes", []string{"body.attributes/", "must have a name", "body.attributes/a/y", "is a number beyond the range of a double"}},
		"many in all":  {entity.NewEntity{Attributes: attrs(`{"a":[` + strings.Repeat("1,", 15_000) + `1],"b":[` + strings.Repeat("1,", 5_000) + `1]}`)}, "invalid_attributes", []string{"body.attributes", "holds too many values"}},
		"many names":   {entity.NewEntity{Attributes: many}, "invalid_attributes", []string{"body.attributes", "must have at most 200 members"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.new.ID, test.new.Type = id, "thing"
			_, err := test.new.Decide(typeOf(`{}`), entity.Key{})
			refused(t, err, test.code, test.faults...)
		})
	}
}

func TestCreateAcceptsLimits(t *testing.T) {
	deep := `{"a":` + strings.Repeat("[", 32) + "1" + strings.Repeat("]", 32) + `}`
	for _, attributes := range []string{deep, `{"a":1e308,"b":-5e-324}`, `{"` + strings.Repeat("ü", 200) + `":null}`} {
		n := entity.NewEntity{ID: id, Type: "thing", Key: strings.Repeat("🗝", 200), Attributes: attrs(attributes), Tags: []string{strings.Repeat("ü", 100)}}
		facts, err := n.Decide(typeOf(`{}`), entity.Key{})
		if err != nil {
			t.Errorf("%.30s: %v", attributes, err)
			continue
		}
		for _, tag := range facts[0].Tags {
			if err := tag.Validate(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCreateNeedsAType(t *testing.T) {
	_, err := entity.NewEntity{ID: id, Type: "thing"}.Decide(entity.Type{}, entity.Key{})
	refused(t, err, "unknown_type", "body.type", "is not the name of an entity type")
}

func TestCreateNeedsAFreeKey(t *testing.T) {
	for seen, want := range map[bool]any{true: "other", false: nil} {
		_, err := entity.NewEntity{ID: id, Type: "thing", Key: "k", HolderSeen: seen}.Decide(typeOf(`{}`), entity.Key{EntityID: "other"})
		refused(t, err, "key_taken")
		if got := problem.Of(err).Extra["id"]; got != want {
			t.Errorf("the holder is given as %v", got)
		}
	}
}

// A recorded schema that does not compile any more is our fault, not the caller's.
func TestCreateUnderABrokenSchema(t *testing.T) {
	for _, schema := range []string{`{"type":5}`, `{"$ref":"#none"}`, `{`} {
		_, err := entity.NewEntity{ID: id, Type: "thing"}.Decide(typeOf(schema), entity.Key{})
		if err == nil || problem.Of(err) != nil {
			t.Errorf("%s: got %v, want an internal error", schema, err)
		}
		if schema != "{" && errors.Unwrap(err) == nil {
			t.Errorf("%s: the cause is lost", schema)
		}
	}
}

func TestFaultsAreFewAndOrdered(t *testing.T) {
	many := map[string]json.RawMessage{}
	for i := range 120 {
		many[fmt.Sprintf("a%03d", i)] = json.RawMessage("1")
	}
	for _, schema := range []string{`{"additionalProperties":false}`, `{"additionalProperties":{"type":"string"}}`} {
		_, err := entity.NewEntity{ID: id, Type: "thing", Attributes: many}.Decide(typeOf(schema), entity.Key{})
		refused(t, err, "invalid_attributes")
		fields := problem.Of(err).Fields
		if len(fields) != 50 || fields[0].Location != "body.attributes/a000" || fields[49].Location != "body.attributes/a049" {
			t.Errorf("got %d faults: %v", len(fields), fields)
		}
	}
	_, err := entity.NewEntity{ID: id, Type: "thing", Attributes: attrs(`{"a` + strings.Repeat("ü", 199) + `":1}`)}.Decide(typeOf(`{"additionalProperties":false}`), entity.Key{})
	if location := problem.Of(err).Fields[0].Location; len(location) > 310 || !strings.HasSuffix(location, "ü…") {
		t.Errorf("got the location %q", location)
	}
}

func BenchmarkCreate(b *testing.B) {
	b.ReportAllocs()
	typ := typeOf(`{"properties":{"name":{"type":"string"},"city":{"type":"string"},"latitude":{"type":"number","minimum":-90,"maximum":90},"runways":{"type":"array","items":{"type":"object","required":["id"]}}},"required":["name"]}`)
	n := entity.NewEntity{
		ID: id, Type: "thing", Key: "KSFO", Tags: []string{"hub", "west"},
		Attributes: attrs(`{"name":"San Francisco International","city":"San Francisco","country":"USA","latitude":37.618972,"longitude":-122.374889,"elevation_ft":13,"iata":"SFO","icao":"KSFO","runways":[{"id":"10L","length":11870},{"id":"01R","length":8650}]}`),
	}
	for b.Loop() {
		if _, err := n.Decide(typ, entity.Key{}); err != nil {
			b.Fatal(err)
		}
	}
}
