package entity

import (
	"encoding/json"
	"math/big"
	"slices"
)

// typeSet is a set of the types of JSON Schema; number is integer and fraction.
type typeSet uint8

const (
	typeNull typeSet = 1 << iota
	typeBoolean
	typeObject
	typeArray
	typeFraction
	typeInteger
	typeString

	typeNumber = typeFraction | typeInteger
	typeAny    = typeNull | typeBoolean | typeObject | typeArray | typeNumber | typeString
)

var typeNames = map[string]typeSet{
	"null": typeNull, "boolean": typeBoolean, "object": typeObject, "array": typeArray,
	"number": typeNumber, "integer": typeInteger, "string": typeString,
}

// appliesTo are the keywords that say nothing about values of other types.
var appliesTo = map[string]typeSet{
	"minimum": typeNumber, "maximum": typeNumber, "exclusiveMinimum": typeNumber, "exclusiveMaximum": typeNumber, "multipleOf": typeNumber,
	"minLength": typeString, "maxLength": typeString, "pattern": typeString,
	"minItems": typeArray, "maxItems": typeArray, "uniqueItems": typeArray, "items": typeArray, "prefixItems": typeArray, "contains": typeArray,
	"minProperties": typeObject, "maxProperties": typeObject, "required": typeObject, "properties": typeObject, "patternProperties": typeObject,
	"additionalProperties": typeObject, "propertyNames": typeObject, "dependentRequired": typeObject, "dependentSchemas": typeObject,
}

// pair is two subschemas for one place in the attributes, which holds a value of one of
// these types.
type pair struct {
	*comparison
	at        string
	old, next map[string]any
	types     typeSet
}

// judge says what is wrong with a keyword of the new subschema, "" when it refuses
// nothing that the old allows. What is wrong within its own subschemas is reported there.
func (p pair) judge(keyword string) string {
	switch keyword {
	case "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "$defs":
		return "" // says nothing about what is valid
	case "then", "else", "minContains", "maxContains":
		return "" // judged with if and contains
	case "type":
		return p.refuseUnless(p.types&^typesIn(p.next["type"]) == 0)
	case "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum":
		return p.refuseUnless(p.bounded(keyword))
	case "minLength", "minItems", "minProperties":
		return p.refuseUnless(atMost(p.next[keyword], p.old[keyword], zero))
	case "maxLength", "maxItems", "maxProperties":
		return p.refuseUnless(atMost(p.old[keyword], p.next[keyword], nil))
	case "multipleOf":
		return p.refuseUnless(isMultiple(p.old[keyword], p.next[keyword]))
	case "enum":
		return p.refuseUnless(p.subset(values(p.old), list(p.next[keyword])))
	case "const":
		return p.refuseUnless(p.subset(values(p.old), []any{p.next[keyword]}))
	case "pattern", "format":
		return p.refuseUnless(p.equal(p.old[keyword], p.next[keyword]))
	case "uniqueItems":
		return p.refuseUnless(p.next[keyword] == false || p.old[keyword] == true)
	case "required":
		return p.refuseUnless(p.subset(list(p.next[keyword]), list(p.old[keyword])))
	case "dependentRequired":
		return p.refuseUnless(p.dependentRequired())
	}
	return p.judgeApplicator(keyword)
}

// judgeApplicator is judge for the keywords that hold subschemas.
func (p pair) judgeApplicator(keyword string) string {
	switch keyword {
	case "$ref":
		reference, ok := p.next["$ref"].(string)
		if !ok || p.old["$ref"] != reference {
			return unknownNow
		}
		return p.reference(reference)
	case "properties", "patternProperties", "additionalProperties":
		p.properties(keyword)
	case "propertyNames":
		p.compare(p.at+"/propertyNames", orTrue(p.old, keyword), p.next[keyword], typeString)
	case "dependentSchemas":
		for _, name := range sortedNames(object(p.next[keyword])) {
			p.compare(p.at+"/dependentSchemas/"+escapePointer(name), p.dependent(name), object(p.next[keyword])[name], typeObject)
		}
	case "prefixItems", "items":
		p.items(keyword)
	case "contains":
		return p.refuseUnless(p.contains())
	case "allOf":
		for i, schema := range list(p.next[keyword]) {
			p.allOf(i, schema)
		}
	case "anyOf":
		return p.refuseUnless(p.anyOf())
	case "oneOf", "not":
		return p.refuseUnless(p.keeps(keyword))
	case "if":
		return p.refuseUnless(p.keeps("if") && p.keeps("then") && p.keeps("else"))
	default:
		// unevaluatedProperties and unevaluatedItems depend on all that is beside them; the
		// others are not known, and what does not change then does no harm.
		if keyword == "unevaluatedProperties" || keyword == "unevaluatedItems" {
			if p.next[keyword] == true {
				return ""
			}
			return unknownNow
		}
		if !p.keeps(keyword) {
			return unknownNow
		}
	}
	return ""
}

func (pair) refuseUnless(proven bool) string {
	if proven {
		return ""
	}
	return mayRefuse
}

// keeps reports whether a keyword has stayed as it was.
func (p pair) keeps(keyword string) bool {
	old, was := p.old[keyword]
	next, is := p.next[keyword]
	return was == is && p.same(old, next)
}

// typesIn are the types that the keyword type names, all without it.
func typesIn(value any) (types typeSet) {
	switch v := value.(type) {
	case string:
		return typeNames[v]
	case []any:
		for _, name := range v {
			text, _ := name.(string)
			types |= typeNames[text]
		}
		return types
	}
	return typeAny
}

// typesOf are the types that a subschema allows.
func typesOf(schema map[string]any) typeSet {
	types := typesIn(schema["type"])
	if allowed := values(schema); allowed != nil {
		var found typeSet
		for _, value := range allowed {
			found |= typeOf(value)
		}
		types &= found
	}
	return types
}

func typeOf(value any) typeSet {
	switch value.(type) {
	case nil:
		return typeNull
	case bool:
		return typeBoolean
	case string:
		return typeString
	case []any:
		return typeArray
	case map[string]any:
		return typeObject
	}
	if n := number(value); n != nil && n.IsInt() {
		return typeInteger
	}
	return typeFraction
}

// values are those that a subschema lists, of which it may allow fewer; nil when it lists
// none.
func values(schema map[string]any) []any {
	if value, found := schema["const"]; found {
		return []any{value}
	}
	if listed, found := schema["enum"].([]any); found {
		return listed
	}
	return nil
}

// subset reports whether all of some, which must not be nil, are among others.
func (c *comparison) subset(some, others []any) bool {
	c.left -= len(some) + len(others)
	known := make(map[string]bool, len(others))
	for _, other := range others {
		known[string(encode(other))] = true
	}
	return some != nil && !slices.ContainsFunc(some, func(one any) bool { return !known[string(encode(one))] })
}

var zero = new(big.Rat)

// number is a number's exact value, nil for what is none.
func number(value any) *big.Rat {
	text, ok := value.(json.Number)
	if !ok {
		return nil
	}
	exact, _ := new(big.Rat).SetString(text.String())
	return exact
}

// atMost reports whether low is at most high; a bound that is absent is otherwise, and
// where that is nil nothing is proven.
func atMost(low, high any, otherwise *big.Rat) bool {
	a, b := number(low), number(high)
	if a == nil {
		a = otherwise
	}
	if b == nil {
		b = otherwise
	}
	return a != nil && b != nil && a.Cmp(b) <= 0
}

// bounded reports whether one of the old bounds implies the new one.
func (p pair) bounded(keyword string) bool {
	sign, inclusive, exclusive := 1, "minimum", "exclusiveMinimum"
	if keyword == "maximum" || keyword == "exclusiveMaximum" {
		sign, inclusive, exclusive = -1, "maximum", "exclusiveMaximum"
	}
	bound := number(p.next[keyword])
	implied := func(by string, closer int) bool {
		old := number(p.old[by])
		return old != nil && bound != nil && sign*old.Cmp(bound) >= closer
	}
	if keyword == exclusive {
		return implied(exclusive, 0) || implied(inclusive, 1)
	}
	return implied(exclusive, 0) || implied(inclusive, 0)
}

// isMultiple reports whether a is a multiple of b.
func isMultiple(a, b any) bool {
	x, y := number(a), number(b)
	return x != nil && y != nil && y.Sign() != 0 && new(big.Rat).Quo(x, y).IsInt()
}

func (p pair) dependentRequired() bool {
	old, required := object(p.old["dependentRequired"]), list(p.old["required"])
	for name, needed := range object(p.next["dependentRequired"]) {
		if !p.subset(list(needed), slices.Concat(list(old[name]), required)) {
			return false
		}
	}
	return true
}

// dependent is what an object with this member follows under the old subschema.
func (p pair) dependent(name string) any {
	if schema, found := object(p.old["dependentSchemas"])[name]; found {
		return schema
	}
	return p.old
}

// member is what the old subschema asks of a member of this name, or less.
func (p pair) member(name string) any {
	if schema, found := object(p.old["properties"])[name]; found {
		return schema
	}
	if len(object(p.old["patternProperties"])) > 0 {
		return true
	}
	return orTrue(p.old, "additionalProperties")
}

// properties compares one of the three keywords that share an object's members.
func (p pair) properties(keyword string) {
	at, next := p.at+"/"+keyword, p.next[keyword]
	switch keyword {
	case "properties":
		for _, name := range sortedNames(object(next)) {
			p.compare(at+"/"+escapePointer(name), p.member(name), object(next)[name], typeAny)
		}
	case "patternProperties":
		for _, pattern := range sortedNames(object(next)) {
			p.compare(at+"/"+escapePointer(pattern), orTrue(object(p.old[keyword]), pattern), object(next)[pattern], typeAny)
		}
	default:
		// It is about members that the other two do not know any more, too.
		for _, known := range []string{"properties", "patternProperties"} {
			for _, name := range sortedNames(object(p.old[known])) {
				if _, still := object(p.next[known])[name]; !still {
					p.compare(at, object(p.old[known])[name], next, typeAny)
				}
			}
		}
		p.compare(at, orTrue(p.old, keyword), next, typeAny)
	}
}

// items compares prefixItems, or items, which is about the places after those.
func (p pair) items(keyword string) {
	before, after := list(p.old["prefixItems"]), list(p.next["prefixItems"])
	if keyword == "items" {
		for _, schema := range before[min(len(after), len(before)):] {
			p.compare(p.at+"/items", schema, p.next["items"], typeAny)
		}
		p.compare(p.at+"/items", orTrue(p.old, "items"), p.next["items"], typeAny)
		return
	}
	for i, schema := range after {
		old := orTrue(p.old, "items")
		if i < len(before) {
			old = before[i]
		}
		p.compare(p.at+"/prefixItems"+index(i), old, schema, typeAny)
	}
}

// contains: the same kind of items, and bounds that are no closer. Without minContains
// one is needed.
func (p pair) contains() bool {
	one := big.NewRat(1, 1)
	return p.keeps("contains") && atMost(p.next["minContains"], p.old["minContains"], one) &&
		(p.next["maxContains"] == nil || atMost(p.old["maxContains"], p.next["maxContains"], nil))
}

// allOf: each part follows from the old subschema as a whole, or from a part of it.
func (p pair) allOf(i int, schema any) {
	old := list(p.old["allOf"])
	if p.accepts(p.old, schema, p.types) || slices.ContainsFunc(old, func(part any) bool { return p.accepts(part, schema, p.types) }) {
		return
	}
	p.report(p.at+"/allOf"+index(i), mayRefuse)
}

// anyOf: the old subschema as a whole follows one alternative, or each of its own
// alternatives does.
func (p pair) anyOf() bool {
	allowed := func(old any) bool {
		return slices.ContainsFunc(list(p.next["anyOf"]), func(schema any) bool { return p.accepts(old, schema, p.types) })
	}
	if allowed(p.old) {
		return true
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		if old := list(p.old[keyword]); len(old) > 0 && !slices.ContainsFunc(old, func(part any) bool { return !allowed(part) }) {
			return true
		}
	}
	return false
}
