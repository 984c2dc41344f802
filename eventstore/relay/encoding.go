package relay

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

const upperHex = "0123456789ABCDEF"

// mustEncode marks what cannot stand for itself in a header value: CloudEvents'
// HTTP binding §3.1.3.2 names space, double quote, percent, and all outside of
// printable ASCII.
var mustEncode = func() (marks [256]bool) {
	for c := range 256 {
		marks[c] = c <= ' ' || c == '"' || c == '%' || c > '~'
	}
	return marks
}()

func appendPercent(dst []byte, c byte) []byte {
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

func appendPercentEncoded(dst []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		if mustEncode[s[i]] {
			dst = append(dst, s[start:i]...)
			dst = appendPercent(dst, s[i])
			start = i + 1
		}
	}
	return append(dst, s[start:]...)
}

// percentDecode reports false for a broken escape, and for what is not UTF-8 once
// decoded.
func percentDecode(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, utf8.ValidString(s)
	}
	decoded := make([]byte, 0, len(s))
	for {
		plain, rest, found := strings.Cut(s, "%")
		decoded = append(decoded, plain...)
		if !found {
			return string(decoded), utf8.Valid(decoded)
		}
		if len(rest) < 2 {
			return "", false
		}
		high, low := hexDigit(rest[0]), hexDigit(rest[1])
		if high < 0 || low < 0 {
			return "", false
		}
		decoded = append(decoded, byte(high<<4|low)) //nolint:gosec // two digits are a byte
		s = rest[2:]
	}
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// appendEncodedJSONString appends a JSON string that is percent-encoded already.
func appendEncodedJSONString(dst []byte, s string) []byte {
	dst = append(dst, "%22"...)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			dst = append(dst, `\%22`...)
		case c == '\\':
			dst = append(dst, `\\`...)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
		case mustEncode[c]:
			dst = appendPercent(dst, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, "%22"...)
}

// splitPlainArray reads a JSON array of strings without escapes, which nearly all
// are, several times faster than encoding/json. It reports false for what it leaves
// to the latter.
func splitPlainArray[T ~string](text string) ([]T, bool) {
	if text == "[]" {
		return []T{}, true
	}
	inner, opened := strings.CutPrefix(text, `["`)
	inner, closed := strings.CutSuffix(inner, `"]`)
	// An odd quote within means separators other than the ones that Encode writes.
	if !opened || !closed || strings.ContainsRune(inner, '\\') ||
		strings.Count(inner, `"`) != 2*strings.Count(inner, `","`) {
		return nil, false
	}
	values := make([]T, 0, strings.Count(inner, `","`)+1)
	for value := range strings.SplitSeq(inner, `","`) {
		values = append(values, T(value))
	}
	return values, true
}

// splitPlainActor does the same for the object that Encode writes of an actor.
func splitPlainActor(text string) (domain.Actor, bool) {
	inner, opened := strings.CutPrefix(text, `{"sub":"`)
	inner, closed := strings.CutSuffix(inner, `"}`)
	sub, person, both := strings.Cut(inner, `","person":"`)
	if !opened || !closed || !both || strings.ContainsAny(sub, `\"`) || strings.ContainsAny(person, `\"`) {
		return domain.Actor{}, false
	}
	return domain.Actor{Sub: sub, Person: person}, true
}

func appendUUID(dst []byte, id uuid.UUID) []byte {
	dst = append(hex.AppendEncode(dst, id[0:4]), '-')
	dst = append(hex.AppendEncode(dst, id[4:6]), '-')
	dst = append(hex.AppendEncode(dst, id[6:8]), '-')
	dst = append(hex.AppendEncode(dst, id[8:10]), '-')
	return hex.AppendEncode(dst, id[10:16])
}
