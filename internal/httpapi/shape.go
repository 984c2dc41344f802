package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

const (
	// maxShapePaths bounds fields and expand: far above what a screen shows.
	maxShapePaths = 100
	// maxExpandDepth is how far expand may reach from resource to resource.
	maxExpandDepth = 2
)

// shape is how a caller wants a resource to look: some of its members (fields), and
// what it refers to in place of a name (expand). The zero shape is the whole resource.
type shape struct {
	// names are the resource's members, in the order in which they are written.
	names []string
	// fields are the members wanted, nil for all.
	fields selection
	// expanded are the members wanted in full, and deeper those of them in turn, with a dot.
	expanded, deeper []string
}

// selection is a tree of wanted members; a leaf, which is nil, is wanted whole.
type selection map[string]selection

// shapeOf reads fields and expand for a resource of type T. open are the members
// whose own members can be selected, expandable those that refer to something.
// Problems: invalid_fields, invalid_expand.
func shapeOf[T any](fields, expand string, open, expandable []string) (shape, error) {
	s := shape{names: memberNames(reflect.TypeFor[T]())}
	for _, path := range pathList(expand) {
		switch {
		case strings.Count(path, ".") >= maxExpandDepth:
			return shape{}, invalidShape("invalid_expand", "expand", fmt.Sprintf("must reach at most %d deep", maxExpandDepth))
		case !slices.Contains(expandable, path):
			return shape{}, invalidShape("invalid_expand", "expand", "can be "+orNothing(expandable))
		}
		name, _, nested := strings.Cut(path, ".")
		if !slices.Contains(s.expanded, name) {
			s.expanded = append(s.expanded, name)
		}
		if nested {
			s.deeper = append(s.deeper, path)
		}
	}
	paths := pathList(fields)
	if len(paths) > maxShapePaths {
		return shape{}, invalidShape("invalid_fields", "fields", fmt.Sprintf("must be at most %d names", maxShapePaths))
	}
	for _, path := range paths {
		steps, ok := s.steps(path, slices.Concat(open, s.expanded))
		if !ok {
			return shape{}, invalidShape("invalid_fields", "fields", "can be "+strings.Join(s.names, ", ")+membersOf(open))
		}
		if s.fields == nil {
			s.fields = selection{}
		}
		s.fields.add(steps)
	}
	return s, nil
}

// pathList splits a list with commas between; nothing is an empty list.
func pathList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// steps is the way to a member: its name, and below an open one names with dots
// between or a JSON pointer.
func (s shape) steps(path string, open []string) ([]string, bool) {
	name, below, nested := strings.Cut(path, ".")
	if !slices.Contains(s.names, name) {
		return nil, false
	}
	if !nested {
		return []string{name}, true
	}
	steps, ok := readmodels.ParsePath(below)
	return append([]string{name}, steps...), ok && slices.Contains(open, name)
}

func (s selection) add(steps []string) {
	below, known := s[steps[0]]
	switch {
	case known && below == nil: // wanted whole already
	case len(steps) == 1:
		s[steps[0]] = nil
	default:
		if below == nil {
			below = selection{}
			s[steps[0]] = below
		}
		below.add(steps[1:])
	}
}

// shows reports whether a member is wanted.
func (s shape) shows(name string) bool {
	_, wanted := s.fields[name]
	return wanted || s.fields == nil
}

// whole reports whether the resource is wanted as it is.
func (s shape) whole() bool { return s.fields == nil && len(s.expanded) == 0 }

// write writes a resource in this shape; references are the values of what can be
// expanded.
func (s shape) write(resource any, references map[string]any) (json.RawMessage, error) {
	text, err := encodeJSON(resource)
	if err != nil || s.whole() {
		return text, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	for _, name := range s.expanded {
		if members[name], err = encodeJSON(references[name]); err != nil {
			return nil, err
		}
	}
	written := []byte{'{'}
	for _, name := range s.names {
		value, found := s.fields.member(name, members[name])
		if !found {
			continue
		}
		if len(written) > 1 {
			written = append(written, ',')
		}
		written = append(strconv.AppendQuote(written, name), ':')
		written = append(written, value...)
	}
	return append(written, '}'), nil
}

// writeItems puts items in this shape into a page that was written with whole ones.
func writeItems[T any](s shape, page json.RawMessage, items []T, references func(T) map[string]any) (json.RawMessage, error) {
	shaped := make([]json.RawMessage, len(items))
	for i, item := range items {
		var referred map[string]any
		if len(s.expanded) > 0 {
			referred = references(item)
		}
		var err error
		if shaped[i], err = s.write(item, referred); err != nil {
			return nil, err
		}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(page, &members); err != nil {
		return nil, err
	}
	text, err := encodeJSON(shaped)
	if err != nil {
		return nil, err
	}
	members["items"] = text
	return encodeJSON(members)
}

// member is what is wanted of a member, if anything of it is.
func (s selection) member(name string, value json.RawMessage) (json.RawMessage, bool) {
	below, wanted := s[name]
	switch {
	case value == nil || s != nil && !wanted:
		return nil, false
	case below == nil:
		return value, true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil {
		return nil, false // there is nothing below a scalar
	}
	kept := map[string]json.RawMessage{}
	for inner, text := range members {
		if found, ok := below.member(inner, text); ok {
			kept[inner] = found
		}
	}
	text, err := encodeJSON(kept)
	return text, err == nil
}

// tag is the entity tag of a resource in this shape: it begins with the version, so
// that it serves for If-Match as well, and differs as what is shown does.
func (s shape) tag(version int64, text []byte) string {
	if s.whole() {
		return entityTag(version)
	}
	sum := sha256.Sum256(text)
	return `"` + strconv.FormatInt(version, 10) + shapeSeparator + hex.EncodeToString(sum[:8]) + `"`
}

// memberNames are the names of T's members in JSON, in order.
func memberNames(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		if field.Anonymous {
			names = append(names, memberNames(field.Type)...)
			continue
		}
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// encodeJSON writes a value, by itself where it can.
func encodeJSON(value any) (json.RawMessage, error) {
	if own, ok := value.(interface{ AppendJSON(to []byte) []byte }); ok {
		return own.AppendJSON(nil), nil
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

func invalidShape(code, parameter, message string) error {
	return problem.New(problem.Invalid, code, "The parameter %s cannot be used.", parameter).
		With(problem.Field{Location: "query." + parameter, Message: message})
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing here"
	}
	return strings.Join(names, ", ")
}

func membersOf(open []string) string {
	if len(open) == 0 {
		return ""
	}
	return ", or " + open[0] + ".<name>"
}
