package entity_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestTypeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "customer_2": true, "a" + strings.Repeat("b", 62): true,
		"": false, "Customer": false, "2x": false, "_x": false, "a-b": false, "a/b": false, "ä": false,
		"a b": false, "a" + strings.Repeat("b", 63): false,
	} {
		if got := entity.ValidTypeName(name); got != want {
			t.Errorf("ValidTypeName(%q) = %v", name, got)
		}
		if err := entity.CheckTypeName(name); (err == nil) != want {
			t.Errorf("CheckTypeName(%q) = %v", name, err)
		} else if err != nil {
			refused(t, err, "invalid_type_name")
		}
	}
}

func TestDefine(t *testing.T) {
	schema := json.RawMessage(`{ "type": "object", "properties": {"b": {"maximum": 1.50}, "a": {}} }`)
	definition := entity.Definition{Name: "thing", Title: "Thing <b>", Schema: schema}
	facts, err := definition.Decide(entity.Type{}, nil)
	fact := decided(t, facts, err, entity.TypeDefined{
		Name: "thing", Title: "Thing <b>",
		Schema: json.RawMessage(`{"type":"object","properties":{"b":{"maximum":1.50},"a":{}}}`),
	})
	if fact.Stream != "entity_type:thing" || len(fact.Tags) != 0 {
		t.Errorf("got stream %s, tags %v", fact.Stream, fact.Tags)
	}

	current := entity.Type{}.Evolve(fact).(entity.Type)
	same := entity.Definition{Name: "thing", Title: "Thing <b>", Schema: json.RawMessage(`{"properties":{"a":{},"b":{"maximum":1.50}},"\u0074ype":"object"}`)}
	facts, err = same.Decide(current, nil)
	unchanged(t, facts, err)

	facts, err = entity.Definition{Name: "thing", Title: "Other", Schema: schema}.Decide(current, nil)
	if err != nil || len(facts) != 1 {
		t.Errorf("a new title: got %v, %v", facts, err)
	}
	facts, err = entity.Definition{Name: "thing", Title: "Thing <b>"}.Decide(current, nil)
	decided(t, facts, err, entity.TypeDefined{Name: "thing", Title: "Thing <b>", Schema: json.RawMessage(`{}`)})
}

func TestDefineRefusesTitles(t *testing.T) {
	for title, message := range map[string]string{
		strings.Repeat("ü", 201): "must have at most 200 characters",
		"a\nb":                   "must not hold control characters or bidirectional overrides",
		"\xff":                   "must be UTF-8",
	} {
		_, err := entity.Definition{Name: "thing", Title: title}.Decide(entity.Type{}, nil)
		refused(t, err, "invalid_title", "body.title", message)
	}
	facts, err := entity.Definition{Name: "thing", Title: strings.Repeat("ü", 200)}.Decide(entity.Type{}, nil)
	if err != nil || len(facts) != 1 {
		t.Errorf("200 characters: got %v, %v", facts, err)
	}
}

func TestDefineAcceptsSchemas(t *testing.T) {
	for _, schema := range []string{
		`{}`,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema"}`,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema#","$id":"https://example.com/customer.json","$defs":{"x":{"type":"string"}},"properties":{"a":{"$ref":"#/$defs/x"}}}`,
		`{"properties":{"a":{"$ref":"#t"}},"$defs":{"t":{"$anchor":"t"}}}`,
		`{"properties":{"$sealed":{"type":"string"},"a":{"pattern":"^[a-z]+$","format":"email"}}}`,
		`{"properties":{"child":{"$ref":"#"}}}`,
		`{"x-widget":{"order":1}}`,
	} {
		if _, err := (entity.Definition{Name: "thing", Schema: json.RawMessage(schema)}).Decide(entity.Type{}, nil); err != nil {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

func TestDefineRefusesSchemas(t *testing.T) {
	const nowhere = "holds a reference to a place that does not exist"
	const expression = "must be a regular expression in RE2 syntax, which has no look-around, no back-references and at most 1,000 repetitions"
	for schema, fault := range map[string][2]string{
		`[]`:           {"body.schema", "must be a JSON object"},
		`true`:         {"body.schema", "must be a JSON object"},
		`null`:         {"body.schema", "must be a JSON object"},
		`{"a":`:        {"body.schema", "must be a JSON object"},
		`{} {}`:        {"body.schema", "must be a JSON object"},
		"{\"\xff\":1}": {"body.schema", "must be a JSON object"},
		`{"$schema":"http://json-schema.org/draft-07/schema#"}`: {"body.schema/$schema", "must be https://json-schema.org/draft/2020-12/schema"},
		`{"$schema":5}`:                                                   {"body.schema/$schema", "must be https://json-schema.org/draft/2020-12/schema"},
		`{"type":"nonsense"}`:                                             {"body.schema/type", `must be one of "array", "boolean", "integer", "null", "number", "object", "string", or must be of type array`},
		`{"properties":{"a":{"minLength":-1}}}`:                           {"body.schema/properties/a/minLength", "must be at least 0"},
		`{"properties":{"a/b":5}}`:                                        {"body.schema/properties/a~1b", "must be of type boolean or object"},
		`{"pattern":"(?=x)"}`:                                             {"body.schema/pattern", expression},
		`{"patternProperties":{"(":{}}}`:                                  {"body.schema/patternProperties/(", "does not have an allowed name: it " + expression},
		`{"$ref":"https://example.com/other.json"}`:                       {"body.schema", "must not refer to other documents"},
		`{"$ref":"file:///etc/passwd"}`:                                   {"body.schema", "must not refer to other documents"},
		`{"$ref":"other.json"}`:                                           {"body.schema", "must not refer to other documents"},
		`{"$ref":"#/$defs/none"}`:                                         {"body.schema", nowhere},
		`{"$ref":"#none"}`:                                                {"body.schema", nowhere},
		`{"$defs":{"a":{"$id":"x:y"},"b":{"$id":"x:y"}}}`:                 {"body.schema", "uses one $id twice"},
		`{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}`:             {"body.schema", "is not a JSON Schema of draft 2020-12"},
		`{"maximum":1e999}`:                                               {"body.schema/maximum", "is a number beyond the range of a double"},
		`{"title":"\u0000"}`:                                              {"body.schema/title", "must not hold NUL characters"},
		`{"x":` + strings.Repeat("[", 61) + strings.Repeat("]", 61) + "}": {"body.schema/x" + strings.Repeat("/0", 59), "is nested too deeply"},
		`{"enum":[` + strings.Repeat("1,", 5000) + `1]}`:                  {"body.schema/enum/4998", "holds too many values"},
		`{"anyOf":[` + strings.Repeat("true,", 1499) + `{}]}`:             {"body.schema/anyOf/1499", "holds too many objects and booleans"},
		`{"title":"` + strings.Repeat("x", 64<<10) + `"}`:                 {"body.schema", "must have at most 65536 bytes"},
	} {
		t.Run(fmt.Sprintf("%.40s", schema), func(t *testing.T) {
			_, err := entity.Definition{Name: "thing", Schema: json.RawMessage(schema)}.Decide(entity.Type{}, nil)
			refused(t, err, "invalid_schema", fault[0], fault[1])
		})
	}
}

// The largest schemas that are let through compile at once.
func BenchmarkDefineLargestSchema(b *testing.B) {
	schema := json.RawMessage(`{"anyOf":[` + strings.Repeat("true,", 1_498) + `true]}`)
	for b.Loop() {
		if _, err := (entity.Definition{Name: "thing", Schema: schema}).Decide(entity.Type{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
