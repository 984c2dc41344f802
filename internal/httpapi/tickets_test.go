package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/identity"
)

// ticket asks for one.
func (e *edge) ticket() string {
	e.t.Helper()
	answer := e.call("POST", "/api/v1/stream-tickets", "")
	require.Equal(e.t, 201, answer.Status, "%s", answer.Body)
	require.Equal(e.t, "no-store", answer.Header.Get("Cache-Control"))
	var body StreamTicket
	answer.json(&body)
	require.WithinDuration(e.t, time.Now().Add(30*time.Second), body.ExpiresAt, time.Minute)
	return body.Ticket
}

func TestATicketOpensOneStream(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	l.happen("acme", "ben", "entity.created")
	l.happen("other", "ben", "entity.created")
	l.happen("acme", "ben", "entity.created")
	ticket := l.ticket()
	stream := l.open("?after=0&ticket="+ticket, "Authorization", "")
	require.EqualValues(t, 1, stream.next().position)
	require.EqualValues(t, 3, stream.next().position, "of the organisation that the ticket is for")
	l.call("GET", "/api/v1/events/stream?ticket="+ticket, "", "Authorization", "").expect(401, "invalid_ticket")

	// As the caller of the ticket, whose roles may not do.
	l.admin = l.issuer.token(t, "viewer")
	ticket = l.ticket()
	l.call("GET", "/api/v1/events/stream?ticket="+ticket, "", "Authorization", "").expect(403, "forbidden")
}

func TestTicketsAreRefused(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	ticket := l.ticket()
	const stream = "/api/v1/events/stream?ticket="
	l.call("GET", stream+ticket, "").expect(400, "two_credentials")
	for _, bad := range []string{"", "x", ticket[1:], ticket + "&ticket=" + ticket, strings.Repeat("A", 40_000)} {
		answer := l.call("GET", stream+bad, "", "Authorization", "")
		answer.expect(401, "invalid_ticket")
		require.NotEmpty(t, answer.Header.Get("WWW-Authenticate"))
	}
	// On routes that are no streams it is nothing.
	l.call("GET", "/api/v1/events?ticket="+ticket, "", "Authorization", "").expect(401, "missing_token")
	l.call("POST", "/api/v1/stream-tickets?ticket="+ticket, "", "Authorization", "").expect(401, "missing_token")
	l.call("POST", "/api/v1/stream-tickets", `{"minutes":5}`).expect(422, "unknown_field")
	l.call("HEAD", stream+ticket, "", "Authorization", "")
	l.call("GET", stream+ticket, "", "Authorization", "").expect(401, "invalid_ticket")

	l.admin = l.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: []string{"analyst"}, TTLSeconds: 5})
	opened := l.open("?ticket="+l.ticket(), "Authorization", "")
	require.Equal(t, endExpired, opened.ends().Code, "the stream ends with the token that the ticket is from")
}

// Two processes with the key: whoever is first has it, and a ticket of one is good at the
// other.
func TestATicketIsGoodOnceInAllProcesses(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	other, err := New(Options{
		Reads: l.api.reads, Operations: l.api.operations, Events: l.api.events, Clear: noClear(), Accesses: noAccesses, Verifier: l.issuer.verifier, RequestHashKey: []byte("key"), TicketKey: make([]byte, 32),
		AllowedHosts: []string{"hub.test"},
	})
	require.NoError(t, err)
	t.Cleanup(other.EndStreams)
	other.EndStreams() // its streams end at once
	l.api.EndStreams()
	handlers := []http.Handler{l.handler, other.QueryHandler()}
	for range 10 {
		ticket := l.ticket()
		var opened atomic.Int64
		var racers sync.WaitGroup
		for i := range 4 {
			request := l.request("GET", "/api/v1/events/stream?ticket="+ticket, "", "Authorization", "")
			racers.Go(func() {
				recorder := httptest.NewRecorder()
				handlers[i%2].ServeHTTP(recorder, request)
				if recorder.Code == http.StatusOK {
					opened.Add(1)
					return
				}
				assert.Equal(t, http.StatusUnauthorized, recorder.Code)
			})
		}
		racers.Wait()
		require.EqualValues(t, 1, opened.Load())
	}
}

// Whatever happens to a request with a ticket, no line of a log has it: not at a front
// door, whose query API is away, nor where it is redeemed.
func TestNoLogHasATicket(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	lines := &logged{}
	log := slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	nowhere := httptest.NewServer(nil)
	nowhere.Close()
	front := newEdge(t, func(o *Options) {
		o.Reads, o.Operations, o.Events, o.QueryAPIURL, o.Log = nil, nil, nil, nowhere.URL, log
	})
	ticket := front.ticket()
	front.call("GET", "/api/v1/events/stream?ticket="+ticket, "", "Authorization", "").expect(503, "query_api_unavailable")
	require.Contains(t, lines.String(), "query API not reached")
	require.Contains(t, lines.String(), "route=/api/v1/events/stream")
	require.NotContains(t, lines.String(), ticket[:16])

	reading := newEdge(t, func(o *Options) { o.Events, o.Log = l.api.events, log })
	reading.api.EndStreams()
	request := reading.request("GET", "/api/v1/events/stream?ticket="+ticket, "", "Authorization", "")
	require.Equal(t, 200, serve(t, reading.handler, request).Status, "the front's ticket")
	require.NotContains(t, request.URL.RawQuery, ticket, "nothing behind sees it")
	reading.call("GET", "/api/v1/events/stream?ticket="+ticket, "", "Authorization", "").expect(401, "invalid_ticket")
	reading.call("GET", "/api/v1/events/nothing?ticket="+ticket, "").expect(404, "not_found")
	reading.api.events = &Events{Tail: l.api.events.Tail, UseTicket: func(context.Context, uuid.UUID, time.Time) (bool, error) {
		return false, errors.New("the database is away")
	}}
	reading.call("GET", "/api/v1/events/stream?ticket="+ticket, "", "Authorization", "").expect(503, "log_unavailable")
	require.Contains(t, lines.String(), "status=401")
	require.NotContains(t, lines.String(), ticket[:16])
}
