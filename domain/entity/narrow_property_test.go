package entity

import (
	"encoding/json"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// Names, texts and numbers are few, so that schemas and values meet.
var (
	someName   = rapid.SampledFrom([]string{"a", "b", "c"})
	someText   = rapid.SampledFrom([]any{"", "a", "ab", "b"})
	someNumber = rapid.SampledFrom([]any{json.Number("0"), json.Number("1"), json.Number("2"), json.Number("1.5"), json.Number("1.0")})
	someScalar = rapid.OneOf(someText, someNumber, rapid.SampledFrom([]any{nil, true, false}))
	someCount  = rapid.SampledFrom([]any{json.Number("0"), json.Number("1"), json.Number("2")})
)

func someValue(depth int) *rapid.Generator[any] {
	if depth == 0 {
		return someScalar
	}
	return rapid.OneOf(someScalar,
		rapid.Map(rapid.SliceOfN(someValue(depth-1), 0, 3), func(items []any) any { return items }),
		rapid.Map(someObject(depth-1), func(members map[string]any) any { return members }))
}

func someObject(depth int) *rapid.Generator[map[string]any] {
	return rapid.MapOfN(someName, someValue(depth), 0, 3)
}

// keywords draw the value of each, with subschemas of the depth below.
func keywords(depth int) map[string]*rapid.Generator[any] {
	asAny := func(names []string) any {
		items := []any{}
		for _, name := range names {
			items = append(items, name)
		}
		return items
	}
	types := []string{"null", "boolean", "object", "array", "number", "integer", "string"}
	all := map[string]*rapid.Generator[any]{
		"type":    rapid.OneOf(rapid.Map(rapid.SampledFrom(types), func(name string) any { return name }), rapid.Map(rapid.SliceOfNDistinct(rapid.SampledFrom(types), 1, 4, rapid.ID), asAny)),
		"enum":    rapid.Map(rapid.SliceOfN(someScalar, 1, 4), func(items []any) any { return items }),
		"const":   someScalar,
		"minimum": someNumber, "maximum": someNumber, "exclusiveMinimum": someNumber, "exclusiveMaximum": someNumber,
		"multipleOf": rapid.SampledFrom([]any{json.Number("1"), json.Number("0.5"), json.Number("2")}),
		"minLength":  someCount, "maxLength": someCount, "minItems": someCount, "maxItems": someCount, "minProperties": someCount, "maxProperties": someCount,
		"pattern": rapid.SampledFrom([]any{"^a", "b$"}), "format": rapid.SampledFrom([]any{"date", "email"}),
		"uniqueItems": rapid.SampledFrom([]any{true, false}), "title": someText, "x-unknown": someText,
		"required":          rapid.Map(rapid.SliceOfNDistinct(someName, 0, 2, rapid.ID), asAny),
		"dependentRequired": rapid.Map(rapid.MapOfN(someName, rapid.Map(rapid.SliceOfNDistinct(someName, 0, 2, rapid.ID), asAny), 1, 2), func(m map[string]any) any { return m }),
		"$ref":              rapid.SampledFrom([]any{"#/$defs/a", "#/$defs/b"}),
		"minContains":       someCount, "maxContains": someCount,
	}
	if depth == 0 {
		return all
	}
	one := someSchema(depth - 1)
	several := rapid.Map(rapid.SliceOfN(one, 1, 3), func(items []any) any { return items })
	byName := rapid.Map(rapid.MapOfN(someName, one, 1, 3), func(m map[string]any) any { return m })
	maps.Copy(all, map[string]*rapid.Generator[any]{
		"properties": byName, "dependentSchemas": byName, "additionalProperties": one, "propertyNames": one, "unevaluatedProperties": one,
		"patternProperties": rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"^a", "b$", "[ab]"}), one, 1, 2), func(m map[string]any) any { return m }),
		"items":             one, "prefixItems": several, "contains": one, "unevaluatedItems": one,
		"allOf": several, "anyOf": several, "oneOf": several, "not": one, "if": one, "then": one, "else": one,
	})
	return all
}

// families are keywords that have to do with each other; those of one make schemas that
// differ in what the comparison has to look at.
var families = [][]string{
	{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "type", "enum", "const"},
	{"minLength", "maxLength", "pattern", "format", "type", "enum", "const"},
	{"properties", "patternProperties", "additionalProperties", "unevaluatedProperties"},
	{"required", "dependentRequired", "dependentSchemas", "propertyNames", "minProperties", "maxProperties", "properties", "type"},
	{"items", "prefixItems", "type", "unevaluatedItems"},
	{"contains", "minContains", "maxContains", "uniqueItems", "minItems", "maxItems"},
	{"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref"},
	{"type", "required", "properties", "items", "anyOf", "$ref", "title", "x-unknown"},
}

// someFamily draws the keywords that a schema is made of, and that have subschemas only
// where there is depth for them.
func someFamily(t *rapid.T, depth int) (names []string, all map[string]*rapid.Generator[any]) {
	all = keywords(depth)
	for _, name := range rapid.SampledFrom(families).Draw(t, "family") {
		if _, there := all[name]; there {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{"type"}
	}
	return names, all
}

func someSchema(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			return rapid.Bool().Draw(t, "boolean")
		}
		schema := map[string]any{}
		names, all := someFamily(t, depth)
		for range rapid.IntRange(0, 3).Draw(t, "keywords") {
			name := rapid.SampledFrom(names).Draw(t, "keyword")
			schema[name] = all[name].Draw(t, name)
		}
		return schema
	})
}

// changed draws a schema that is like another but for a few places.
func changed(t *rapid.T, value any, depth int) any {
	switch v := value.(type) {
	case map[string]any:
		all, next := keywords(max(depth-1, 0)), map[string]any{}
		for _, name := range sortedNames(v) {
			of, known := all[name]
			switch change := rapid.IntRange(0, 15).Draw(t, "change"); {
			case change == 0: // dropped
			case change == 1 && known:
				next[name] = of.Draw(t, name)
			default:
				next[name] = changed(t, v[name], depth-1)
			}
		}
		for _, family := range families {
			for _, name := range family {
				if _, with := v[name]; with && rapid.IntRange(0, 11).Draw(t, "more") == 0 {
					if name = rapid.SampledFrom(family).Draw(t, "keyword"); all[name] != nil {
						next[name] = all[name].Draw(t, name)
					}
				}
			}
		}
		return next
	case []any:
		items := []any{}
		for _, item := range v {
			if rapid.IntRange(0, 11).Draw(t, "keep") > 0 {
				items = append(items, changed(t, item, depth-1))
			}
		}
		if len(v) > 0 && rapid.IntRange(0, 5).Draw(t, "repeat") == 0 {
			items = append(items, v[0])
		}
		return items
	case json.Number:
		if rapid.IntRange(0, 5).Draw(t, "number") == 0 {
			return someNumber.Draw(t, "another")
		}
	case string:
		if _, isType := typeNames[v]; isType && rapid.IntRange(0, 3).Draw(t, "type") == 0 {
			return rapid.SampledFrom(sortedNames(typeNames)).Draw(t, "another")
		}
	}
	return value
}

func someRoot(t *rapid.T, label string) map[string]any {
	var next map[string]any
	if rapid.IntRange(0, 2).Draw(t, label+" kind") == 0 {
		next = maps.Clone(object(someSchema(3).Draw(t, label)))
	} else { // most of what there is to compare lies below one name
		next = map[string]any{"properties": map[string]any{"a": someSchema(2).Draw(t, label)}}
	}
	if next == nil {
		next = map[string]any{}
	}
	next["$defs"] = map[string]any{"a": someSchema(1).Draw(t, label+" a"), "b": someSchema(1).Draw(t, label+" b")}
	return next
}

// What the comparison lets through as not narrowing refuses nothing that was allowed.
func TestWhatIsNotNarrowingRefusesNothing(t *testing.T) {
	compared, held := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		old := someRoot(t, "old")
		next, isObject := changed(t, old, 4).(map[string]any)
		before, err := compile(encode(old))
		if err != nil || !isObject {
			return
		}
		after, err := compile(encode(next))
		if err != nil || len(narrowing(old, next)) > 0 {
			return
		}
		if (&comparison{left: maxCompared}).equal(old, next) {
			return
		}
		compared++
		for range 30 {
			attributes := map[string]any{"a": someValue(2).Draw(t, "value")}
			if rapid.Bool().Draw(t, "any") {
				attributes = someObject(3).Draw(t, "attributes")
			}
			if len(before.validate(attributes)) > 0 {
				continue
			}
			held++
			if faults := after.validate(attributes); len(faults) > 0 {
				t.Fatalf("%s allows\n%s\nbut %s does not: %v", encode(old), encode(attributes), encode(next), faults)
			}
		}
	})
	if compared < 10 || held < 50 {
		t.Fatalf("only %d comparisons and %d values have tested anything", compared, held)
	}
}

// What checkSchema does not let through is not taken for equal either.
func TestNarrowingOfWhatCannotBe(t *testing.T) {
	dangling := map[string]any{"$ref": "#/$defs/a"}
	if fields := narrowing(map[string]any{"$ref": "#/$defs/a", "title": "x"}, dangling); len(fields) != 1 {
		t.Errorf("a reference to nowhere: %v", fields)
	}
	if (&comparison{}).equal(true, true) {
		t.Error("equal without having looked")
	}
}

// The comparison takes any two schemas and comes to an end; the same one is not narrower.
func FuzzNarrowing(f *testing.F) {
	f.Add([]byte(`{"properties":{"a":{"type":"string"}}}`), []byte(`{"anyOf":[{"$ref":"#"}],"$defs":{"a":{"$ref":"#/$defs/a"}}}`))
	f.Add([]byte(`{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#"}}}`), []byte(`{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#"}},"not":{}}`))
	f.Fuzz(func(t *testing.T, old, next []byte) {
		if checkSchema(old) != nil || checkSchema(next) != nil {
			return
		}
		before, _ := decode(old)
		after, _ := decode(next)
		narrowing(before, after)
		if fields := narrowing(before, before); len(fields) > 0 {
			t.Fatalf("%s is narrower than itself: %v", old, fields)
		}
	})
}
