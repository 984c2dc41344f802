package httpapi

import (
	"testing"

	"github.com/reactdjango-hub/backend/domain/problem"
)

func TestIfMatch(t *testing.T) {
	t.Parallel()
	version := func(v int64) *int64 { return &v }
	never := version(impossibleVersion)
	for _, test := range []struct {
		lines    []string
		version  *int64
		existing bool
		refused  bool
	}{
		{lines: nil},
		{lines: []string{"*"}, existing: true},
		{lines: []string{`"3"`}, version: version(3)},
		{lines: []string{` "3" `}, version: version(3)},
		{lines: []string{`"0"`}, version: version(0)},
		{lines: []string{`"9223372036854775807"`}, version: version(9223372036854775807)},
		// Well formed, but never the current version of anything.
		{lines: []string{`W/"3"`}, version: never},
		{lines: []string{`"03"`}, version: never},
		{lines: []string{`"+3"`}, version: never},
		{lines: []string{`"-1"`}, version: never},
		{lines: []string{`"9223372036854775808"`}, version: never},
		{lines: []string{`"abc,def"`}, version: never},
		{lines: []string{`""`}, version: never},
		// Junk, and lists.
		{lines: []string{""}, refused: true},
		{lines: []string{"3"}, refused: true},
		{lines: []string{`"3`}, refused: true},
		{lines: []string{`3"`}, refused: true},
		{lines: []string{`w/"3"`}, refused: true},
		{lines: []string{"\"3\x00\""}, refused: true},
		{lines: []string{`"3", "4"`}, refused: true},
		{lines: []string{`"3"`, `"4"`}, refused: true},
		{lines: []string{`"3" x`}, refused: true},
		{lines: []string{`*, "3"`}, refused: true},
	} {
		got, err := parseIfMatch(test.lines)
		if test.refused {
			if p := problem.Of(err); p == nil || p.Code != "invalid_if_match" || p.Kind != problem.Malformed {
				t.Errorf("%q: got %v, %v", test.lines, got, err)
			}
			continue
		}
		same := (got.version == nil) == (test.version == nil) && (got.version == nil || *got.version == *test.version)
		if err != nil || !same || got.existing != test.existing {
			t.Errorf("%q: got %+v, %v", test.lines, got, err)
		}
	}
}

func TestIfNoneMatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		none  bool
	}{
		{nil, true},
		{[]string{`"3"`}, false},
		{[]string{`W/"3"`}, false},
		{[]string{"*"}, false},
		{[]string{`, "3"`}, false},
		{[]string{"", " * "}, false},
		{[]string{" ,"}, true},
		{[]string{`"1", W/"2" , "3"`}, false},
		{[]string{`"1"`, `"3"`}, false},
		{[]string{`"1","2"`}, true},
		{[]string{`3`}, true},
		{[]string{`junk "3"`}, true},
	} {
		if got := matchesNone(test.lines, `"3"`); got != test.none {
			t.Errorf("%q: got %v", test.lines, got)
		}
	}
}

func FuzzEntityTags(f *testing.F) {
	for _, seed := range []string{"*", `"3"`, `W/"3"`, `"1", "2"`, `"`, `W/`, "\x00", `"a,b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		condition, err := parseIfMatch([]string{value})
		if err != nil && problem.Of(err) == nil {
			t.Errorf("%q: %v is no problem", value, err)
		}
		if err == nil && condition.existing && condition.version != nil {
			t.Errorf("%q asks for two things", value)
		}
		matchesNone([]string{value}, `"3"`)
	})
}
