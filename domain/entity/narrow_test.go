package entity_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// redefine is the decision on a new schema after an old one, each the text of JSON.
func redefine(old, next string, force bool) ([]domain.Fact, error) {
	return entity.Definition{Name: "thing", Title: "Thing", Schema: json.RawMessage(next), Force: force}.Decide(typeOf(old), nil)
}

// What a change makes possible to refuse is named; what it makes impossible is not.
func TestNarrowing(t *testing.T) {
	const number, text = `{"properties":{"a":{"type":"number"}}}`, `{"properties":{"a":{"type":"string"}}}`
	of := func(keywords string) string { return `{"properties":{"a":` + keywords + `}}` }
	for _, test := range []struct{ old, next, at string }{
		// Attributes are objects anyway, and words for people decide nothing.
		{`{}`, `{"type":"object","title":"T","$comment":"c"}`, ""},
		{`{}`, `{"type":["object","array"]}`, ""},
		{`{}`, `{"type":"array"}`, "/type"},
		{`{}`, `{"type":[]}`, "invalid"},
		{`{}`, `{"required":["a"]}`, "/required"},
		{`{"required":["a","b"]}`, `{"required":["b"]}`, ""},
		{`{}`, text, "/properties/a/type"},
		{text, `{}`, ""},
		{text, of(`{"type":["string","integer"],"minimum":5}`), ""},
		{text, number, "/properties/a/type"},
		{of(`{"type":"integer"}`), number, ""},
		{number, of(`{"type":"integer"}`), "/properties/a/type"},
		{of(`{"enum":[1,2]}`), of(`{"type":"integer"}`), ""},
		{of(`{"enum":[1,2.5,null,true,"x",[],{}]}`), of(`{"type":["number","null","boolean","string","array","object"]}`), ""},
		{of(`{"const":"x"}`), of(`{"enum":["x","y"]}`), ""},
		{of(`{"enum":["x","y"]}`), of(`{"enum":["x"]}`), "/properties/a/enum"},
		{text, of(`{"const":"x"}`), "/properties/a/const"},
		{of(`{"const":"x"}`), of(`{"const":"x","enum":["y"]}`), "/properties/a/enum"},
		{of(`false`), of(`{"type":"string"}`), ""},
		{text, of(`false`), "/properties/a"},
		{of(`{"type":"null","const":1}`), of(`false`), ""},
		{of(`{"minimum":1,"maximum":5}`), of(`{"minimum":0.5,"maximum":5}`), ""},
		{of(`{"minimum":1}`), of(`{"exclusiveMinimum":1}`), "/properties/a/exclusiveMinimum"},
		{of(`{"minimum":1.5,"maximum":2}`), of(`{"exclusiveMinimum":1,"exclusiveMaximum":3}`), ""},
		{of(`{"exclusiveMaximum":5}`), of(`{"maximum":5,"exclusiveMaximum":5}`), ""},
		{number, of(`{"type":"number","maximum":5}`), "/properties/a/maximum"},
		{of(`{"multipleOf":0.5}`), of(`{"multipleOf":0.25}`), ""},
		{of(`{"multipleOf":0.5}`), of(`{"multipleOf":1}`), "/properties/a/multipleOf"},
		{of(`{"minLength":2,"maxLength":5}`), of(`{"minLength":0,"maxLength":6}`), ""},
		{text, of(`{"type":"string","minLength":0}`), ""},
		{text, of(`{"type":"string","maxLength":9}`), "/properties/a/maxLength"},
		{of(`{"pattern":"^a","format":"email"}`), of(`{"pattern":"^a"}`), ""},
		{of(`{"pattern":"^a"}`), of(`{"pattern":"^b"}`), "/properties/a/pattern"},
		{of(`{"uniqueItems":true}`), of(`{"uniqueItems":false}`), ""},
		{of(`{"items":{"type":"integer"}}`), of(`{"items":{"type":"number"},"uniqueItems":true}`), "/properties/a/uniqueItems"},
		{of(`{"prefixItems":[{"type":"integer"},{"type":"null"}],"items":false}`), of(`{"prefixItems":[{"type":"number"}],"items":{"type":"null"}}`), ""},
		{of(`{"items":{"type":"integer"}}`), of(`{"prefixItems":[{"type":"integer"},{"type":"null"}]}`), "/properties/a/prefixItems/1/type"},
		{of(`{"prefixItems":[{"type":"integer"}],"items":false}`), of(`{"items":{"type":"null"}}`), "/properties/a/items/type"},
		{of(`{"contains":{"type":"null"},"minContains":2,"maxContains":3}`), of(`{"contains":{"type":"null"},"maxContains":3}`), ""},
		{of(`{"contains":{"type":"null"}}`), of(`{"contains":{"type":"null"},"maxContains":3}`), "/properties/a/contains"},
		{of(`{"contains":{"type":"integer"}}`), of(`{"contains":{"type":"number"},"minContains":1}`), "/properties/a/contains"},
		// A member that is not known takes what the others are held against.
		{`{"properties":{"a":{}},"additionalProperties":false}`, `{"properties":{"a":{},"b":{"type":"string"}},"additionalProperties":false}`, ""},
		{`{"additionalProperties":{"type":"integer"}}`, `{"properties":{"b":{"type":"number"}},"additionalProperties":{"type":"integer"}}`, ""},
		{`{"patternProperties":{"^x":{}},"additionalProperties":false}`, `{"properties":{"b":{"type":"number"}},"patternProperties":{"^x":{}},"additionalProperties":false}`, "/properties/b/type"},
		{text, `{"additionalProperties":false}`, "/additionalProperties"},
		{`{"properties":{"a":{"type":"integer"}},"additionalProperties":false}`, `{"additionalProperties":{"type":"number"}}`, ""},
		{`{"patternProperties":{"^a":{"type":"integer"}}}`, `{"patternProperties":{"^a":{"type":"number"}}}`, ""},
		{`{"patternProperties":{"^a":{"type":"integer"}}}`, `{"patternProperties":{"^b":{"type":"integer"}}}`, "/patternProperties/^b/type"},
		{`{"propertyNames":{"maxLength":3}}`, `{"propertyNames":{"maxLength":4}}`, ""},
		{`{}`, `{"propertyNames":{"maxLength":4}}`, "/propertyNames/maxLength"},
		{`{"dependentRequired":{"a":["b","c"]}}`, `{"dependentRequired":{"a":["b"]}}`, ""},
		{`{"required":["b"]}`, `{"dependentRequired":{"a":["b"],"c":["b"]},"required":["b"]}`, ""},
		{`{}`, `{"dependentRequired":{"a":["b"]}}`, "/dependentRequired"},
		{`{"dependentSchemas":{"a":{"required":["b","c"]}}}`, `{"dependentSchemas":{"a":{"required":["b"]}}}`, ""},
		{`{"required":["b"]}`, `{"dependentSchemas":{"a":{"required":["b"]}}}`, ""},
		{`{}`, `{"dependentSchemas":{"a/b":{"required":["b"]}}}`, "/dependentSchemas/a~1b/required"},
		{`{"required":["a"]}`, `{"allOf":[{"required":["a"]}]}`, ""},
		{`{"allOf":[{"required":["b"]},{"required":["a"]}]}`, `{"allOf":[{"required":["a"]}]}`, ""},
		{`{"allOf":[{"required":["b"]}]}`, `{"allOf":[{"required":["b"]},{"required":["a"]}]}`, "/allOf/1"},
		{text, of(`{"anyOf":[{"type":"integer"},{"type":"string"}]}`), ""},
		{of(`{"anyOf":[{"type":"integer"},{"type":"string"}]}`), of(`{"anyOf":[{"type":"string"},{"type":"number"}]}`), ""},
		{of(`{"oneOf":[{"type":"integer"},{"type":"string"}]}`), of(`{"anyOf":[{"type":"string"},{"type":"number"}]}`), ""},
		{of(`{"anyOf":[{"type":"integer"},{"type":"string"}]}`), of(`{"anyOf":[{"type":"string"}]}`), "/properties/a/anyOf"},
		{of(`{"oneOf":[{"type":"integer"}]}`), of(`{"oneOf":[{"type":"number"}]}`), "/properties/a/oneOf"},
		{of(`{"not":{"type":"integer"}}`), of(`{"not":{"type":"integer"},"title":"x"}`), ""},
		{of(`{"not":{"type":"integer"}}`), of(`{"not":{"type":"number"}}`), "/properties/a/not"},
		{of(`{"if":{"type":"integer"},"then":{"minimum":1}}`), of(`{"if":{"type":"integer"},"then":{"minimum":1},"title":"x"}`), ""},
		{of(`{"if":{"type":"integer"},"then":{"minimum":1}}`), of(`{"if":{"type":"integer"},"then":{"minimum":0}}`), "/properties/a/if"},
		{`{"unevaluatedProperties":false}`, `{"unevaluatedProperties":true}`, ""},
		{`{"unevaluatedProperties":false}`, `{"unevaluatedProperties":false,"required":[]}`, "/unevaluatedProperties"},
		{`{"x-order":1}`, `{"x-order":1,"title":"x"}`, ""},
		{`{"x-order":1}`, `{"x-order":2}`, "/x-order"},
		{`{"x-order":[1]}`, `{"x-order":{}}`, "/x-order"},
		{`{"x-order":1}`, `{"x-order":[]}`, "/x-order"},
		// References to definitions are followed, each once.
		{`{"properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"properties":{"b":{"$ref":"#/$defs/n"},"c":{"type":"integer"}}}}}`,
			`{"properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"properties":{"b":{"$ref":"#/$defs/n"},"c":{"type":"number"}}}}}`, ""},
		{`{"properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"number"}}}`, `{"properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"integer"}}}`, "/$defs/n/type"},
		{`{"properties":{"a":{"$ref":"#"}}}`, `{"properties":{"a":{"$ref":"#"}},"type":"object"}`, "/type"},
		{`{"properties":{"a":{"$ref":"#"}}}`, `{"properties":{"a":{"$ref":"#"}},"title":"x"}`, ""},
		{`{"properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{}}}`, `{"properties":{"a":{"$ref":"#/$defs/m"}},"$defs":{"m":{}}}`, "/properties/a/$ref"},
		{`{"properties":{"a":{"$ref":"#/properties/b"},"b":{}}}`, `{"properties":{"a":{"$ref":"#/properties/b"},"b":{"title":"x"}}}`, "/properties/a/$ref"},
		{`{"properties":{"a":{"$ref":"#/$defs/a%20b"}},"$defs":{"a b":{}}}`, `{"properties":{"a":{"$ref":"#/$defs/a%20b"}},"$defs":{"a b":{"title":"x"}}}`, "/properties/a/$ref"},
		{`{"not":{"$ref":"#/$defs/n"},"$defs":{"n":{"type":"array"}}}`, `{"not":{"$ref":"#/$defs/n"},"$defs":{"n":{"type":"array"}},"title":"x"}`, ""},
		{`{"not":{"$ref":"#/$defs/n"},"$defs":{"n":{"type":"array"}}}`, `{"not":{"$ref":"#/$defs/n"},"$defs":{"n":{"type":["array","object"]}}}`, "/not"},
		{`{"not":{"properties":{"b":{"$ref":"#"}},"required":["b"]}}`, `{"not":{"properties":{"b":{"$ref":"#"}},"required":["b"]},"title":"x"}`, "/not"},
		{`{"properties":{"$ref":{"type":"string"}},"not":{"properties":{"$ref":{}}}}`, `{"properties":{"$ref":{"type":"string"}},"not":{"properties":{"$ref":{}}},"title":"x"}`, "/not"},
		// Names that change what references mean make the whole incomparable.
		{`{"$id":"https://example.com/a","title":"x"}`, `{"$id":"https://example.com/a","title":"y"}`, "all"},
		{`{"allOf":[{"$anchor":"a"}]}`, `{}`, "all"},
	} {
		name := test.old + " to " + test.next
		facts, err := redefine(test.old, test.next, false)
		switch p := problem.Of(err); {
		case test.at == "" && (err != nil || len(facts) != 1):
			t.Errorf("%s: got %v", name, err)
		case test.at == "":
		case test.at == "invalid":
			if p == nil || p.Code != "invalid_schema" {
				t.Errorf("%s: got %v", name, err)
			}
		case p == nil || p.Code != "narrowing_change" || p.Kind != problem.Conflict:
			t.Errorf("%s: got %v, want a narrowing change", name, err)
		case test.at != "all" && (len(p.Fields) != 1 || p.Fields[0].Location != "body.schema"+test.at):
			t.Errorf("%s: named %v, want %s", name, p.Fields, test.at)
		}
		if test.at == "invalid" {
			continue
		}
		if facts, err = redefine(test.old, test.next, true); err != nil || len(facts) != 1 {
			t.Errorf("%s by force: %v", name, err)
		}
	}
}

// Schemas made to take long are given up, not compared for ever.
func TestNarrowingIsBounded(t *testing.T) {
	alternatives := func(last string) string {
		var all []string
		for i := range 700 {
			all = append(all, fmt.Sprintf(`{"const":%d}`, i))
		}
		return `{"anyOf":[` + strings.Join(append(all, last), ",") + `]}`
	}
	_, err := redefine(alternatives(`{"const":"x"}`), alternatives(`{"const":"y"}`), false)
	refused(t, err, "narrowing_change", "body.schema/anyOf", "may refuse what the schema allowed before")
	nested := func(word string) string {
		schema := `{"const":"` + word + `"}`
		for range 12 {
			schema = `{"allOf":[` + schema + `],"anyOf":[{"not":{}},` + schema + `]}`
		}
		return schema
	}
	if len(nested("x")) < 64<<10 {
		_, err = redefine(nested("x"), nested("y"), false)
		refused(t, err, "narrowing_change")
	}
	wide := func(word string) string {
		var all []string
		for i := range 1_200 {
			all = append(all, fmt.Sprintf(`"p%d":{"enum":[%s]}`, i, word))
		}
		return `{"properties":{` + strings.Join(all, ",") + `},"additionalProperties":{"enum":[1,2]}}`
	}
	if _, err := redefine(wide("1"), wide("1,2"), false); err != nil {
		t.Errorf("a large schema: %v", err)
	}
}

// What was recorded by a program that let through something else is our fault.
func TestNarrowingOfABrokenType(t *testing.T) {
	_, err := entity.Definition{Name: "thing"}.Decide(entity.Type{Name: "thing", Schema: json.RawMessage(`{`)}, nil)
	if err == nil || problem.Of(err) != nil {
		t.Errorf("got %v, want an internal error", err)
	}
}

// Repetitions of repetitions are small as text and large as programs.
func TestPatternsAreBounded(t *testing.T) {
	const message = "has patterns that are too large together: repeat less, or limit lengths by maxLength"
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf(`"p%d":{"pattern":"^x%d(a?){0,999}$"}`, i, i)
	}
	for _, schema := range []string{
		`{"properties":{` + strings.Join(many, ",") + `}}`,
		`{"patternProperties":{"^((a{0,30}b){0,30}c?)+(d{0,30}){0,30}[\\pL\\pN](x{0,999}){1}(xy{0,999}){1}(xyzabcdefghijklmnop){0,999}$":true}}`,
	} {
		_, err := entity.Definition{Name: "thing", Schema: json.RawMessage(schema)}.Decide(entity.Type{}, nil)
		refused(t, err, "invalid_schema", "body.schema", message)
	}
	for _, pattern := range []string{`^[\\p{L} .'-]{1,200}$`, `^\\d{3}-\\d{4}(-[A-Z]{1,10})*$`, `(a|b|cd)?x+`} {
		if _, err := (entity.Definition{Name: "thing", Schema: json.RawMessage(`{"properties":{"a":{"pattern":"` + pattern + `"}},"patternProperties":{"` + pattern + `":{}}}`)}).Decide(entity.Type{}, nil); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	// A long text against a large pattern is work, too.
	typ := typeOf(`{"properties":{"a":{"pattern":"^(a?){0,999}$"},"r":{"format":"regex"}}}`)
	_, err := entity.NewEntity{ID: id, Type: "thing", Attributes: attrs(`{"a":"` + strings.Repeat("a", 20_000) + `"}`)}.Decide(typ, entity.Key{})
	refused(t, err, "invalid_attributes", "body.attributes", "takes too much work to hold against the schema")
	for expression, valid := range map[string]bool{"^a$": true, "(x{0,999}){0,9}": false, "(": false} {
		_, err := entity.NewEntity{ID: id, Type: "thing", Attributes: attrs(`{"r":"` + expression + `"}`)}.Decide(typ, entity.Key{})
		if (err == nil) != valid {
			t.Errorf("%s: %v", expression, err)
		}
	}
}
