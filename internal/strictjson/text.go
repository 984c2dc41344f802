package strictjson

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/unicode/norm"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Every text that enters with a body passes here, whatever field it is for: what
// looks the same is made the same (Unicode Normalisation Form C), and characters
// that hide or reorder what a person reads are refused.

// Sanitize is Check, and gives back the body with its names and texts in Normal form;
// most bodies are in it and come back as they are. Problems: those of Check.
func Sanitize(body []byte, limits Limits) ([]byte, error) {
	if err := Check(body, limits); err != nil {
		return nil, err
	}
	if normal(body) {
		return body, nil
	}
	var rewritten bytes.Buffer
	if err := normalise(jsontext.NewDecoder(bytes.NewReader(body)), jsontext.NewEncoder(&rewritten)); err != nil {
		return nil, asProblem(err)
	}
	return bytes.TrimSuffix(rewritten.Bytes(), []byte("\n")), nil // the encoder ends with a line feed
}

// Normal is a text in the form in which texts are stored (NFC).
func Normal(text string) string { return norm.NFC.String(text) }

// normal reports that nothing in a body has to be rewritten. Escapes could hide
// something, and are rare enough not to be looked into.
func normal(body []byte) bool {
	return norm.NFC.IsNormal(body) && !bytes.Contains(body, []byte(`\u`))
}

// normalise copies a body that Check lets through. Two names that become one are
// refused by the encoder.
func normalise(from *jsontext.Decoder, to *jsontext.Encoder) error {
	for {
		var err error
		switch from.PeekKind() {
		case jsontext.KindString:
			var token jsontext.Token
			if token, err = from.ReadToken(); err == nil {
				err = to.WriteToken(jsontext.String(norm.NFC.String(token.String())))
			}
		case jsontext.KindBeginObject, jsontext.KindEndObject, jsontext.KindBeginArray, jsontext.KindEndArray:
			var token jsontext.Token
			if token, err = from.ReadToken(); err == nil {
				err = to.WriteToken(token)
			}
		default: // as it is written: a number keeps its digits
			var value jsontext.Value
			if value, err = from.ReadValue(); err == nil {
				err = to.WriteValue(value)
			}
		}
		if err != nil {
			return err
		}
		if from.StackDepth() == 0 {
			return nil
		}
	}
}

// checkText refuses what no text may hold; value is a string as JSON writes it. That
// characters are hidden in escapes is found only where there are any.
func checkText(d *jsontext.Decoder, value []byte) error {
	if plainASCII(value) {
		return nil
	}
	text := value
	if bytes.IndexByte(value, '\\') >= 0 {
		var err error
		if text, err = jsontext.AppendUnquote(nil, value); err != nil {
			return err
		}
	}
	switch {
	case bytes.IndexByte(text, 0) >= 0:
		return nulByte(Location(d.StackPointer()))
	case bytes.ContainsFunc(text, domain.UnsafeRune):
		return problem.New(problem.Invalid, "invalid_text", "A text holds characters that cannot be seen, or that change the order in which others are shown. Remove them.").
			With(problem.Field{Location: visible(Location(d.StackPointer())), Message: "must not hold control characters or bidirectional overrides"})
	}
	return nil
}

// plainASCII reports that a string as JSON writes it holds nothing but itself.
func plainASCII(value []byte) bool {
	for _, c := range value {
		if c >= utf8.RuneSelf || c == '\\' || c == 0x7f {
			return false
		}
	}
	return true
}

// visible leaves out of a place, which holds names of the caller's making, what is
// refused there.
func visible(location string) string {
	return strings.Map(func(r rune) rune {
		if domain.UnsafeRune(r) {
			return utf8.RuneError
		}
		return r
	}, location)
}
