package domain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTagBytes bounds a tag so that it always fits an index row: PostgreSQL's
// B-tree refuses keys above about 2,700 bytes.
const maxTagBytes = 1024

// subjectKind is the one kind of tag that nothing may be decided on: reading
// somebody's data writes such a tag, and reading must never conflict with writing.
const subjectKind = "subject"

// Tag names a boundary: "kind:name", as "entity:0190…" or "key:customer/C-17".
// Within an organisation it is the unit of consistency; an event's own stream is
// always one of its tags.
type Tag string

// NewTag joins a kind and a name.
func NewTag(kind, name string) Tag { return Tag(kind + ":" + name) }

// SubjectTag finds what is about a data subject.
func SubjectTag(subject string) Tag { return NewTag(subjectKind, subject) }

// Kind is the part before the first colon; it says which fold reads the boundary.
func (t Tag) Kind() string {
	kind, _, _ := strings.Cut(string(t), ":")
	return kind
}

// Name is the part after the first colon.
func (t Tag) Name() string {
	_, name, _ := strings.Cut(string(t), ":")
	return name
}

// Boundary reports whether a command may decide on this tag.
func (t Tag) Boundary() bool { return t.Kind() != subjectKind }

// Validate reports why the tag cannot be stored: it needs a kind and a name, at
// most 1,024 bytes of UTF-8, and no control characters.
func (t Tag) Validate() error {
	kind, name, found := strings.Cut(string(t), ":")
	switch {
	case !found || kind == "" || name == "":
		return fmt.Errorf("tag %q is not of the form kind:name", string(t))
	case len(t) > maxTagBytes:
		return fmt.Errorf("tag of %d bytes is longer than %d", len(t), maxTagBytes)
	case !utf8.ValidString(string(t)):
		return fmt.Errorf("tag %q is not UTF-8", string(t))
	case strings.ContainsFunc(string(t), unicode.IsControl):
		return fmt.Errorf("tag %q holds control characters", string(t))
	}
	return nil
}
