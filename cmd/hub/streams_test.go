package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// streamed is an event of a stream, as a client gets it.
type streamed struct {
	name     string
	ID       string
	Type     string
	Org      string
	Code     string
	Position int64
}

// follow opens a stream and returns where its events come; it is closed with the stream.
func (h *hub) follow(path, token string, header ...string) <-chan streamed {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+path, nil)
	require.NoError(h.t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(h.t, err)
	require.Equal(h.t, http.StatusOK, response.StatusCode)
	events := make(chan streamed, 1000)
	go func() {
		defer close(events)
		defer func() { _ = response.Body.Close() }()
		name, lines := "", bufio.NewScanner(response.Body)
		for lines.Scan() {
			if event, found := strings.CutPrefix(lines.Text(), "event: "); found {
				name = event
			}
			if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
				e := streamed{name: name}
				if json.Unmarshal([]byte(data), &e) == nil {
					events <- e
				}
			}
		}
	}()
	return events
}

// take waits for the next event.
func take(t *testing.T, from <-chan streamed) streamed {
	t.Helper()
	select {
	case e, open := <-from:
		require.True(t, open, "the stream has ended")
		return e
	case <-time.After(startTimeout):
		require.Fail(t, "waited in vain for an event")
		return streamed{}
	}
}

// Streams through a front door, from a query API in another process: they bring each event
// at once, go on from the log when NATS is killed, and from JetStream when it is there
// again; who comes from another front door later goes on where he was. Each process that
// stops says so.
func TestStreamsThroughProcessesThatComeAndGo(t *testing.T) {
	t.Parallel()
	broker := hubtest.NATSProcess(t)
	issuer := newIssuer(t)
	query := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	shared := []string{
		"DATABASE_URL=" + hubtest.Database(t, hubtest.LogAndViews()), "NATS_URL=" + broker.URL(), "IDENTITY_SERVICE_URL=" + issuer,
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + t.TempDir(),
		"HUB_QUERY_ADDR=" + query, "QUERY_API_URL=http://" + query,
	}
	reader := newServeHub(t, shared, "query-api", "projector", "relay")
	reader.launch()
	front, other := newServeHub(t, shared, "command-api"), newServeHub(t, shared, "command-api")
	front.issuer, other.issuer = issuer, issuer
	front.start()
	other.start()

	token, foreign := front.token("acme", "admin"), front.token("other", "admin")
	mine := front.follow("/api/v1/events/stream?types=entity.*", token)
	var ticket struct{ Ticket string }
	response, body, err := other.do(t.Context(), http.MethodPost, "/api/v1/stream-tickets", foreign, nil, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, response.StatusCode, "%s", body)
	require.NoError(t, json.Unmarshal(body, &ticket))
	byTicket := "/api/v1/events/stream?types=entity.*&ticket=" + ticket.Ticket
	theirs := front.follow(byTicket, "")
	require.Equal(t, http.StatusUnauthorized, other.get(byTicket, "", nil, nil), "it has been used")
	front.defineType(token, "thing")
	front.defineType(foreign, "thing")
	last := int64(0)
	create := func() {
		t.Helper()
		made, _ := other.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
		e := take(t, mine)
		require.Equal(t, made.Position, e.Position)
		require.Equal(t, "acme", e.Org)
		last = made.Position
	}
	create()
	create()
	broker.Kill()
	create()
	create()
	broker.Start()
	create()
	made, _ := front.send(http.MethodPost, "/api/v1/entities", foreign, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	assert.Equal(t, made.Position, take(t, theirs).Position, "the first and only one of theirs")

	assert.Zero(t, front.terminate())
	end := take(t, mine)
	assert.Equal(t, "end shutting_down", end.name+" "+end.Code)
	_, open := <-mine
	assert.False(t, open)
	mine = other.follow("/api/v1/events/stream?types=entity.*", token, "Last-Event-ID", fmt.Sprint(last))
	create()
	assert.Zero(t, reader.terminate())
	end = take(t, mine)
	assert.Equal(t, "end shutting_down", end.name+" "+end.Code, "from the query API, through the front door")
	assert.Zero(t, other.terminate())
}
