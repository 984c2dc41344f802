package entity

import (
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxCompared bounds one comparison, in values looked at, so that alternatives within
	// alternatives end: some 10 ms of the command loop. A schema holds 5,000 values at most.
	maxCompared = 500_000
	// pairCost is what a pair of subschemas costs beside the values in it.
	pairCost = 50
)

const (
	mayRefuse  = "may refuse what the schema allowed before"
	unknownNow = "cannot be compared with the schema of before, so it counts as narrowing"
)

// narrowing lists where a new schema could refuse attributes that the old one allows;
// when it finds nowhere, whatever is valid under the old is valid under the new. It
// compares the two keyword by keyword and proves, or gives up: what it cannot prove
// counts as narrowing. Both are recorded schemas, or ones that checkSchema let through.
func narrowing(old, next any) []problem.Field {
	c := &comparison{left: maxCompared, compared: map[string]bool{}}
	c.old, c.next = object(old), object(next)
	if c.equal(old, next) {
		return nil
	}
	if uncomparable(old) || uncomparable(next) {
		return []problem.Field{{Location: schemaLocation, Message: "uses $id, an anchor or a dynamic reference: it " + unknownNow}}
	}
	// Definitions mean the same in both when they are the same and refer to nothing else.
	definitions := object(c.old["$defs"])
	c.sameDefinitions = c.equal(definitions, object(c.next["$defs"])) && refersTo(definitions, isDefinition)
	c.compare("", old, next, typeObject)
	return ordered(c.fields)
}

// comparison is one in progress.
type comparison struct {
	old, next map[string]any
	// compared are the definitions that were, or are just now, compared; "" is the root.
	// One that is under way is taken to be no narrower: if it is, that is found there.
	compared        map[string]bool
	sameDefinitions bool
	left            int
	fields          []problem.Field
}

func (c *comparison) report(at, message string) {
	c.fields = append(c.fields, problem.Field{Location: shortened(schemaLocation + at), Message: message})
}

// compare reports where next could refuse a value of these types that old allows.
func (c *comparison) compare(at string, old, next any, types typeSet) {
	if c.left -= pairCost; c.left < 0 {
		c.report(at, unknownNow)
		return
	}
	if next == true || old == false || c.same(old, next) {
		return
	}
	if next == false {
		if typesOf(object(old))&types != 0 {
			c.report(at, mayRefuse)
		}
		return
	}
	pair := pair{comparison: c, at: at, old: object(old), next: object(next)}
	pair.types = typesOf(pair.old) & types
	for _, keyword := range sortedNames(pair.next) {
		if of, known := appliesTo[keyword]; known && of&pair.types == 0 {
			continue // it is about values of other types
		}
		if message := pair.judge(keyword); message != "" {
			c.report(at+"/"+escapePointer(keyword), message)
		}
	}
}

// accepts reports whether next allows all values of these types that old allows. A try
// that fails leaves no trace.
func (c *comparison) accepts(old, next any, types typeSet) bool {
	if c.left < 0 {
		return false
	}
	fields, compared := c.fields, maps.Clone(c.compared)
	c.fields = nil
	c.compare("", old, next, types)
	accepted := len(c.fields) == 0
	if c.fields = fields; !accepted {
		c.compared = compared
	}
	return accepted
}

// same reports whether two subschemas are the same and mean the same.
func (c *comparison) same(old, next any) bool {
	if !c.equal(old, next) {
		return false
	}
	return refersTo(next, func(string) bool { return false }) || c.sameDefinitions && refersTo(next, isDefinition)
}

// equal reports whether two values are the same but for the order of names; numbers are
// as they are written.
func (c *comparison) equal(a, b any) bool {
	if c.left--; c.left < 0 {
		return false
	}
	switch x := a.(type) {
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, c.equal)
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, c.equal)
	}
	if _, isList := b.([]any); isList {
		return false
	}
	_, isObject := b.(map[string]any)
	return !isObject && a == b
}

// reference compares what a reference leads to, once.
func (c *comparison) reference(reference string) string {
	if reference == "#" {
		return c.definition("", "", c.old, c.next)
	}
	if !isDefinition(reference) {
		return unknownNow
	}
	name := reference[len(definitionsPrefix):]
	old, found := object(c.old["$defs"])[name]
	next, still := object(c.next["$defs"])[name]
	if !found || !still {
		return unknownNow
	}
	return c.definition(name, "/$defs/"+name, old, next)
}

func (c *comparison) definition(name, at string, old, next any) string {
	if !c.compared[name] {
		c.compared[name] = true
		c.compare(at, old, next, typeAny)
	}
	return ""
}

const definitionsPrefix = "#/$defs/"

var definitionReference = regexp.MustCompile(`^#/\$defs/[A-Za-z0-9_.-]+$`)

// isDefinition reports whether a reference is to a definition of the document. Names
// that need escapes are not understood.
func isDefinition(reference string) bool { return definitionReference.MatchString(reference) }

// refersTo reports whether all references within a value are like this. A property may
// have the name of a keyword; then this errs on the safe side.
func refersTo(value any, like func(string) bool) bool {
	switch v := value.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !refersTo(item, like) })
	case map[string]any:
		for name, member := range v {
			if name == "$ref" {
				if reference, ok := member.(string); !ok || !like(reference) {
					return false
				}
			}
			if !refersTo(member, like) {
				return false
			}
		}
	}
	return true
}

// uncomparable reports whether a schema holds names that make references mean
// something else.
func uncomparable(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, uncomparable)
	case map[string]any:
		for name, member := range v {
			switch name {
			case "$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary":
				return true
			}
			if uncomparable(member) {
				return true
			}
		}
	}
	return false
}

// object is a value's members, none for what is no object. A schema that is true has
// the same meaning as one without keywords.
func object(value any) map[string]any {
	members, _ := value.(map[string]any)
	return members
}

func list(value any) []any {
	items, _ := value.([]any)
	return items
}

// orTrue is a subschema that may be absent.
func orTrue(members map[string]any, keyword string) any {
	if schema, found := members[keyword]; found {
		return schema
	}
	return true
}

func index(i int) string { return "/" + strconv.Itoa(i) }
