// Package strictjson reads request bodies. It refuses, before anything is decided,
// all JSON that two programs could understand differently or that the read tables
// could not hold: invalid UTF-8, a name twice in one object, NUL characters,
// numbers beyond a double, bottomless nesting, characters that deceive a reader,
// anything after the value.
//
// Every fault is a *problem.Problem that says where, and never repeats a value.
package strictjson

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Limits bounds a body. Its size in bytes is the HTTP server's to bound.
type Limits struct {
	// Depth is how many objects and arrays may be open at once.
	Depth int
}

// Default is deep enough for a JSON Schema of every attribute that may be stored,
// and far from where a recursive reader runs out of stack.
var Default = Limits{Depth: 64}

// reader is a decoder that is used again: making one costs more than reading an
// ordinary body.
type reader struct {
	source  bytes.Buffer
	decoder *jsontext.Decoder
}

var readers = sync.Pool{New: func() any {
	r := &reader{}
	r.decoder = jsontext.NewDecoder(&r.source)
	return r
}}

// Check reads a body to its end. Problems: invalid_utf8, nul_byte, invalid_json,
// duplicate_name and too_deep are Malformed; number_out_of_range and invalid_text are
// Invalid.
func Check(body []byte, limits Limits) error {
	if bytes.IndexByte(body, 0) >= 0 {
		return nulByte("")
	}
	if !utf8.Valid(body) {
		return problem.New(problem.Malformed, "invalid_utf8", "The body is not valid UTF-8.")
	}
	r := readers.Get().(*reader)
	defer readers.Put(r)
	r.source = *bytes.NewBuffer(body)
	r.decoder.Reset(&r.source)
	err := check(r.decoder, limits)
	// The body must not outlive its request here.
	r.source = bytes.Buffer{}
	r.decoder.Reset(&r.source)
	return err
}

func check(d *jsontext.Decoder, limits Limits) error {
	for {
		var err error
		switch kind := d.PeekKind(); kind {
		case jsontext.KindBeginObject, jsontext.KindBeginArray:
			if d.StackDepth() >= limits.Depth {
				return problem.New(problem.Malformed, "too_deep", "The body is nested more than %d deep.", limits.Depth)
			}
			_, err = d.ReadToken()
		case jsontext.KindEndObject, jsontext.KindEndArray:
			_, err = d.ReadToken()
		default:
			err = checkScalar(d, kind)
		}
		if err != nil {
			return asProblem(err)
		}
		if d.StackDepth() == 0 {
			break
		}
	}
	if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
		return nil
	}
	return problem.New(problem.Malformed, "invalid_json", "The body goes on after its JSON value.")
}

// checkScalar reads a literal, number or string, the names of members included.
func checkScalar(d *jsontext.Decoder, kind jsontext.Kind) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	switch {
	case kind == jsontext.KindNumber && !domain.NumberFits(string(value)):
		return problem.New(problem.Invalid, "number_out_of_range", "A number is beyond the range of a double.").
			With(problem.Field{Location: Location(d.StackPointer()), Message: "must be within the range of a double"})
	case kind == jsontext.KindString:
		return checkText(d, value)
	}
	return nil
}

func nulByte(location string) *problem.Problem {
	p := problem.New(problem.Malformed, "nul_byte", "The body holds a NUL character, which cannot be stored.")
	if location != "" {
		p.With(problem.Field{Location: location, Message: "must not hold NUL characters"})
	}
	return p
}

// asProblem leaves problems as they are and describes faults of syntax by place.
func asProblem(err error) error {
	if p := problem.Of(err); p != nil {
		return p
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
			return problem.New(problem.Malformed, "duplicate_name", "An object holds a name twice.").
				With(problem.Field{Location: Location(syntax.JSONPointer), Message: "is there twice"})
		}
		return problem.New(problem.Malformed, "invalid_json", "The body is not valid JSON at byte %d.", syntax.ByteOffset)
	}
	// An empty body, or one that ends too early.
	return problem.New(problem.Malformed, "invalid_json", "The body is empty or ends in the middle of its JSON value.")
}

// maxLocation bounds how much of the caller's own names an answer repeats.
const maxLocation = 300

// Location writes a JSON pointer into the body as problems name places:
// "/attributes/city" as "body.attributes/city".
func Location(pointer jsontext.Pointer) string {
	text := "body"
	if rest, found := strings.CutPrefix(string(pointer), "/"); found {
		text += "." + rest
	}
	if len(text) <= maxLocation {
		return text
	}
	cut := maxLocation
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
