package entity

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Limits on names, in characters. A key of four-byte characters with the longest
// type name still fits a tag (1,024 bytes); names of attributes end up in
// filters, column headings and JSON pointers.
const (
	maxTypeName      = 63
	maxTitle         = 200
	maxKey           = 200
	maxTag           = 100
	maxTags          = 50
	maxAttributeName = 200
	maxAttributes    = 200
)

// ValidTypeName reports whether a type can have this name: a lower-case letter,
// then up to 62 lower-case letters, digits and underscores.
func ValidTypeName(name string) bool {
	if name == "" || len(name) > maxTypeName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// ValidKey reports whether an entity can have this key: 1 to 200 characters, none
// of them a control character.
func ValidKey(key string) bool { return key != "" && textFault(key, maxKey) == "" }

// textFault says what is wrong with a short text, "" when nothing is.
func textFault(text string, most int) string {
	switch {
	case !utf8.ValidString(text):
		return "must be UTF-8"
	case len(text) > most && utf8.RuneCountInString(text) > most:
		return fmt.Sprintf("must have at most %d characters", most)
	}
	if strings.ContainsFunc(text, domain.UnsafeInName) {
		return "must not hold control characters or bidirectional overrides"
	}
	return ""
}

// normalTags checks labels and returns them sorted and without repetition, never
// nil.
func normalTags(tags []string) ([]string, error) {
	var fields []problem.Field
	for i, tag := range tags {
		message := textFault(tag, maxTag)
		if tag == "" {
			message = "must not be empty"
		}
		if message != "" && len(fields) < maxFields {
			fields = append(fields, problem.Field{Location: "body.tags/" + strconv.Itoa(i), Message: message})
		}
	}
	if len(fields) > 0 {
		return nil, invalidTags(fields...)
	}
	normal := make([]string, len(tags))
	copy(normal, tags)
	slices.Sort(normal)
	normal = slices.Compact(normal)
	if len(normal) > maxTags {
		return nil, invalidTags(problem.Field{Location: "body.tags", Message: fmt.Sprintf("must have at most %d items", maxTags)})
	}
	return normal, nil
}

func invalidTags(fields ...problem.Field) *problem.Problem {
	return problem.New(problem.Invalid, "invalid_tags",
		"An entity has at most %d tags of 1 to %d characters each.", maxTags, maxTag).With(fields...)
}
