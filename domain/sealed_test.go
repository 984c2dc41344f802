package domain_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
)

var event = uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a")

// drawSealed draws values with subjects of any name, as events have them.
func drawSealed(r *rapid.T) domain.Sealed {
	name := rapid.OneOf(rapid.StringMatching(`[0-9a-f-]{1,36}`), rapid.StringMatching(`["\\<>&ü\x{2028}\x{7f}\n a-c]{0,9}`))
	return domain.Sealed{
		Text: rapid.StringMatching(`[A-Za-z0-9+/]{0,40}`).Draw(r, "text"), Subject: name.Draw(r, "subject"),
		Within: rapid.SliceOfN(name, 0, 3).Draw(r, "within"), Sensitive: rapid.Bool().Draw(r, "sensitive"),
	}
}

// A sealed value is written as encoding/json writes it, and read back the same.
func TestSealedValuesAreWrittenAndRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := drawSealed(r)
		want, err := json.Marshal(s)
		require.NoError(r, err)
		s.Event, s.Pointer = event, "/attributes/a"
		require.Equal(r, string(want), string(s.Data()), "who keeps the value elsewhere adds the place")
		found, ok := domain.ParseSealed(s.Data(), s.Event, s.Pointer)
		require.True(r, ok)
		require.Equal(r, s.Subjects(), found.Subjects())
		s.Within, found.Within = nil, nil
		require.Equal(r, s, found)
	})
}

// FuzzParseSealed: what is read by the short way is what encoding/json reads.
func FuzzParseSealed(f *testing.F) {
	whole := domain.Sealed{Text: "AAAA", Subject: "ana", Sensitive: true}.Data()
	for _, seed := range []string{
		string(whole), strings.Replace(string(whole), "ana", `a\u006ea`, 1), strings.Replace(string(whole), `"sensitive":true`, `"within":["ben"]`, 1),
		`{"$sealed":"AAAA","subject":"ana"}`, `{"$sealed":"AAAA","subject":"ana","sensitive":false}`, `{"$sealed":"AAAA","subject":"ana" }`,
		`{"$sealed":"","subject":"ana","subject":"ben"}`, `{"$sealed":"AAAA"}`, `{"$sealed":"AAAA","subject":"ana"`, `{"$sealed":1}`, `{"$sealed":`, `{"$sealed":"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want domain.Sealed
		err := json.Unmarshal(raw, &want)
		want.Event, want.Pointer = event, "/a"
		found, ok := domain.ParseSealed(raw, event, "/a")
		if looks := err == nil && domain.LooksSealed(raw); ok != looks {
			t.Fatalf("%q: read %v, want %v", raw, ok, looks)
		}
		if ok {
			assert.Equal(t, want, found)
		}
	})
}

// FuzzEqualityText: a text has that of what it says, however it is written.
func FuzzEqualityText(f *testing.F) {
	for _, seed := range []string{"", "ana@example.org", `a"b\c`, "<&>", "Zoë", "\x7f", "null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if json.Valid([]byte(`"` + text + `"`)) {
			var said string
			require.NoError(t, json.Unmarshal([]byte(`"`+text+`"`), &said))
			assert.Equal(t, "text "+said, domain.EqualityText(json.RawMessage(`"`+text+`"`)), "as it is")
		}
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		assert.Equal(t, "text "+string([]rune(text)), domain.EqualityText(quoted))
	})
}

func TestEqualityOfWhatIsNoText(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`1`: "number 1", `1.0`: "number 1", `10e-1`: "number 1", `0.5`: "number 1/2", `1e999999`: "", `true`: "bool true", `null`: "", `["a"]`: "", `{"a":1}`: "", `"a`: "", ``: "",
	} {
		assert.Equal(t, want, domain.EqualityText(json.RawMessage(value)), value)
	}
}
