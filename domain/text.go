package domain

import "unicode"

// UnsafeRune reports whether a text that people write may not hold the character:
// control characters other than tab and the ends of lines, and those that reverse
// the order in which text is shown, so that it reads differently from what it says
// (CVE-2021-42574).
func UnsafeRune(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r':
		return false
	case '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
		return true
	}
	return unicode.IsControl(r)
}

// UnsafeInName is UnsafeRune for texts of one line, as names, keys and labels are.
func UnsafeInName(r rune) bool { return unicode.IsControl(r) || UnsafeRune(r) }
