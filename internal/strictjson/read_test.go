package strictjson_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/strictjson"
)

// request has what a request's body can have.
type request struct {
	Type       string                     `json:"type"`
	Key        *string                    `json:"key,omitempty"`
	Attributes map[string]json.RawMessage `json:"attributes"`
	Tags       []string                   `json:"tags"`
	Limit      int                        `json:"limit"`
	Schema     json.RawMessage            `json:"schema"`
}

// Whatever passes Check is read as encoding/json reads it, the faster way or not.
func FuzzReadAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{
		`null`, `true`, ` false `, `-0`, `1.5e-7`, `1E+2`, `12345678901234567890`, `""`, `"a\"\\\/\b\f\n\r\té😀"`, `"\ud83d\ude00"`,
		`[]`, `{}`, "[ 1 , [ ] ,{ \"a\" : null } ]", `{"a":{"b":[true,false,null]},"":"","c,:":"[]{}"}`,
		`{"type":"t","key":null,"attributes":{"a":null,"b":[ 1, 2 ],"c":{"d":"é"}},"tags":["x"],"limit":7,"schema":{ "x": 1 }}`,
		`{"type":1}`, `{"tags":{}}`, `{"limit":1.5}`, `{"TYPE":"t"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if strictjson.Check(text, strictjson.Default) != nil {
			return
		}
		var got, want any
		require.NoError(t, strictjson.Read(text, &got))
		require.NoError(t, json.Unmarshal(text, &want))
		assert.Equal(t, want, got)

		var typed, other request
		if members, ok := want.(map[string]any); !ok || !exact(members) {
			return
		}
		err, otherErr := strictjson.Read(text, &typed), json.Unmarshal(text, &other)
		assert.Equal(t, otherErr == nil, err == nil, "%v, %v", err, otherErr)
		if err == nil {
			assert.Equal(t, other, typed)
		}
	})
}

// exact reports that no member is one that only encoding/json takes for a field.
func exact(members map[string]any) bool {
	known := map[string]bool{"type": true, "key": true, "attributes": true, "tags": true, "limit": true, "schema": true}
	for name := range members {
		if !known[name] {
			return false
		}
	}
	return true
}
