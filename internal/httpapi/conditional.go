package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// impossibleVersion is a version that no resource has. An entity tag that is well
// formed but cannot be one of ours, or a weak one (RFC 9110 §13.1.1 asks for strong
// comparison), is checked as this and so always answers 412.
const impossibleVersion int64 = -1

// shapeSeparator stands in an entity tag between the version and what tells apart
// the shapes of one version; see shape.tag.
const shapeSeparator = "."

// precondition is what If-Match asks of a write.
type precondition struct {
	// version is the one version allowed, nil for any.
	version *int64
	// existing asks that the resource exists, whatever its version ("*").
	existing bool
	// absent asks that it does not exist: If-None-Match: *.
	absent bool
}

// preconditionOf reads If-Match and If-None-Match of a write.
// Problems: invalid_if_match, invalid_if_none_match.
func preconditionOf(header http.Header) (precondition, error) {
	condition, err := parseIfMatch(header["If-Match"])
	if err != nil {
		return precondition{}, err
	}
	switch lines := header["If-None-Match"]; {
	case len(lines) == 0:
	case len(lines) == 1 && strings.Trim(lines[0], " \t") == "*":
		condition.absent = true
	default:
		return precondition{}, problem.New(problem.Malformed, "invalid_if_none_match", "The If-None-Match header cannot be used with a write.").
			With(problem.Field{Location: "header.If-None-Match", Message: "can only be *, for a resource that does not exist yet"})
	}
	return condition, nil
}

// parseIfMatch reads the lines of If-Match: "*" or one entity tag.
// Problems: invalid_if_match.
func parseIfMatch(lines []string) (precondition, error) {
	value := strings.TrimSpace(strings.Join(lines, ","))
	switch value {
	case "":
		if len(lines) > 0 {
			return precondition{}, invalidIfMatch("is empty")
		}
		return precondition{}, nil
	case "*":
		return precondition{existing: true}, nil
	}
	tag, weak, rest, ok := cutEntityTag(value)
	switch {
	case !ok:
		return precondition{}, invalidIfMatch(`must be an entity tag in double quotes, as "3", or *`)
	case rest != "":
		return precondition{}, invalidIfMatch("must name one version; lists of entity tags are not supported")
	}
	// What was read in a shape of its own has the version before the separator.
	tag, _, _ = strings.Cut(tag, shapeSeparator)
	version, err := strconv.ParseInt(tag, 10, 64)
	if weak || err != nil || version < 0 || strconv.FormatInt(version, 10) != tag {
		version = impossibleVersion
	}
	return precondition{version: &version}, nil
}

func invalidIfMatch(message string) error {
	return problem.New(problem.Malformed, "invalid_if_match", "The If-Match header cannot be read.").
		With(problem.Field{Location: "header.If-Match", Message: message})
}

// matchesNone reports whether If-None-Match lets the answer be sent in full: none
// of its entity tags is the current one, compared weakly (RFC 9110 §13.1.2). What
// cannot be read matches nothing, because sending the answer is always right.
func matchesNone(lines []string, current string) bool {
	value := strings.TrimLeft(strings.Join(lines, ","), ", \t") // a list may have empty elements
	if strings.TrimRight(value, " \t") == "*" {
		return false
	}
	for value != "" {
		tag, _, rest, ok := cutEntityTag(value)
		if !ok {
			return true
		}
		if `"`+tag+`"` == current {
			return false
		}
		value = strings.TrimLeft(rest, ", \t")
	}
	return true
}

// cutEntityTag takes one entity tag (RFC 9110 §8.8.3) off the start of value: its
// opaque part without the quotes, whether it is weak, and what follows.
func cutEntityTag(value string) (tag string, weak bool, rest string, ok bool) {
	value, weak = strings.CutPrefix(value, "W/")
	if !strings.HasPrefix(value, `"`) {
		return "", false, "", false
	}
	end := strings.IndexByte(value[1:], '"') + 1
	if end == 0 {
		return "", false, "", false
	}
	for _, c := range []byte(value[1:end]) {
		if c < 0x21 || c == 0x7f {
			return "", false, "", false
		}
	}
	return value[1:end], weak, strings.TrimLeft(value[end+1:], " \t"), true
}

// entityTag is the strong entity tag of one version of a resource.
func entityTag(version int64) string {
	return `"` + strconv.FormatInt(version, 10) + `"`
}

// clearTag is that of a resource which is shown with what others see masked: who comes to
// see more is not told that nothing has changed. For If-Match it is as good.
func clearTag(version int64) string {
	return `"` + strconv.FormatInt(version, 10) + shapeSeparator + `clear"`
}
