package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reactdjango-hub/backend/domain"
)

const (
	asyncPath = "/api/asyncapi.json"
	// eventHeader is before the attributes of CloudEvents in the headers of a message.
	eventHeader = "ce-"
	// headersName is the schema of them.
	headersName = "MessageHeaders"
)

const asyncDescription = `What Hub Backend sends: every event of the log, each in one message.

In the JetStream stream HUB_EVENTS the sequence of a message is the event's position, so a
consumer that has seen N goes on after N. A message is a CloudEvent 1.0 in binary mode: its
attributes are headers, the body is data, exactly as it was recorded. Over HTTP the same events
are pages, GET /api/v1/events, and server-sent events, GET /api/v1/events/stream; openapi.json has these.

Shapes only grow: members that a reader does not know are to be passed over. A changed shape has
a new ce-schemaversion. Where a value was sealed, because it is personal or sensitive, an object
with $sealed stands in its place.`

// AsyncSpec is the AsyncAPI 3.0 document of the events of these kinds: indented JSON, the
// same bytes each time.
func AsyncSpec(kinds []domain.EventKind) ([]byte, error) {
	setHuma()
	// Types that write themselves are what they write, which no reflection tells.
	written := map[string]bool{}
	schemas := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		name := schemaName(t, hint)
		written[name] = written[name] || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]())
		return name
	})
	channels, operations, messages := map[string]any{}, map[string]any{}, map[string]any{}
	for _, kind := range kinds {
		payload, err := payloadSchema(schemas, kind)
		if err != nil {
			return nil, err
		}
		messages[kind.Type] = map[string]any{
			"name": kind.Type, "title": kind.Type, "summary": fmt.Sprintf("Schema version %d.", kind.SchemaVersion), "contentType": "application/json",
			"headers": reference("schemas", headersName), "payload": payload,
		}
		channels[kind.Type] = map[string]any{
			"address": "hub.events.{org}." + kind.Type, "messages": map[string]any{kind.Type: reference("messages", kind.Type)},
			"parameters": map[string]any{"org": reference("parameters", "org")},
		}
		channel := map[string]string{"$ref": "#/channels/" + kind.Type}
		operations[kind.Type] = map[string]any{
			"action": "send", "channel": channel, "messages": []any{map[string]string{"$ref": "#/channels/" + kind.Type + "/messages/" + kind.Type}},
		}
	}
	all := map[string]any{headersName: messageHeaders()}
	for name, schema := range schemas.Map() {
		if written[name] {
			schema = &huma.Schema{Description: "A value, or an object with $sealed in its place."}
		}
		grows(schema)
		all[name] = schema
	}
	return indented(map[string]any{
		"asyncapi": "3.0.0", "defaultContentType": "application/json",
		"info":     map[string]any{"title": "Hub Backend", "version": apiVersion, "description": asyncDescription},
		"channels": channels, "operations": operations,
		"components": map[string]any{
			"messages": messages, "schemas": all,
			"parameters": map[string]any{"org": map[string]any{"description": "The organisation, or _hub for what is of the log as a whole.", "examples": []string{"acme"}}},
		},
	})
}

func reference(kind, name string) map[string]string {
	return map[string]string{"$ref": "#/components/" + kind + "/" + name}
}

// payloadSchema is the schema of what is recorded of a kind.
func payloadSchema(schemas huma.Registry, kind domain.EventKind) (*huma.Schema, error) {
	payload, err := kind.Decode(kind.SchemaVersion, []byte("{}"))
	if err != nil {
		return nil, fmt.Errorf("the empty %s: %w", kind.Type, err)
	}
	return schemas.Schema(reflect.TypeOf(payload), true, ""), nil
}

// schemaName tells apart types of one name in several areas.
func schemaName(t reflect.Type, hint string) string {
	if t.Name() == "" {
		return hint
	}
	return path.Base(t.PkgPath()) + "." + strings.Map(func(c rune) rune {
		if strings.ContainsRune("[]/,* ", c) { // of type parameters
			return '_'
		}
		return c
	}, t.Name())
}

// grows lets objects have members that are not there yet.
func grows(schema *huma.Schema) {
	if schema == nil {
		return
	}
	if closed, ok := schema.AdditionalProperties.(bool); ok && !closed {
		schema.AdditionalProperties = nil
	}
	if more, ok := schema.AdditionalProperties.(*huma.Schema); ok {
		grows(more)
	}
	grows(schema.Items)
	for _, member := range schema.Properties {
		grows(member)
	}
}

// messageHeaders are the attributes of a CloudEvent as headers, which are texts.
func messageHeaders() *huma.Schema {
	headers := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
	for field := range reflect.TypeFor[CloudEvent]().Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "data" {
			continue
		}
		headers.Properties[eventHeader+name] = &huma.Schema{Type: huma.TypeString, Description: field.Tag.Get("doc")}
		if options == "" {
			headers.Required = append(headers.Required, eventHeader+name)
		}
	}
	return headers
}

func (a *API) serveAsyncSpec(w http.ResponseWriter, r *http.Request) {
	serveStatic(w, r, "application/json", a.asyncSpec)
}
