package strictjson_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/strictjson"
)

func TestSanitize(t *testing.T) {
	for body, want := range map[string]string{
		`{ "a" : 1.50 }`:               `{ "a" : 1.50 }`,
		`{"é":"é\t\n"}`:                `{"é":"é\t\n"}`,
		"{\"e\u0301\": 1.50 }":         `{"é":1.50}`,
		`["Cafe\u0301",1e2,null,true]`: `["Café",1e2,null,true]`,
		`"\u0041\ud83d\ude42"`:         `"A🙂"`,
		"[\"\u212b\",{\"x\":[]}]":      `["Å",{"x":[]}]`,
		"\"\u0338\"":                   "\"\u0338\"",
	} {
		got, err := strictjson.Sanitize([]byte(body), strictjson.Default)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", body, got, err, want)
		}
	}
}

func TestSanitizeRefusesNamesThatBecomeOne(t *testing.T) {
	for _, body := range []string{"{\"é\":1,\"e\u0301\":2}", `{"x":{"\u00e9":1,"e\u0301":2}}`} {
		_, err := strictjson.Sanitize([]byte(body), strictjson.Default)
		if p := problem.Of(err); p == nil || p.Code != "duplicate_name" {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// What comes out is accepted, stays as it is, and is the body with every text in NFC.
func FuzzSanitize(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"e\u0301"]}`, "\"e\u0301\"", `{"e\u0301":{"é":0}}`, "[\"\u1100\u1161\"]", `"\u0338"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		once, err := strictjson.Sanitize(body, strictjson.Default)
		if err != nil {
			return
		}
		twice, err := strictjson.Sanitize(once, strictjson.Default)
		if err != nil || string(twice) != string(once) && !norm.NFC.IsNormal(once) {
			t.Fatalf("%q became %q and that %q (%v)", body, once, twice, err)
		}
		var before, after any
		if json.Unmarshal(body, &before) != nil || json.Unmarshal(once, &after) != nil {
			t.Fatalf("%q became %q", body, once)
		}
		if !reflect.DeepEqual(inNFC(before), after) {
			t.Fatalf("%q became %q", body, once)
		}
	})
}

func inNFC(value any) any {
	switch v := value.(type) {
	case string:
		return norm.NFC.String(v)
	case []any:
		for i := range v {
			v[i] = inNFC(v[i])
		}
	case map[string]any:
		normal := make(map[string]any, len(v))
		for name, inner := range v {
			normal[norm.NFC.String(name)] = inNFC(inner)
		}
		return normal
	}
	return value
}
