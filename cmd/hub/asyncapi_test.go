package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/httpapi"
)

// asyncSpec is the document, as text and ready to take schemas from.
func asyncSpec(t *testing.T) (text []byte, schemas *jsonschema.Compiler, document map[string]any) {
	t.Helper()
	text, err := httpapi.AsyncSpec(kinds())
	require.NoError(t, err)
	read, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	schemas = jsonschema.NewCompiler()
	require.NoError(t, schemas.AddResource("asyncapi.json", read))
	return text, schemas, read.(map[string]any)
}

// The document has a channel for each event, and what was ever recorded fits it.
func TestEveryEventFitsTheAsyncAPIDocument(t *testing.T) {
	t.Parallel()
	text, schemas, document := asyncSpec(t)
	again, err := httpapi.AsyncSpec(kinds())
	require.NoError(t, err)
	require.True(t, bytes.Equal(text, again), "not always the same")
	committed, err := os.ReadFile("../../docs/asyncapi.json")
	require.NoError(t, err)
	require.Equal(t, string(committed), string(text), "run make docs")
	for _, found := range regexp.MustCompile(`"\$ref": "#/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		var at any = document
		for step := range strings.SplitSeq(found[1], "/") {
			at = at.(map[string]any)[step]
		}
		require.NotNil(t, at, found[1])
	}
	for _, kind := range kinds() {
		channel := document["channels"].(map[string]any)[kind.Type].(map[string]any)
		assert.Equal(t, "hub.events.{org}."+kind.Type, channel["address"])
		schema, err := schemas.Compile("asyncapi.json#/components/messages/" + kind.Type + "/payload")
		require.NoError(t, err, kind.Type)
		recorded, err := filepath.Glob("../../domain/*/testdata/events/" + kind.Type + ".v*.json")
		require.NoError(t, err)
		require.NotEmpty(t, recorded, kind.Type)
		for _, file := range recorded {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			require.NoError(t, err)
			require.NoError(t, schema.Validate(value), file)
			value.(map[string]any)["a_member_to_come"] = true
			require.NoError(t, schema.Validate(value), "%s with a member that is new", file)
		}
		assert.Error(t, schema.Validate("nonsense"), kind.Type)
	}
	assert.Len(t, document["channels"], len(kinds()))
}

// The headers are those of the messages that the relay sends.
func TestTheHeadersOfMessagesFitTheAsyncAPIDocument(t *testing.T) {
	t.Parallel()
	_, schemas, document := asyncSpec(t)
	schema, err := schemas.Compile("asyncapi.json#/components/schemas/MessageHeaders")
	require.NoError(t, err)
	message := relay.Encode(eventstore.LogEntry{Event: domain.Event{
		ID: uuid.New(), Org: "acme", Type: "entity.created", Stream: "entity:1", Tags: []domain.Tag{"entity:1"}, Subjects: []string{},
		OnBehalfOf: &domain.Actor{Sub: "ana"}, Reason: "r", RequestID: "r", CorrelationID: "c", CausationID: "c", LeafHash: []byte{1},
	}})
	headers := map[string]any{}
	described := document["components"].(map[string]any)["schemas"].(map[string]any)["MessageHeaders"].(map[string]any)["properties"].(map[string]any)
	for name, values := range message.Header {
		headers[name] = values[0]
		if strings.HasPrefix(name, "ce-") {
			assert.Contains(t, described, name)
		}
	}
	require.NoError(t, schema.Validate(headers))
	for name := range described {
		assert.Contains(t, headers, name)
	}
}

func TestTheAsyncAPIDocumentIsServed(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	response, body, err := h.do(t.Context(), http.MethodGet, "/api/asyncapi.json", "", nil, nil)
	require.NoError(t, err)
	require.Equal(t, []any{200, "application/json"}, []any{response.StatusCode, response.Header.Get("Content-Type")})
	assert.Equal(t, h.command("asyncapi"), string(body))
	var document struct{ AsyncAPI string }
	require.NoError(t, json.Unmarshal(body, &document))
	assert.Equal(t, "3.0.0", document.AsyncAPI)
	assert.Equal(t, 304, h.get("/api/asyncapi.json", "", map[string]string{"If-None-Match": response.Header.Get("ETag")}, nil))
}
