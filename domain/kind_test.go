package domain_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
)

// noted is a payload of everything that payloads are made of.
type noted struct {
	Text    string                     `json:"text"`
	Number  int64                      `json:"number,omitempty"`
	Pointer *int                       `json:"pointer,omitempty"`
	List    []string                   `json:"list"`
	Raw     map[string]json.RawMessage `json:"raw,omitempty"`
	domain.Actor
}

func (noted) EventType() string { return "test.noted" }

// Events are read by another decoder than the one whose rules they were written by, and
// nobody notices.
func TestEventsAreReadByTheRulesThatTheyWereWrittenBy(t *testing.T) {
	t.Parallel()
	kind := domain.Kind[noted]()
	for _, text := range []string{
		`{}`, `null`, `{"text":null,"list":null,"raw":null,"pointer":null}`, `{"list":[],"raw":{}}`,
		`{"text":"a","number":9223372036854775807,"pointer":0,"list":["b",""],"sub":"ana"}`,
		`{"raw":{"a":1.00,"b":{"c":[1, 2]},"d":null,"e":12345678901234567890.5}}`,
		`{"unknown":{"a":[]},"text":"a"}`, `{"TEXT":"in another case"}`, `{"text":"a","text":"b"}`, `{"raw":{"a":1},"raw":{"b":2}}`,
		"{\"text\":\"\xff\"}", `{"text":"\ud800"}`, "{\"text\":\"<&>\u2028\"}", ` { "text" : "spaced" } `,
		`{"text":1}`, `{"number":"1"}`, `{"number":1.5}`, `{"number":9223372036854775808}`, `{"list":{}}`, `[]`, `{"text":"a"} {}`, `{"text"`, ``,
	} {
		var wanted noted
		wrong := json.Unmarshal([]byte(text), &wanted)
		found, err := kind.Decode(1, []byte(text))
		if wrong != nil {
			require.Error(t, err, text)
			continue
		}
		require.NoError(t, err, text)
		require.Equal(t, wanted, found, text)
	}
}
