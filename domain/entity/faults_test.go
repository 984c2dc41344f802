package entity_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Every fault names its place and what the schema asks, never the value.
func TestFaultsOfAttributes(t *testing.T) {
	const secret = "s3cret"
	for _, test := range []struct{ schema, attributes, location, message string }{
		{`{"type":"object","required":["name"]}`, `{}`, "/name", "is required"},
		{`{"properties":{"a":{"required":["x/y"]}}}`, `{"a":{}}`, "/a/x~1y", "is required"},
		{`{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, "/b", `is required beside "a"`},
		{`{"additionalProperties":false}`, `{"a":"s3cret"}`, "/a", "is not an attribute that the schema knows"},
		{`{"propertyNames":{"maxLength":1}}`, `{"ab":"s3cret"}`, "/ab", "does not have an allowed name: it must have at most 1 characters"},
		{`{"properties":{"a":{"type":["string","null"]}}}`, `{"a":5}`, "/a", "must be of type null or string"},
		{`{"properties":{"a":{"format":"email"}}}`, `{"a":"s3cret"}`, "/a", "must be a valid email"},
		{`{"properties":{"a":{"format":"date-time"}}}`, `{"a":"s3cret"}`, "/a", "must be a valid date-time"},
		{`{"properties":{"a":{"pattern":"^x"}}}`, `{"a":"s3cret"}`, "/a", "must match the pattern ^x"},
		{`{"properties":{"a":false}}`, `{"a":"s3cret"}`, "/a", "is not allowed"},
		{`{"properties":{"a":{"minLength":9}}}`, `{"a":"s3cret"}`, "/a", "must have at least 9 characters"},
		{`{"properties":{"a":{"maxLength":2}}}`, `{"a":"s3cret"}`, "/a", "must have at most 2 characters"},
		{`{"properties":{"a":{"minItems":2}}}`, `{"a":["s3cret"]}`, "/a", "must have at least 2 items"},
		{`{"properties":{"a":{"maxItems":0}}}`, `{"a":["s3cret"]}`, "/a", "must have at most 0 items"},
		{`{"properties":{"a":{"minProperties":1}}}`, `{"a":{}}`, "/a", "must have at least 1 members"},
		{`{"properties":{"a":{"maxProperties":0}}}`, `{"a":{"b":"s3cret"}}`, "/a", "must have at most 0 members"},
		{`{"properties":{"a":{"uniqueItems":true}}}`, `{"a":["s3cret","s3cret"]}`, "/a", "must not hold an item twice"},
		{`{"properties":{"a":{"minimum":1.5}}}`, `{"a":1}`, "/a", "must be at least 1.5"},
		{`{"properties":{"a":{"maximum":1}}}`, `{"a":2}`, "/a", "must be at most 1"},
		{`{"properties":{"a":{"exclusiveMinimum":1}}}`, `{"a":1}`, "/a", "must be more than 1"},
		{`{"properties":{"a":{"exclusiveMaximum":1}}}`, `{"a":1.0}`, "/a", "must be less than 1"},
		{`{"properties":{"a":{"multipleOf":0.01}}}`, `{"a":1.005}`, "/a", "must be a multiple of 0.01"},
		{`{"propertyNames":false}`, `{"ab":"s3cret"}`, "/ab", "does not have an allowed name: it is not allowed"},
		{`{"properties":{"a":{"enum":["x",{"b":[1.50,null]}]}}}`, `{"a":"s3cret"}`, "/a", `must be one of "x", {"b":[1.50,null]}`},
		{`{"properties":{"a":{"enum":[1,2,3,4,5,6,7,8,9,10,11]}}}`, `{"a":"s3cret"}`, "/a", "must be one of the values in the schema's enum"},
		{`{"properties":{"a":{"enum":["` + strings.Repeat("x", 200) + `"]}}}`, `{"a":"s3cret"}`, "/a", "must be one of the values in the schema's enum"},
		{`{"properties":{"a":{"const":1}}}`, `{"a":"s3cret"}`, "/a", "must be 1"},
		{`{"properties":{"a":{"const":"` + strings.Repeat("x", 200) + `"}}}`, `{"a":"s3cret"}`, "/a", "must be the schema's const"},
		{`{"properties":{"a":{"format":"regex"}}}`, `{"a":"(s3cret"}`, "/a", "must be a regular expression in RE2 syntax, which has no look-around, no back-references and at most 1,000 repetitions"},
		{`{"properties":{"a":{"anyOf":[{"type":"null"},{"type":"number"}]}}}`, `{"a":"s3cret"}`, "/a", "must be of type null, or must be of type number"},
		{`{"properties":{"a":{"oneOf":[true,true]}}}`, `{"a":"s3cret"}`, "/a", "matches several alternatives of the schema's oneOf, and must match exactly one"},
		// As far from one alternative as from the other.
		{`{"anyOf":[{"required":["b"]},{"required":["c"]}]}`, `{"a":"s3cret"}`, "", "must match at least one alternative of the schema's anyOf"},
		{`{"properties":{"a":{"not":{"type":"string"}}}}`, `{"a":"s3cret"}`, "/a", "must not match the schema's not"},
		{`{"properties":{"a":{"contains":{"type":"number"}}}}`, `{"a":["s3cret"]}`, "/a", "does not hold as many items of the kind that the schema's contains asks for"},
		{`{"properties":{"a":{"allOf":[{"$ref":"#/$defs/t"}]}},"$defs":{"t":{"type":"null"}}}`, `{"a":"s3cret"}`, "/a", "must be of type null"},
		{`{"properties":{"a":{"items":{"properties":{"b":{"type":"null"}}}}}}`, `{"a":[{},{"b":"s3cret"}]}`, "/a/1/b", "must be of type null"},
		{`{"$ref":"#"}`, `{}`, "", "does not match the schema"},
		{`{"unevaluatedProperties":false}`, `{"a":"s3cret"}`, "/a", "is not allowed"},
	} {
		_, err := entity.NewEntity{ID: id, Type: "thing", Attributes: attrs(test.attributes)}.Decide(typeOf(test.schema), entity.Key{})
		p := problem.Of(err)
		if p == nil || p.Code != "invalid_attributes" {
			t.Errorf("%s: got %v", test.schema, err)
			continue
		}
		want := problem.Field{Location: "body.attributes" + test.location, Message: test.message}
		if len(p.Fields) != 1 || p.Fields[0] != want {
			t.Errorf("%s: got %v, want %v", test.schema, p.Fields, want)
		}
		if strings.Contains(text(p), secret) {
			t.Errorf("%s: the answer repeats the value: %s", test.schema, text(p))
		}
	}
}

// What follows no alternative is held against the one that it is closest to.
func TestTheClosestAlternativeIsNamed(t *testing.T) {
	schema := `{"oneOf":[
		{"properties":{"kind":{"const":"card"},"number":{"type":"string"}},"required":["kind","number"]},
		{"properties":{"kind":{"const":"bank"},"iban":{"anyOf":[{"pattern":"^DE"},{"type":"null"}]}},"required":["kind","iban"]}]}`
	whole := problem.Field{Location: "body.attributes", Message: "must match exactly one alternative of the schema's oneOf"}
	for attributes, want := range map[string][]problem.Field{
		`{"kind":"card","number":7}`:      {whole, {Location: "body.attributes/number", Message: "must be of type string"}},
		`{"kind":"bank"}`:                 {whole, {Location: "body.attributes/iban", Message: "is required"}},
		`{"kind":"bank","iban":"s3cret"}`: {whole, {Location: "body.attributes/iban", Message: "must match the pattern ^DE, or must be of type null"}},
		`{"kind":"cash"}`:                 {whole},
		`{}`:                              {whole},
	} {
		_, err := entity.NewEntity{ID: id, Type: "thing", Attributes: attrs(attributes)}.Decide(typeOf(schema), entity.Key{})
		if p := problem.Of(err); p == nil || !slices.Equal(p.Fields, want) {
			t.Errorf("%s: %v, want %v", attributes, err, want)
		}
	}
}

// Small schemas that would validate for ages are cut off.
func TestValidationIsBounded(t *testing.T) {
	doubling := func(next string) string {
		defs := ""
		for i := range 40 {
			defs += fmt.Sprintf(`"d%d":{%s},`, i, strings.ReplaceAll(next, "NEXT", fmt.Sprintf("#/$defs/d%d", i+1)))
		}
		return `{"$ref":"#/$defs/d0","$defs":{` + defs + `"d40":{"type":"object"}}}`
	}
	deep := strings.Repeat(`{"a":`, 30) + "{}" + strings.Repeat("}", 30)
	names := make([]string, 2_000)
	for i := range names {
		names[i] = fmt.Sprintf(`"n%d":1`, i)
	}
	for name, test := range map[string][2]string{
		"references":  {doubling(`"allOf":[{"$ref":"NEXT"},{"$ref":"NEXT"}]`), `{}`},
		"recursion":   {`{"allOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}`, deep},
		"enumeration": {`{"properties":{"a":{"items":{"not":{"enum":[` + strings.Repeat(`"x",`, 1_000) + `"y"]},"anyOf":[{"enum":[` + strings.Repeat(`1,`, 1_000) + `2]}]}}}}`, `{"a":[` + strings.Repeat("2,", 3_000) + `2]}`},
		"patterns":    {`{"properties":{"a":{"patternProperties":{` + patterns(300) + `}}}}`, `{"a":{` + strings.Join(names, ",") + `}}`},
	} {
		t.Run(name, func(t *testing.T) {
			typ := typeOf(test[0])
			_, err := entity.NewEntity{ID: id, Type: "thing", Attributes: attrs(test[1])}.Decide(typ, entity.Key{})
			refused(t, err, "invalid_attributes", "body.attributes", "takes too much work to hold against the schema")
			// The next validation has its full measure again.
			if name != "references" {
				if _, err := (entity.NewEntity{ID: id, Type: "thing"}).Decide(typ, entity.Key{}); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
}

func patterns(count int) string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf(`"^z%d$":true`, i)
	}
	return strings.Join(list, ",")
}
