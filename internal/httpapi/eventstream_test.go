package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// sseEvent is an event as EventSource would dispatch it.
type sseEvent struct {
	id, name, data string
	position       int64
	err            error
}

// sseClient reads a stream by the rules of the WHATWG.
type sseClient struct {
	t      testing.TB
	header http.Header
	events chan sseEvent
	close  context.CancelFunc
}

// open opens a stream of the edge on a real connection.
func (l *logEdge) open(query string, headers ...string) *sseClient {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l.t.Cleanup(cancel) // before the server waits for it
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.server.URL+"/api/v1/events/stream"+query, nil)
	require.NoError(l.t, err)
	request.Host = "hub.test"
	request.Header.Set("Authorization", "Bearer "+l.admin)
	setHeaders(request.Header, headers)
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(l.t, err)
	require.Equal(l.t, 200, response.StatusCode)
	require.Equal(l.t, streamMedia, response.Header.Get("Content-Type"))
	c := &sseClient{t: l.t, header: response.Header, events: make(chan sseEvent, 1000), close: cancel}
	go c.read(bufio.NewScanner(response.Body))
	return c
}

func (c *sseClient) read(lines *bufio.Scanner) {
	defer close(c.events)
	lines.Buffer(nil, 1<<20)
	var e sseEvent
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data += value
		case "":
			if lines.Text() == "" && e.data != "" {
				var body struct{ Position int64 }
				e.err = json.Unmarshal([]byte(e.data), &body)
				e.position = body.Position
				c.events <- e
				e = sseEvent{id: e.id}
			}
		}
	}
}

// next is the next event.
func (c *sseClient) next() sseEvent {
	c.t.Helper()
	select {
	case e, open := <-c.events:
		require.True(c.t, open, "the stream has ended")
		require.NoError(c.t, e.err, e.data)
		if e.name == "" {
			require.Equal(c.t, strconv.FormatInt(e.position, 10), e.id, "id is the position")
		}
		return e
	case <-time.After(time.Minute):
		c.t.Fatal("waited in vain for an event")
		return sseEvent{}
	}
}

// ends is the last event, after which the connection ends.
func (c *sseClient) ends() StreamEnd {
	c.t.Helper()
	e := c.next()
	require.Equal(c.t, "end", e.name, e.data)
	var end StreamEnd
	require.NoError(c.t, json.Unmarshal([]byte(e.data), &end))
	_, open := <-c.events
	require.False(c.t, open)
	return end
}

func TestAStreamBringsWhatHappens(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	l.happen("acme", "ben", "entity.created", "entity.updated")
	live, all := l.open(""), l.open("?after=0&types=entity.*&tag=type:entity.updated")
	resumed := l.open("?after=0", "Last-Event-ID", "1")
	require.Equal(t, "2", live.header.Get("Hub-Position"), "it begins with what is to come")
	require.Equal(t, "no", live.header.Get("X-Accel-Buffering"))
	require.Equal(t, "no-store", live.header.Get("Cache-Control"))
	require.Len(t, live.header.Get("Hub-Epoch"), 36)
	l.happen("other", "ben", "entity.updated")
	l.happen("acme", "ben", "entity.updated")
	require.EqualValues(t, 4, live.next().position)
	require.EqualValues(t, 2, all.next().position)
	require.EqualValues(t, 4, all.next().position)
	for _, want := range []int64{2, 4} {
		e := resumed.next()
		require.Equal(t, want, e.position, "Last-Event-ID is stronger than after")
		require.Contains(t, e.data, `"source":"urn:hub-backend:acme"`)
	}
	require.Equal(t, 3, l.api.seats.taken())
	for _, c := range []*sseClient{live, all, resumed} {
		c.close()
	}
	l.untilSeats(0)
}

// Broken off wherever it may be and taken up again with the last id: no event is missing
// and none comes twice, while others write.
func TestStreamsAreTakenUpWithoutGapOrRepetition(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	head := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		var want, got []int64
		after := head
		count := rapid.IntRange(1, 30).Draw(rt, "events")
		done := make(chan struct{})
		orgs := make([]string, count)
		for i := range orgs {
			orgs[i] = rapid.SampledFrom([]string{"acme", "acme", "other"}).Draw(rt, "org")
			head++
			if orgs[i] == "acme" {
				want = append(want, head)
			}
		}
		go func() {
			defer close(done)
			for _, org := range orgs {
				l.happen(org, "ben", "entity.created")
			}
		}()
		last := strconv.FormatInt(after, 10)
		for len(got) < len(want) {
			stream := l.open("?after="+strconv.FormatInt(after, 10), "Last-Event-ID", last)
			for range min(rapid.IntRange(1, 10).Draw(rt, "before it breaks"), len(want)-len(got)) {
				e := stream.next()
				got, last = append(got, e.position), e.id
			}
			stream.close()
		}
		<-done
		require.Equal(rt, want, got)
	})
}

func TestAStreamEndsWithTheToken(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	l.admin = l.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: []string{"analyst"}, TTLSeconds: 3})
	require.Equal(t, endExpired, l.open("").ends().Code)
	l.untilSeats(0)
}

func TestAStreamEndsWithTheEpoch(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	l.happen("acme", "ben", "entity.created", "entity.created")
	stream, before := l.open(""), l.open("?after=0&types=entity_type.*")
	stream.close()
	stream = l.open("?after=0")
	require.EqualValues(t, 1, stream.next().position)
	require.EqualValues(t, 2, stream.next().position)
	l.forked(1)
	l.happen("acme", "ben", "entity.created")
	end := stream.ends()
	require.Equal(t, endEpoch, end.Code)
	require.EqualValues(t, 1, end.Position)
	require.Equal(t, endEpoch, before.ends().Code, "it has been told of position 2, too")
	again := l.open(fmt.Sprintf("?after=%v&epoch=%v", end.Position, end.Epoch))
	require.Equal(t, end.Epoch, again.header.Get("Hub-Epoch"))
	require.EqualValues(t, 2, again.next().position)
	require.EqualValues(t, 3, again.next().position)
}

func TestAStreamEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	stream := l.open("")
	l.api.EndStreams()
	require.Equal(t, endStopping, stream.ends().Code)
	require.Equal(t, endStopping, l.open("").ends().Code, "and those that come now")
}

// While the log cannot be read a stream stays open, and goes on when it can: with what
// happened meanwhile. Who comes then is told to come again.
func TestAStreamOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	stream := l.open("")
	l.happen("acme", "ben", "entity.created")
	require.EqualValues(t, 1, stream.next().position)
	l.between.Refuse()
	l.between.Cut()
	l.happen("acme", "ben", "entity.created")
	for _, path := range []string{"/api/v1/events", "/api/v1/events?wait=30", "/api/v1/events/stream"} {
		answer := l.call("GET", path, "")
		answer.expect(503, "log_unavailable")
		require.Equal(t, "1", answer.Header.Get("Retry-After"))
	}
	l.between.Accept()
	l.happen("acme", "ben", "entity.created")
	require.EqualValues(t, 2, stream.next().position)
	require.EqualValues(t, 3, stream.next().position)
	require.Equal(t, 1, l.api.seats.taken())
}

// Metrics tell when streams began, not how long they lived, and hold no connection to be
// a request that works.
func TestAStreamIsNoSlowRequest(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	stream := l.open("")
	metrics := string(serve(t, l.api.OpsHandler(), httptest.NewRequest(http.MethodGet, "/metrics", nil)).Body)
	require.Contains(t, metrics, "hub_event_streams_open 1")
	require.Contains(t, metrics, `hub_http_requests_total{route="GET /api/v1/events/stream",status="2xx"} 1`)
	require.Contains(t, metrics, "hub_http_requests_in_flight 1", "which is this one")
	stream.close()
	l.untilSeats(0)
}

func TestHeadOfAStreamEnds(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	answer := l.call("HEAD", "/api/v1/events/stream", "")
	require.Equal(t, 200, answer.Status)
	require.Equal(t, streamMedia, answer.Header.Get("Content-Type"))
	require.Zero(t, l.api.seats.taken())
}

// stuck is a connection that takes nothing any more.
type stuck struct{ *httptest.ResponseRecorder }

func (stuck) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestAClientThatTakesNothingIsLeft(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	request := l.request("GET", "/api/v1/events/stream", "")
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.handler.ServeHTTP(stuck{httptest.NewRecorder()}, request)
	}()
	hubtest.Wait(t, time.Minute, "the stream to end", done)
	metrics := string(serve(t, l.api.OpsHandler(), httptest.NewRequest(http.MethodGet, "/metrics", nil)).Body)
	require.Contains(t, metrics, `hub_event_streams_ended_total{why="slow"} 1`)
	require.Contains(t, l.log.String(), "takes nothing")
}

// A heartbeat tells how far the hub has looked, so that who comes again need not have it
// looked at again.
func TestAHeartbeatMovesTheLastID(t *testing.T) {
	t.Parallel()
	s := &eventStream{told: 7}
	s.at.Position = 7
	s.beat()
	s.at.Position = 9
	s.beat()
	s.beat()
	require.Equal(t, ": heartbeat\n\n: heartbeat\nid: 9\n\n: heartbeat\n\n", s.text.String())
}
