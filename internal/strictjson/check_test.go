package strictjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/strictjson"
)

func TestCheckAcceptsJSON(t *testing.T) {
	for _, body := range []string{
		`{}`, ` [ ] `, `null`, `"x"`, `0`, `-1.5e10`, `{"a":{"b":[1,"ü",true,null]}}`,
		`{"a":"\\u0000"}`, `"\ud83d\ude00"`, `1e308`, `5e-324`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64),
	} {
		if err := strictjson.Check([]byte(body), strictjson.Default); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		body, code, location string
		kind                 problem.Kind
	}{
		"nothing":              {"", "invalid_json", "", problem.Malformed},
		"white space":          {" \n", "invalid_json", "", problem.Malformed},
		"no value":             {"hello", "invalid_json", "", problem.Malformed},
		"half a value":         {`{"a":`, "invalid_json", "", problem.Malformed},
		"half a string":        {`{"a":"b`, "invalid_json", "", problem.Malformed},
		"trailing value":       {`{} {}`, "invalid_json", "", problem.Malformed},
		"trailing comma":       {`[1,]`, "invalid_json", "", problem.Malformed},
		"trailing junk":        {`{}]`, "invalid_json", "", problem.Malformed},
		"comment":              {`{/**/}`, "invalid_json", "", problem.Malformed},
		"NaN":                  {`{"a":NaN}`, "invalid_json", "", problem.Malformed},
		"leading zero":         {`{"a":01}`, "invalid_json", "", problem.Malformed},
		"bare control":         {"\"a\tb\"", "invalid_json", "", problem.Malformed},
		"byte order mark":      {"\ufeff{}", "invalid_json", "", problem.Malformed},
		"half a surrogate":     {`"\ud800"`, "invalid_json", "", problem.Malformed},
		"invalid UTF-8":        {"\"\xff\"", "invalid_utf8", "", problem.Malformed},
		"overlong UTF-8":       {"\"\xc0\x80\"", "invalid_utf8", "", problem.Malformed},
		"duplicate name":       {`{"x":{"a":1,"b":2,"a":3}}`, "duplicate_name", "body.x/a", problem.Malformed},
		"escaped duplicate":    {`{"a":1,"\u0061":2}`, "duplicate_name", "body.a", problem.Malformed},
		"raw NUL":              {"{\"a\":\"\x00\"}", "nul_byte", "", problem.Malformed},
		"escaped NUL":          {`{"a":["x","b\u0000c"]}`, "nul_byte", "body.a/1", problem.Malformed},
		"NUL in a name":        {`{"a\u0000":1}`, "nul_byte", "body.a\x00", problem.Malformed},
		"NUL after backslash":  {`{"a":"\\\u0000"}`, "nul_byte", "body.a", problem.Malformed},
		"too deep":             {strings.Repeat("[", 65) + strings.Repeat("]", 65), "too_deep", "", problem.Malformed},
		"very deep":            {strings.Repeat(`{"a":`, 100_000), "too_deep", "", problem.Malformed},
		"bell":                 {`{"a":"b\u0007"}`, "invalid_text", "body.a", problem.Invalid},
		"delete":               {"{\"a\":\"\x7f\"}", "invalid_text", "body.a", problem.Invalid},
		"C1 control":           {"[\"\u0085\"]", "invalid_text", "body.0", problem.Invalid},
		"override":             {"{\"a\":{\"b\":\"\u202e\"}}", "invalid_text", "body.a/b", problem.Invalid},
		"escaped isolate":      {`{"a":"\u2066"}`, "invalid_text", "body.a", problem.Invalid},
		"override in a name":   {`{"a\u202e":1}`, "invalid_text", "body.a\ufffd", problem.Invalid},
		"beyond a double":      {`{"a":{"b":1e309}}`, "number_out_of_range", "body.a/b", problem.Invalid},
		"far beyond a double":  {`[-1e99999999999]`, "number_out_of_range", "body.0", problem.Invalid},
		"smaller than any":     {`[1e-999999]`, "number_out_of_range", "body.0", problem.Invalid},
		"too many digits":      {`[` + strings.Repeat("1", 500) + `]`, "number_out_of_range", "body.0", problem.Invalid},
		"a very long location": {`{"` + strings.Repeat("ü", 500) + `":1e999}`, "number_out_of_range", "body." + strings.Repeat("ü", 147) + "…", problem.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			p := problem.Of(strictjson.Check([]byte(test.body), strictjson.Default))
			if p == nil {
				t.Fatal("accepted")
			}
			if p.Code != test.code || p.Kind != test.kind {
				t.Errorf("got %s (%d), want %s (%d)", p.Code, p.Kind, test.code, test.kind)
			}
			if location := firstLocation(p); location != test.location {
				t.Errorf("located at %q, want %q", location, test.location)
			}
		})
	}
}

func firstLocation(p *problem.Problem) string {
	if len(p.Fields) == 0 {
		return ""
	}
	return p.Fields[0].Location
}

type body struct {
	Type       string                     `json:"type"`
	Count      int                        `json:"count"`
	Weight     *float64                   `json:"weight"`
	Active     bool                       `json:"active"`
	Attributes map[string]json.RawMessage `json:"attributes"`
	Tags       []string                   `json:"tags"`
	Free       any                        `json:"free"`
	ID         uuid.UUID                  `json:"id"`
	Part       struct {
		Name string `json:"name"`
	} `json:"part"`
}

func TestUnmarshal(t *testing.T) {
	const id = "0190aaaa-0000-7000-8000-000000000001"
	text := `{"type":"customer","count":3,"attributes":{"n": 1.50 },"tags":["a"],"free":{"big":12345678901234567890.5},"id":"` + id + `"}`
	var got body
	if err := strictjson.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := body{
		Type: "customer", Count: 3, Tags: []string{"a"}, ID: uuid.MustParse(id),
		Attributes: map[string]json.RawMessage{"n": json.RawMessage("1.50")},
		Free:       map[string]any{"big": json.Number("12345678901234567890.5")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for text, want := range map[string][3]string{
		`{"type":"a","colour":"red"}`:    {"unknown_field", "body.colour", "is not a known field"},
		`{"part":{"nme":"secret"}}`:      {"unknown_field", "body.part/nme", "is not a known field"},
		`{"TYPE":"a"}`:                   {"unknown_field", "body.TYPE", "is not a known field"},
		`{"type":5}`:                     {"wrong_type", "body.type", "must be a string"},
		`{"count":"5"}`:                  {"wrong_type", "body.count", "must be a whole number in range"},
		`{"count":1.5}`:                  {"wrong_type", "body.count", "must be a whole number in range"},
		`{"count":99999999999999999999}`: {"wrong_type", "body.count", "must be a whole number in range"},
		`{"weight":"5"}`:                 {"wrong_type", "body.weight", "must be a number"},
		`{"active":1}`:                   {"wrong_type", "body.active", "must be true or false"},
		`{"attributes":[]}`:              {"wrong_type", "body.attributes", "must be an object"},
		`{"tags":"a"}`:                   {"wrong_type", "body.tags", "must be an array"},
		`{"tags":["a",{}]}`:              {"wrong_type", "body.tags/1", "must be a string"},
		`{"part":3}`:                     {"wrong_type", "body.part", "must be an object"},
		`{"id":"junk"}`:                  {"wrong_type", "body.id", "must be in the format that the API documents"},
		`[]`:                             {"wrong_type", "body", "must be an object"},
	} {
		var b body
		p := problem.Of(strictjson.Unmarshal([]byte(text), &b))
		if p == nil {
			t.Errorf("%s: accepted", text)
			continue
		}
		if p.Kind != problem.Invalid || len(p.Fields) != 1 || [3]string{p.Code, p.Fields[0].Location, p.Fields[0].Message} != want {
			t.Errorf("%s: got %s %v, want %v", text, p.Code, p.Fields, want)
		}
	}
	var b body
	if p := problem.Of(strictjson.Unmarshal([]byte(`{`), &b)); p == nil || p.Code != "invalid_json" {
		t.Errorf("got %v, want invalid_json", p)
	}
	if err := strictjson.Unmarshal([]byte(`{}`), nil); err == nil || problem.Of(err) != nil {
		t.Errorf("decoding into nothing: got %v, want an internal error", err)
	}
}

// What a type's own UnmarshalJSON says stays inside.
func TestUnmarshalHidesForeignErrors(t *testing.T) {
	var b struct {
		Stubborn stubborn `json:"stubborn"`
	}
	p := problem.Of(strictjson.Unmarshal([]byte(`{"stubborn":"s3cret"}`), &b))
	if p == nil || p.Code != "wrong_type" {
		t.Fatalf("got %v, want wrong_type", p)
	}
	if text := p.Error() + p.Fields[0].Message; strings.Contains(text, "s3cret") || strings.Contains(text, "no such") {
		t.Errorf("%q repeats the value or the cause", text)
	}
}

type stubborn struct{}

func (*stubborn) UnmarshalJSON([]byte) error { return errors.New("no such thing as s3cret") }

// A pooled reader does not mix up the bodies of concurrent requests.
func TestCheckInParallel(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 500 {
				if err := strictjson.Check([]byte(`{"a":[1,2,{"b":"c"}]}`), strictjson.Default); err != nil {
					t.Error(err)
				}
				if err := strictjson.Check([]byte(`{"a":[1,2`), strictjson.Default); err == nil {
					t.Error("accepted half a value")
				}
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e3,"\u0000","é"]}`, `{"a":1,"a":2}`, "\xff", `[[[[`, `1e999`, `"\ud800"`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		err := strictjson.Check(data, strictjson.Default)
		if string(data) != before {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if problem.Of(err) == nil {
				t.Fatalf("%v is not a problem", err)
			}
			return
		}
		// What is let through, everybody can read.
		var value any
		if err := json.Unmarshal(data, &value); err != nil {
			t.Fatalf("let through what encoding/json refuses: %v", err)
		}
		if again, err := json.Marshal(value); err != nil || !utf8.Valid(again) || strings.Contains(string(again), "\x00") {
			t.Fatalf("let through what cannot be written back: %q, %v", again, err)
		}
		var b body
		if err := strictjson.Unmarshal(data, &b); err != nil && problem.Of(err) == nil {
			t.Fatalf("%v is not a problem", err)
		}
	})
}

var benchmarkBody = []byte(`{"type":"airport","key":"KSFO","attributes":{"name":"San Francisco International","city":"San Francisco","country":"USA","latitude":37.618972,"longitude":-122.374889,"elevation_ft":13,"iata":"SFO","icao":"KSFO","runways":[{"id":"10L","length":11870},{"id":"01R","length":8650}]},"tags":["hub","west"]}`)

func BenchmarkCheck(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(benchmarkBody)))
	for b.Loop() {
		if err := strictjson.Check(benchmarkBody, strictjson.Default); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	type create struct {
		Type       string                     `json:"type"`
		Key        string                     `json:"key"`
		Attributes map[string]json.RawMessage `json:"attributes"`
		Tags       []string                   `json:"tags"`
	}
	b.ReportAllocs()
	for b.Loop() {
		var value create
		if err := strictjson.Unmarshal(benchmarkBody, &value); err != nil {
			b.Fatal(err)
		}
	}
}
