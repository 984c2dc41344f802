package entity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Reading and writing attributes is most of what deciding costs, and encoding/json
// takes several times as long to decode into an any with numbers as written.

// decode reads one JSON value: numbers become json.Number, the rest as
// encoding/json does it.
func decode(raw json.RawMessage) (any, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errors.New("not JSON in UTF-8")
	}
	r := valueReader{text: raw}
	return r.value(), nil
}

// valueReader reads text that is known to be valid JSON.
type valueReader struct {
	text []byte
	at   int
}

// next skips white space and separators and returns the byte after them.
func (r *valueReader) next() byte {
	for {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
			r.at++
		default:
			return c
		}
	}
}

func (r *valueReader) value() any {
	switch r.next() {
	case '{':
		return r.object()
	case '[':
		return r.array()
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

func (r *valueReader) object() map[string]any {
	r.at++
	object := map[string]any{}
	for r.next() != '}' {
		name := r.string()
		object[name] = r.value()
	}
	r.at++
	return object
}

func (r *valueReader) array() []any {
	r.at++
	array := []any{}
	for r.next() != ']' {
		array = append(array, r.value())
	}
	r.at++
	return array
}

func (r *valueReader) string() string {
	start, escaped := r.at, false
	for r.at++; r.text[r.at] != '"'; r.at++ {
		if r.text[r.at] == '\\' {
			escaped = true
			r.at++
		}
	}
	r.at++
	if !escaped {
		return string(r.text[start+1 : r.at-1])
	}
	var text string
	if err := json.Unmarshal(r.text[start:r.at], &text); err != nil {
		panic(fmt.Sprintf("entity: a string of valid JSON cannot be read: %v", err))
	}
	return text
}

func (r *valueReader) number() json.Number {
	start := r.at
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case '+', '-', '.', 'e', 'E', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			r.at++
			continue
		}
		break
	}
	return json.Number(r.text[start:r.at])
}

// encode writes a value in the form that is recorded: no white space, numbers as
// they were written, and names sorted if the value is a decoded one.
func encode(value any) json.RawMessage { return appendValue(nil, value) }

func appendValue(text []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(text, "null"...)
	case bool:
		return strconv.AppendBool(text, v)
	case json.Number:
		return append(text, v...)
	case string:
		return appendString(text, v)
	case []any:
		text = append(text, '[')
		for i, item := range v {
			if i > 0 {
				text = append(text, ',')
			}
			text = appendValue(text, item)
		}
		return append(text, ']')
	case map[string]any:
		text = append(text, '{')
		for i, name := range sortedNames(v) {
			if i > 0 {
				text = append(text, ',')
			}
			text = append(appendString(text, name), ':')
			text = appendValue(text, v[name])
		}
		return append(text, '}')
	}
	return appendAny(text, value)
}

// appendString writes text that needs no escape as it is.
func appendString(text []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendAny(text, s)
		}
	}
	return append(append(append(text, '"'), s...), '"')
}

// appendAny leaves the writing to encoding/json.
func appendAny(text []byte, value any) []byte {
	buffer := bytes.NewBuffer(text)
	e := json.NewEncoder(buffer)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic(fmt.Sprintf("entity: what was decoded cannot be encoded: %v", err))
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
}
