package entity

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// What cannot happen is not passed over if it does.
func TestFaultsOfOursPanic(t *testing.T) {
	for name, run := range map[string]func(){
		"writing a function":  func() { encode(func() {}) },
		"reading half a text": func() { (&valueReader{text: []byte(`"\x"`)}).value() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			run()
		}()
	}
}

// decode and encode agree with encoding/json.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5E+3,true,false,null,"\\\"\u00e9"],"":{}}`, ` [ ] `, `"\ud800"`, `{"a":1,"a":{"b":"\u2028"}}`, `-0`, "\xff", `{"a":`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decode(data)
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want any
		if !utf8.Valid(data) || !json.Valid(data) || d.Decode(&want) != nil {
			if err == nil {
				t.Fatalf("read %q", data)
			}
			return
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v (%v), want %#v", data, got, err, want)
		}
		var written bytes.Buffer
		e := json.NewEncoder(&written)
		e.SetEscapeHTML(false)
		if err := e.Encode(want); err != nil {
			t.Fatal(err)
		}
		if text := encode(got); string(text) != strings.TrimSuffix(written.String(), "\n") {
			t.Fatalf("wrote %s, want %s", text, written.String())
		}
	})
}

func TestSameComparesJSON(t *testing.T) {
	for _, pair := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":"<"}`, ` {"b":"\u003c","a":1}`, true},
		{`1`, `1.0`, false},
		{`{`, `{`, true},
		{`{`, `{ `, false},
		{`1`, `{`, false},
	} {
		if got := same([]byte(pair.a), []byte(pair.b)); got != pair.want {
			t.Errorf("same(%s, %s) = %v", pair.a, pair.b, got)
		}
	}
}

// A fault of ours in a validation is not taken for too much work.
func TestValidatePassesPanicsOn(t *testing.T) {
	defer func() {
		if cause := recover(); cause == nil || cause == errTooMuchWork { //nolint:errorlint // a panic's value
			t.Errorf("got the panic %v", cause)
		}
	}()
	(&attributeSchema{work: &work{}}).validate(nil)
}

func TestSchemaProblemOfAnExpression(t *testing.T) {
	err := schemaProblem(&jsonschema.InvalidRegexError{URL: schemaURL + "#/properties/a/pattern", Regex: "(", Err: errors.New("missing")})
	if got, want := problem.Of(err).Fields[0].Location, "body.schema/properties/a/pattern"; got != want {
		t.Errorf("located at %s, want %s", got, want)
	}
}

func TestMessageOfAnUnknownKind(t *testing.T) {
	if got := message(&kind.ContentSchema{}); got != "does not match the schema" {
		t.Errorf("got %q", got)
	}
}
