package domain

import (
	"strconv"
	"strings"
)

// A JSON number may be written at any length and with any exponent, but not kept
// so: exact arithmetic on 1e999999 takes seconds, and PostgreSQL's numeric ends at
// 16,383 decimals. A double needs at most 309 digits and an exponent of 324.
const (
	maxNumberBytes    = 400
	maxNumberExponent = 400
	// plainNumberBytes is a length below which a number without an exponent is
	// always within a double.
	plainNumberBytes = 300
)

// NumberFits reports whether a JSON number, given as written, is within the range
// of a double: neither beyond the largest nor so small that it would become zero.
// Its digits are not limited to a double's precision.
func NumberFits(text string) bool {
	e := strings.LastIndexAny(text, "eE")
	if e < 0 && len(text) <= plainNumberBytes {
		return true
	}
	if len(text) > maxNumberBytes {
		return false
	}
	mantissa := text
	if e >= 0 {
		mantissa = text[:e]
		exponent, err := strconv.Atoi(text[e+1:])
		if err != nil || exponent > maxNumberExponent || exponent < -maxNumberExponent {
			return false
		}
	}
	value, err := strconv.ParseFloat(text, 64)
	return err == nil && (value != 0 || !strings.ContainsAny(mantissa, "123456789"))
}
