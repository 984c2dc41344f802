package ledger

// For tests of what is inside.
var (
	ParseAmount   = parseAmount
	ParseLeast    = parseLeast
	ParseUnsigned = parseUnsigned
	ParseRate     = parseRate
)

const MaxMinor = maxMinor

// Broken is the first date on which a Book breaks its rule.
func (b Book) Broken() (Date, int64, bool) { return b.broken() }

// Overflows reports whether a Book cannot be kept.
func (b Book) Overflows() bool { return b.overflows() }
