package strictjson

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// checked are the options for a body that has passed Check: its names are unique
// and its text is UTF-8.
var checked = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Read decodes a body that has passed Check into what value points to, several times
// faster than encoding/json. Into an any it gives what encoding/json would: numbers
// as doubles. Unlike there, the names of members count in their exact case.
func Read(body []byte, value any) error {
	if free, ok := value.(*any); ok {
		r := treeReader{text: string(body)}
		*free = r.value()
		return nil
	}
	return json.Unmarshal(body, value, checked)
}

// treeReader reads text that is known to be one JSON value; its strings are parts of it.
type treeReader struct {
	text string
	at   int
}

// next skips white space and separators and returns the byte after them.
func (r *treeReader) next() byte {
	for {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
			r.at++
		default:
			return c
		}
	}
}

func (r *treeReader) value() any {
	switch r.next() {
	case '{':
		r.at++
		object := map[string]any{}
		for r.next() != '}' {
			name := r.string()
			object[name] = r.value()
		}
		r.at++
		return object
	case '[':
		r.at++
		array := []any{}
		for r.next() != ']' {
			array = append(array, r.value())
		}
		r.at++
		return array
	case '"':
		return r.string()
	case 't':
		r.at += len("true")
		return true
	case 'f':
		r.at += len("false")
		return false
	case 'n':
		r.at += len("null")
		return nil
	}
	return r.number()
}

func (r *treeReader) string() string {
	start, escaped := r.at, false
	for r.at++; r.text[r.at] != '"'; r.at++ {
		if r.text[r.at] == '\\' {
			escaped = true
			r.at++
		}
	}
	r.at++
	if !escaped {
		return r.text[start+1 : r.at-1]
	}
	text, _ := jsontext.AppendUnquote(nil, r.text[start:r.at]) // Check has read it
	return string(text)
}

// number reads a number that fits a double.
func (r *treeReader) number() float64 {
	start := r.at
	for r.at < len(r.text) && strings.IndexByte("+-.0123456789Ee", r.text[r.at]) >= 0 {
		r.at++
	}
	number, _ := strconv.ParseFloat(r.text[start:r.at], 64) // Check has read it
	return number
}
