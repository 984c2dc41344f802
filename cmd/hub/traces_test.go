package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
)

// One POST is one trace, in every process that does something because of it: the trace
// that its caller has begun.
func TestOneRequestIsOneTrace(t *testing.T) {
	t.Parallel()
	received := hubtest.ReceiveTraces(t)
	front := startRoles(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+received.URL, "OTEL_EXPORTER_OTLP_HEADERS=api-key=of%20ours", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test")
	token := front.token("acme", "admin")
	front.defineType(token, "thing")
	created, response := front.send(http.MethodPost, "/api/v1/entities", token,
		map[string]string{"Traceparent": "00-" + callersTrace + "-" + callersSpan + "-00", "Tracestate": "of=a-caller", "X-Request-Id": "of-the-caller"},
		map[string]any{"type": "thing", "attributes": map[string]any{"city": "Paris"}})
	require.Equal(t, "of-the-caller", response.Header.Get("X-Request-Id"))

	const post, publish, project = "POST /api/v1/entities", "publish HUB_EVENTS", "project entities"
	spans := received.Await(t, callersTrace, post, "command", "append", publish, project)
	named, roles := map[string]hubtest.Span{}, map[string]string{}
	for _, span := range spans {
		require.NotContains(t, named, span.Name, "each is there once")
		named[span.Name], roles[span.Name] = span, span.Resource["hub.roles"]
		assert.Empty(t, span.Failed, span.Name)
		assert.Equal(t, "hub-backend", span.Resource["service.name"])
		assert.Equal(t, "test", span.Resource["deployment.environment.name"])
	}
	for below, above := range map[string]string{"command": post, "load": "command", "decide": "command", "append": "command", publish: "command", project: "command"} {
		assert.Equal(t, named[above].ID, named[below].Parent, "%s is below %s", below, above)
	}
	assert.Equal(t, callersSpan, named[post].Parent)
	assert.Contains(t, roles[post], "command-api")
	assert.Contains(t, roles[publish], "relay")
	assert.Contains(t, roles[project], "projector")
	assert.Equal(t, map[string]string{
		"http.request.method": "POST", "http.route": "/api/v1/entities", "http.response.status_code": "201", "hub.org": "acme", "hub.request_id": "of-the-caller",
	}, named[post].Attributes)
	assert.Equal(t, "accepted", named["command"].Attributes["hub.command.outcome"])
	assert.False(t, named[post].Start.After(named["append"].Start) || named["append"].End.After(named[post].End), "the append is within the request")
	assert.Equal(t, "of ours", received.Header().Get("Api-Key"))

	// A read that the front door forwards is one, too.
	const readersTrace = "11111111111111111111111111111111"
	header := after(created.Position)
	header["Traceparent"] = "00-" + readersTrace + "-" + callersSpan + "-01"
	require.Equal(t, http.StatusOK, front.get("/api/v1/entities/"+created.ID, token, header, nil))
	const get = "GET /api/v1/entities/{id}"
	byParent := map[string]hubtest.Span{}
	for len(byParent) < 2 {
		for _, span := range received.Await(t, readersTrace, get) {
			byParent[span.Parent] = span
		}
	}
	door := byParent[callersSpan]
	assert.Contains(t, door.Resource["hub.roles"], "command-api")
	assert.Contains(t, byParent[door.ID].Resource["hub.roles"], "query-api")

	// The events say which trace they belong to, and the messages in JetStream too.
	var found bool
	for line := range strings.Lines(front.command("events", "replay", "--org", "acme", "--type", "entity.created", "--output", "json")) {
		found = found || strings.Contains(line, `"correlation_id"`) && strings.Contains(line, callersTrace)
	}
	assert.True(t, found, "the event's correlation id is the trace's")
}

// A receiver that is away costs nobody anything, and nobody waits for it in the end.
func TestTheHubRunsWithoutItsReceiverOfTraces(t *testing.T) {
	t.Parallel()
	h := newDevHub(t)
	h.env = append(h.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=1.0")
	h.start()
	h.defineType(h.token("acme", "admin"), "thing")
	began := time.Now()
	assert.Equal(t, 0, h.terminate())
	assert.Less(t, time.Since(began), startTimeout)
}
