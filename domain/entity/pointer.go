package entity

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxLocation bounds how much of the caller's own names an answer repeats.
const maxLocation = 300

// escapePointer writes one name as a token of a JSON pointer (RFC 6901).
func escapePointer(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// location puts names below a base, as in "body.attributes/address/city".
func location(base string, names ...string) string {
	var b strings.Builder
	b.WriteString(base)
	for _, name := range names {
		b.WriteByte('/')
		b.WriteString(escapePointer(name))
	}
	return shortened(b.String())
}

// shortened cuts a location at a character.
func shortened(text string) string {
	if len(text) <= maxLocation {
		return text
	}
	cut := maxLocation
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
