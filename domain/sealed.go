package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"unicode/utf8"

	"github.com/google/uuid"
)

// ErrErased means that what a value was sealed by was destroyed: nobody can read it any
// more.
var ErrErased = errors.New("the value was erased")

// SealedName is the member that marks a sealed value in the data of an event.
const SealedName = "$sealed"

// Sealed is a value that only its subject's key opens, and only in its place. In the data
// of an event it is {"$sealed":"…","subject":"…"}, with "sensitive":true if it is. One that
// is about several is sealed by the key of each, one around the other, so that it is lost
// with any of them; "within" names the others.
type Sealed struct {
	Text    string   `json:"$sealed"`
	Subject string   `json:"subject"`
	Within  []string `json:"within,omitempty"`
	// Sensitive values stay sealed in read tables, too.
	Sensitive bool `json:"sensitive,omitempty"`
	// Event and Pointer are the place: the event that holds it, and where in its data. The
	// event does not repeat them; who keeps the value elsewhere does.
	Event   uuid.UUID `json:"event,omitzero"`
	Pointer string    `json:"pointer,omitempty"`
}

// ReasonPointer is the place of an event's reason, which is in no data.
const ReasonPointer = "reason"

// MaxSealingSubjects bounds whom one value is about. Each costs a layer, and a key that is
// looked up whenever the value is read.
const MaxSealingSubjects = 100

// Subjects are all whose keys open the value.
func (s Sealed) Subjects() []string { return append([]string{s.Subject}, s.Within...) }

// ParseSealed reads a value of an event; ok is false when it is not a sealed one. Values in
// clear never begin like that: callers may not write the name.
func ParseSealed(raw json.RawMessage, event uuid.UUID, pointer string) (s Sealed, ok bool) {
	if !LooksSealed(raw) {
		return Sealed{}, false
	}
	if s, ok = readPlain(raw); !ok && json.Unmarshal(raw, &s) != nil {
		return Sealed{}, false
	}
	s.Event, s.Pointer = event, pointer
	return s, true
}

// readPlain reads what Data writes of most values, those of one subject, in a tenth of the
// time that encoding/json takes; ok is false for all else.
func readPlain(raw []byte) (s Sealed, ok bool) {
	text, rest, isText := plainText(raw[len(sealedPrefix):])
	rest, named := bytes.CutPrefix(rest, []byte(`,"subject":`))
	subject, rest, isName := plainText(rest)
	rest, sensitive := bytes.CutPrefix(rest, []byte(`,"sensitive":true`))
	if !isText || !named || !isName || string(rest) != "}" {
		return Sealed{}, false
	}
	return Sealed{Text: text, Subject: subject, Sensitive: sensitive}, true
}

// plainText reads a text that begins some JSON and is written as it is, without escapes and
// in ASCII. rest is what follows it.
func plainText(raw []byte) (text string, rest []byte, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", nil, false
	}
	for i, b := range raw[1:] {
		switch {
		case b == '"':
			return string(raw[1 : 1+i]), raw[i+2:], true
		case !isPlain(b):
			return "", nil, false
		}
	}
	return "", nil, false
}

// isPlain reports whether a byte of a text is the same in JSON as encoding/json writes it.
func isPlain(b byte) bool {
	return b >= ' ' && b < utf8.RuneSelf && b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
}

const sealedPrefix = `{"` + SealedName + `":`

// LooksSealed reports whether a text begins as sealed values do.
func LooksSealed(raw []byte) bool { return bytes.HasPrefix(raw, []byte(sealedPrefix)) }

// Data is the value as an event has it.
func (s Sealed) Data() json.RawMessage {
	data := make([]byte, 0, len(sealedPrefix)+len(s.Text)+len(s.Subject)+48) // with all names but within
	data = appendText(append(data, sealedPrefix...), s.Text)
	data = appendText(append(data, `,"subject":`...), s.Subject)
	for i, subject := range s.Within {
		data = append(data, []string{`,"within":[`, `,`}[min(i, 1)]...)
		data = appendText(data, subject)
	}
	if len(s.Within) > 0 {
		data = append(data, ']')
	}
	if s.Sensitive {
		data = append(data, `,"sensitive":true`...)
	}
	return append(data, '}')
}

// appendText adds a text as encoding/json writes it.
func appendText(data []byte, text string) []byte {
	for i := range len(text) {
		if !isPlain(text[i]) {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic(fmt.Sprintf("domain: texts cannot be encoded: %v", err))
			}
			return append(data, quoted...)
		}
	}
	data = append(data, '"')
	data = append(data, text...)
	return append(data, '"')
}

// equalText begins the EqualityText of a text.
const equalText = "text "

// EqualityText is the same for values that are equal, and different for others: of texts,
// numbers and booleans. It is "" for all else, which is not found by equality.
func EqualityText(value json.RawMessage) string {
	if text, rest, ok := plainText(value); ok && len(rest) == 0 {
		return equalText + text
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return ""
	}
	switch v := v.(type) {
	case string:
		return equalText + v
	case bool:
		return fmt.Sprintf("bool %t", v)
	case json.Number:
		if !NumberFits(v.String()) { // which bounds the arithmetic, too
			return ""
		}
		if number, ok := new(big.Rat).SetString(v.String()); ok {
			return "number " + number.RatString()
		}
	}
	return ""
}

// Secret is a value that a decider wants recorded sealed. It prints, marshals and logs as
// "***"; only who seals it may Reveal it.
type Secret struct {
	plain json.RawMessage
	// Subjects are those whose keys seal it, each one once, and Sensitive as with Sealed.
	Subjects  []string
	Sensitive bool
}

// NewSecret is a secret with this value.
func NewSecret(plain json.RawMessage, sensitive bool, subjects ...string) Secret {
	return Secret{plain, subjects, sensitive}
}

// Reveal is the value itself.
func (s Secret) Reveal() json.RawMessage { return s.plain }

// Mask is what stands for a value that may not be seen.
const Mask = "***"

// Format masks the value under every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Mask)) }

// MarshalText masks the value in JSON, in logs and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// Sealable is a Payload that may hold secrets, in fields that are never encoded.
type Sealable interface {
	Payload
	// Seal gives the payload with its secrets sealed; seal is told where in the data each
	// will be, as a JSON pointer.
	Seal(seal func(pointer string, s Secret) (Sealed, error)) (Payload, error)
}

// Opened is a Payload that may hold sealed values, as it is read from the log.
type Opened interface {
	Payload
	// SealedValues gives those that the event of this id holds, by names of the payload's
	// own; nil for none.
	SealedValues(event uuid.UUID) map[string]Sealed
	// Shown gives the payload as views show it, with other values in their places; nil
	// ones were erased.
	Shown(values map[string]json.RawMessage) Payload
}

// Veiled is a State that may hold sealed values.
type Veiled interface {
	State
	// Subjects are those whose keys open what Unveil opens.
	Subjects() []string
	// Unveil gives the state with all values in clear but the sensitive ones; those that
	// were erased are null.
	Unveil(open func(Sealed) (json.RawMessage, error)) (State, error)
}
