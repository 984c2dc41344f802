package entity

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/reactdjango-hub/backend/domain"
)

// sealedName marks a value that is ciphertext. Callers may not write it: nobody
// could tell their value from a sealed one.
const sealedName = "$sealed"

// canonical is raw in the form of encode; ok is false when it is not JSON.
func canonical(raw json.RawMessage) (form json.RawMessage, ok bool) {
	value, err := decode(raw)
	if err != nil {
		return nil, false
	}
	return encode(value), true
}

// same reports whether two recorded values are the same but for white space,
// escapes and the order of names.
func same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	formA, okA := canonical(a)
	formB, okB := canonical(b)
	return okA && okB && bytes.Equal(formA, formB)
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// shape is what a value may look like, whatever its schema.
type shape struct {
	// depth is the deepest nesting; a scalar has depth 0.
	depth int
	// values is how many values there may be in all; it counts down.
	values int
	// schemas is how many of them may be objects, true or false, which is what a
	// schema can be; it counts down.
	schemas int
	// sealed says that sealed values may be in it.
	sealed bool
	// ordered looks at members in order of their names, which costs a sort: a
	// refusal may not differ from one time to the next.
	ordered bool
}

// fault finds what is wrong with a value: where, as a JSON pointer below it, and
// what; "" when nothing is. It works on decoded values because escapes are
// resolved there. Of several faults it always finds the same.
func (s *shape) fault(value any) (pointer, message string) {
	again := *s
	if _, message = s.faultAt(value, 0); message != "" {
		again.ordered = true
		return again.faultAt(value, 0)
	}
	return "", ""
}

func (s *shape) faultAt(value any, depth int) (pointer, message string) {
	if s.values--; s.values < 0 {
		return "", "holds too many values"
	}
	switch v := value.(type) {
	case string:
		if strings.IndexByte(v, 0) >= 0 {
			return "", "must not hold NUL characters"
		}
	case json.Number:
		if !domain.NumberFits(v.String()) {
			return "", "is a number beyond the range of a double"
		}
	case bool:
		return "", s.anotherSchema()
	case []any:
		for i, item := range v {
			if depth >= s.depth {
				return "", "is nested too deeply"
			}
			if pointer, message = s.faultAt(item, depth+1); message != "" {
				return "/" + strconv.Itoa(i) + pointer, message
			}
		}
	case map[string]any:
		return s.faultIn(v, depth)
	}
	return "", ""
}

func (s *shape) anotherSchema() string {
	if s.schemas--; s.schemas < 0 {
		return "holds too many objects and booleans"
	}
	return ""
}

func (s *shape) faultIn(object map[string]any, depth int) (pointer, message string) {
	if message = s.anotherSchema(); message != "" {
		return "", message
	}
	if s.ordered {
		for _, name := range sortedNames(object) {
			if pointer, message = s.faultOf(name, object[name], depth); message != "" {
				return pointer, message
			}
		}
		return "", ""
	}
	for name, value := range object {
		if pointer, message = s.faultOf(name, value, depth); message != "" {
			return pointer, message
		}
	}
	return "", ""
}

func (s *shape) faultOf(name string, value any, depth int) (pointer, message string) {
	switch {
	case depth >= s.depth:
		return "", "is nested too deeply"
	case strings.IndexByte(name, 0) >= 0:
		return "", "must not hold NUL characters"
	case name == sealedName && !s.sealed:
		return "", "must not hold a member named " + sealedName
	}
	if pointer, message = s.faultAt(value, depth+1); message != "" {
		return "/" + escapePointer(name) + pointer, message
	}
	return "", ""
}
