package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// overheard is a test whose processes' logs can be read.
type overheard struct {
	testing.TB
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *overheard) Output() io.Writer { return o }

func (o *overheard) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// What callers send is nowhere but in the log of events and in the answers that show it:
// not in logs at any level, not in traces, metrics, profiles or refusals.
func TestWhatCallersSendStaysInside(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	received, heard := hubtest.ReceiveTraces(t), &overheard{TB: t}
	h := newDevHub(heard)
	ops := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	h.env = append(h.env, "HUB_OPS_ADDR="+ops, "HUB_LOG_LEVEL=debug", "OTEL_EXPORTER_OTLP_ENDPOINT="+received.URL)
	h.start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	planted := map[string]string{
		"Cookie": "session=" + canary, "Idempotency-Key": canary, "Hub-Reason": canary, "Tracestate": "a=" + canary, "Baggage": "b=" + canary,
		"Traceparent": "00-" + callersTrace + "-" + callersSpan + "-01", "User-Agent": canary, "Referer": "http://" + canary, "X-Forwarded-For": canary,
	}
	h.send(http.MethodPost, "/api/v1/entities", token, planted, map[string]any{"type": "thing", "key": canary, "attributes": map[string]any{canary: canary}, "tags": []string{canary}})

	var refusals strings.Builder
	for n, c := range []struct {
		method, path, token string
		body                any
		header              string
		status              int
	}{
		{http.MethodGet, "/api/v1/entities/" + canary, token, nil, "", 404},
		{http.MethodGet, "/api/v1/entity-types/" + canary, token, nil, "", 404},
		{http.MethodGet, "/api/v1/" + canary, token, nil, "", 404},
		{http.MethodGet, "/api/v1/entities?limit=" + canary, token, nil, "", 422},
		{http.MethodGet, "/api/v1/entities?cursor=" + canary, token, nil, "", 400},
		{http.MethodGet, "/api/v1/entities", canary + "." + canary + "." + canary, nil, "", 401},
		{http.MethodGet, "/api/v1/me?ticket=" + canary, token, nil, "", 422},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": canary, "attributes": map[string]any{}}, "", 422},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "attributes": canary}, "", 422},
		{http.MethodPost, "/api/v1/entities", token, canary, "", 422},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "key": canary, "attributes": map[string]any{}}, "", 409},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "attributes": map[string]any{}}, "If-Match", 400},
		{http.MethodPost, "/api/v1/entities", token, map[string]any{"type": "thing", "attributes": map[string]any{}}, "Content-Type", 415},
		{http.MethodGet, "/api/v1/entities", token, nil, "Hub-Min-Position", 400},
	} {
		header := map[string]string{"Cookie": "session=" + canary, "User-Agent": canary}
		if c.header != "" {
			header[c.header] = canary
		}
		response, answer, err := h.do(t.Context(), c.method, c.path, c.token, header, c.body)
		require.NoError(t, err)
		assert.Equal(t, c.status, response.StatusCode, "request %d: %s", n, answer)
		fmt.Fprintf(&refusals, "%d: %s %v\n", n, answer, response.Header)
	}
	operators := &hub{t: t, base: "http://" + ops}
	shown := map[string]string{"refusals": refusals.String()}
	for _, path := range []string{"/metrics", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		response, text, err := operators.do(t.Context(), http.MethodGet, path, "", nil, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		shown[path] = string(text)
	}
	received.Await(t, callersTrace, "POST /api/v1/entities", "command", "append", "publish HUB_EVENTS", "project entities")
	require.Equal(t, 0, h.terminate())
	shown["traces"], shown["logs"] = string(received.Bytes()), heard.text.String()
	require.Contains(t, shown["logs"], "route=/api/v1/entities")
	require.Contains(t, shown["/metrics"], "hub_trace_spans_total")
	require.Greater(t, len(received.Spans()), 20)
	for where, text := range shown {
		for line := range strings.Lines(text) {
			assert.NotContains(t, line, canary, where)
		}
		assert.NotContains(t, text, token, where)
	}
}
