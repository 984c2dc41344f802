package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// Law 5, as a consumer from outside sees it.
func TestTheStreamIsTheLog(t *testing.T) {
	t.Parallel()
	h := newDevHub(t)
	address := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	h.env = append(h.env, "HUB_DEV_NATS_ADDR="+address)
	h.start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	for range 10 {
		h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	}

	conn, err := nats.Connect("nats://" + address)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	consumer, err := js.OrderedConsumer(t.Context(), "HUB_EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"hub.events.acme.>"}})
	require.NoError(t, err)
	messages, err := consumer.Messages()
	require.NoError(t, err)
	t.Cleanup(messages.Stop)
	for _, event := range h.replay() {
		message, err := messages.Next(jetstream.NextContext(t.Context()))
		require.NoError(t, err)
		metadata, err := message.Metadata()
		require.NoError(t, err)
		assert.Equal(t, uint64(event.Position), metadata.Sequence.Stream)
		assert.Equal(t, "hub.events.acme."+event.Type, message.Subject())
		assert.Equal(t, fmt.Sprint(event.Position), message.Headers().Get("ce-position"))
		assert.True(t, strings.HasPrefix(string(message.Data()), "{"))
	}
}

func TestTheOperatorsAddressHasProbesOnly(t *testing.T) {
	t.Parallel()
	h := newDevHub(t)
	operations := &hub{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", hubtest.FreePort(t))}
	h.env = append(h.env, "HUB_OPS_ADDR="+strings.TrimPrefix(operations.base, "http://"))
	h.start()
	assert.Equal(t, http.StatusOK, operations.get("/livez", "", nil, nil))
	assert.Equal(t, http.StatusOK, operations.get("/readyz", "", nil, nil))
	assert.Equal(t, http.StatusNotFound, operations.get("/api/v1/entities", "", nil, nil))
}
