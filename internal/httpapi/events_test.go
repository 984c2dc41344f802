package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// logEdge is an edge on a log of its own, which a test writes.
type logEdge struct {
	*edge
	url     string
	command *eventstore.Store
	// between is what the edge reads the log through.
	between *hubtest.Proxy
	// server is the edge on a real connection.
	server *httptest.Server
}

func newLogEdge(t testing.TB) *logEdge {
	t.Helper()
	url := hubtest.Database(t, hubtest.Log())
	between := hubtest.PostgresProxy(t, url)
	store := eventstore.New(hubtest.Pool(t, between.Through(t, url), string(eventstore.RoleQuery)))
	tail := subscription.NewTail(subscription.Options{Store: store})
	run(t, func(ctx context.Context) { _ = tail.Run(ctx) })
	e := newEdge(t, func(o *Options) {
		o.Events = &Events{Tail: tail, UseTicket: store.UseTicket, Types: []string{accessRecorded, "entity.created", "entity.updated", "entity_type.defined"}}
	})
	server := httptest.NewServer(e.handler)
	t.Cleanup(server.Close)
	return &logEdge{edge: e, url: url, command: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))), between: between, server: server}
}

// happen appends an event of each type and returns the last position.
func (l *logEdge) happen(org, sub string, types ...string) int64 {
	l.t.Helper()
	var turn eventstore.Turn
	for _, name := range types {
		stream := domain.Tag("entity:" + uuid.NewString())
		turn.Outcomes = append(turn.Outcomes, eventstore.Outcome{
			Meta: domain.Meta{
				Org: org, Actor: domain.Actor{Sub: sub, Person: "p-" + sub}, Now: time.Now().UTC(), CommandID: uuid.Must(uuid.NewV7()),
				Reason: "é<&\"", RequestID: "r-1", CorrelationID: "c-1",
			},
			ResourceID: stream.Name(), Version: 1,
			Events: []eventstore.NewEvent{{
				ID: uuid.Must(uuid.NewV7()), Stream: stream, Version: 1, Type: name, SchemaVersion: 1,
				Tags: []domain.Tag{stream, domain.Tag("type:" + name)}, Data: []byte(`{"n": 1.10, "t":"<é>"}`),
			}},
		})
	}
	appended, err := l.command.Append(l.t.Context(), turn)
	require.NoError(l.t, err)
	require.False(l.t, appended.Refused())
	return appended.Base + int64(len(types))
}

// forked begins an epoch, as if PostgreSQL had lost what was after a position.
func (l *logEdge) forked(position int64) {
	l.t.Helper()
	_, err := hubtest.Pool(l.t, l.url, "").Exec(l.t.Context(), `INSERT INTO log_epochs (number, after_position, fork_position)
		SELECT max(number) + 1, (SELECT head FROM log_head()), $1 FROM log_epochs`, position)
	require.NoError(l.t, err)
}

// feed reads a page.
func (l *logEdge) feed(query string) (positions []int64, answer *reply) {
	l.t.Helper()
	answer = l.call("GET", "/api/v1/events?"+query, "")
	require.Equal(l.t, 200, answer.Status, "%s: %s", query, answer.Body)
	require.Equal(l.t, batchMedia, answer.Header.Get("Content-Type"))
	var events []struct{ Position int64 }
	answer.json(&events)
	for _, e := range events {
		positions = append(positions, e.Position)
	}
	return positions, answer
}

func TestTheFeedHasTheEventsOfTheOrganisation(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	l.happen("acme", "ben", "entity_type.defined", "entity.created", "entity.updated")
	l.happen("other", "ben", "entity.created")
	l.happen("acme", "ben", "entity.created", "entity.updated")
	head := l.happen("other", "ben", "entity.created")
	for query, want := range map[string][]int64{
		"":                                   {1, 2, 3, 5, 6},
		"after=2":                            {3, 5, 6},
		"after=0&limit=2":                    {1, 2},
		"types=entity.created":               {2, 5},
		"types=entity.*":                     {2, 3, 5, 6},
		"types=entity_type.*,entity.updated": {1, 3, 6},
		"types=entity.*,entity.updated&after=2&limit=1": {3},
		"tag=type:entity.created":                       {2, 5},
		"tag=type:entity.created&types=entity.updated":  nil,
		"tag=key:none": nil,
		"after=7":      nil,
		"after=1000":   nil,
	} {
		got, answer := l.feed(query)
		require.Equal(t, want, got, query)
		reached := answer.Header.Get("Hub-Position")
		asked, err := url.ParseQuery(query)
		require.NoError(t, err)
		if asked.Has("limit") {
			require.Equal(t, fmt.Sprint(want[len(want)-1]), reached, "%s: a page that was cut ends with its last event", query)
		} else {
			require.Equal(t, fmt.Sprint(max(head, atLeast(asked.Get("after")))), reached, "%s: it has looked at all there is", query)
		}
		require.Len(t, answer.Header.Get("Hub-Epoch"), 36)
		link := answer.Header.Get("Link")
		require.Contains(t, link, "after="+reached)
		next := strings.TrimSuffix(strings.TrimPrefix(link, "</api/v1/events?"), `>; rel="next"`)
		if !asked.Has("limit") {
			got, _ = l.feed(next)
			require.Empty(t, got, next)
		}
	}
	require.Equal(t, "[]", string(l.call("GET", "/api/events/?after=7", "").Body))

	l.admin = l.issuer.tokenOf(t, identity.TokenRequest{Sub: "ana", Org: "third", Roles: []string{"analyst"}})
	got, _ := l.feed("")
	require.Empty(t, got, "another organisation")
}

func atLeast(text string) (n int64) {
	_, _ = fmt.Sscan(text, &n)
	return n
}

func TestTheFeedRefuses(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	for query, code := range map[string]string{
		"limit=501": "invalid_request", "limit=0": "invalid_request", "after=-1": "invalid_request", "wait=31": "invalid_request",
		"types=entity.crated": "invalid_filter", "types=*": "invalid_filter", "types=.*": "invalid_filter", "types=entity.*,": "invalid_filter",
		"types=" + strings.Repeat("entity.*,", 101): "invalid_filter",
		"tag=nothing": "invalid_filter", "tag=%0A:x": "invalid_filter", "epoch=yesterday": "invalid_request",
		"epoch=00000000-0000-0000-0000-000000000000": "invalid_request", "ticket=x": "unknown_parameter",
	} {
		l.call("GET", "/api/v1/events?"+query, "").expect(422, code)
	}
	l.call("GET", "/api/v1/events/stream", "", "Last-Event-ID", "one").expect(400, "invalid_last_event_id")
	l.call("GET", "/api/v1/events/stream?types=no.such", "").expect(422, "invalid_filter")
}

// The JSON of an event says, attribute by attribute, what its message in JetStream says.
func TestEventsAreCloudEvents(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	l.happen("acme", "ben", "entity.created")
	_, answer := l.feed("")
	var got []map[string]json.RawMessage
	answer.json(&got)
	entries, err := eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleRelay))).ReadLog(t.Context(), 0, 1)
	require.NoError(t, err)
	message := relay.Encode(entries[0])
	var names []string
	for header, values := range message.Header {
		name, attribute := strings.CutPrefix(header, "ce-")
		if !attribute || name == "hubreceipt" {
			continue
		}
		names = append(names, name)
		want, err := url.PathUnescape(values[0])
		require.NoError(t, err)
		text := string(got[0][name])
		if strings.HasPrefix(text, `"`) {
			require.NoError(t, json.Unmarshal(got[0][name], &text))
		}
		if name == "time" || name == "recordedat" {
			wanted, err := time.Parse(time.RFC3339Nano, want)
			require.NoError(t, err)
			found, err := time.Parse(time.RFC3339Nano, text)
			require.NoError(t, err)
			require.True(t, wanted.Equal(found), name)
			continue
		}
		require.Equal(t, want, text, name)
	}
	require.Len(t, got[0], len(names)+1, "and the data")
	require.Equal(t, `{"n":1.10,"t":"<é>"}`, string(got[0]["data"]), "numbers as they were written")
}

// Large events come in smaller pages, which are complete all the same.
func TestPagesOfTheFeedAreBounded(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	const count, size = 12, 200 << 10
	for range count {
		stream := domain.Tag("entity:" + uuid.NewString())
		_, err := l.command.Append(t.Context(), eventstore.Turn{Outcomes: []eventstore.Outcome{{
			Meta:       domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ben", Person: "ben"}, Now: time.Now(), CommandID: uuid.Must(uuid.NewV7())},
			ResourceID: stream.Name(), Version: 1,
			Events: []eventstore.NewEvent{{
				ID: uuid.Must(uuid.NewV7()), Stream: stream, Version: 1, Type: "entity.created", SchemaVersion: 1, Tags: []domain.Tag{stream},
				Data: []byte(`{"x":"` + strings.Repeat("x", size) + `"}`),
			}},
		}}})
		require.NoError(t, err)
	}
	var all []int64
	for at := "0"; len(all) < count; {
		got, answer := l.feed("limit=500&after=" + at)
		require.NotEmpty(t, got)
		require.Less(t, len(answer.Body), pageBytes+2*size)
		all, at = append(all, got...), answer.Header.Get("Hub-Position")
	}
	require.Len(t, all, count)
	require.True(t, slices.IsSorted(all))
}

func TestTheFeedTellsOfALostEnd(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	l.happen("acme", "ben", "entity.created", "entity.created", "entity.created")
	_, first := l.feed("")
	epoch := first.Header.Get("Hub-Epoch")
	l.forked(2)
	l.happen("acme", "ben", "entity.created")
	for _, path := range []string{"/api/v1/events", "/api/v1/events/stream"} {
		answer := l.call("GET", path+"?after=3&epoch="+epoch, "")
		answer.expect(409, "epoch_changed")
		var back struct {
			Position int64
			Epoch    string
		}
		answer.json(&back)
		require.EqualValues(t, 2, back.Position)
		require.NotEqual(t, epoch, back.Epoch)
		require.Equal(t, "/api/v1/events", eventsPath)
		got, next := l.feed("after=2&epoch=" + back.Epoch)
		require.Equal(t, []int64{3, 4}, got)
		require.Equal(t, back.Epoch, next.Header.Get("Hub-Epoch"))
	}
	got, _ := l.feed("after=2&epoch=" + epoch)
	require.Equal(t, []int64{3, 4}, got, "what both histories have in common")
	l.call("GET", "/api/v1/events?after=1&epoch="+uuid.NewString(), "").expect(409, "epoch_changed")
}

// waitFor sends a request that waits, and returns where its answer comes.
func (l *logEdge) waitFor(query string) <-chan *reply {
	done := make(chan *reply, 1)
	request := l.request("GET", "/api/v1/events?"+query, "")
	go func() { done <- serve(l.t, l.handler, request) }()
	return done
}

func (l *logEdge) untilSeats(n int) {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return l.api.seats.taken() == n }, time.Minute, time.Millisecond)
}

func TestTheFeedWaits(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	head := l.happen("acme", "ben", "entity.created")
	waiting := l.waitFor(fmt.Sprintf("after=%d&wait=30&types=entity.updated", head))
	l.untilSeats(1)
	l.happen("other", "ben", "entity.updated")
	l.happen("acme", "ben", "entity.created") // is not asked for
	l.happen("acme", "ben", "entity.updated")
	answer := hubtest.Wait(t, time.Minute, "the event", waiting)
	require.Equal(t, 200, answer.Status, "%s", answer.Body)
	require.Contains(t, string(answer.Body), `"position":4`)
	require.Equal(t, "4", answer.Header.Get("Hub-Position"))

	got, answer := l.feed("after=4&wait=1")
	require.Empty(t, got)
	require.Equal(t, "4", answer.Header.Get("Hub-Position"), "there was nothing within the wait")
	require.Zero(t, l.api.seats.taken())

	waiting = l.waitFor("after=4&wait=30")
	l.untilSeats(1)
	l.api.EndStreams()
	answer = hubtest.Wait(t, time.Minute, "the stopping process to answer", waiting)
	require.Equal(t, "[]", string(answer.Body))
}

// Whoever reads what is access-logged when something happens must not be woken by that.
func TestAnAccessOfOnesOwnDoesNotWake(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	waiting := l.waitFor("after=0&wait=30")
	l.untilSeats(1)
	l.happen("acme", "ana", accessRecorded)
	stream := l.open("?after=0")
	l.happen("acme", "ana", accessRecorded)
	l.happen("acme", "ben", accessRecorded)
	answer := hubtest.Wait(t, time.Minute, "the access by somebody else", waiting)
	var events []struct{ Position int64 }
	answer.json(&events)
	require.Len(t, events, 3, "nothing is missing in the copy")
	require.EqualValues(t, 3, stream.next().position)
	named := l.open("?after=0&types=access.*")
	for position := range int64(3) {
		require.Equal(t, position+1, named.next().position)
	}
}

func TestTooManyWaits(t *testing.T) {
	t.Parallel()
	l := newLogEdge(t)
	var waiting []<-chan *reply
	for range maxStreamsPerCaller {
		waiting = append(waiting, l.waitFor("wait=30"))
	}
	l.untilSeats(maxStreamsPerCaller)
	for _, path := range []string{"/api/v1/events?wait=30", "/api/v1/events/stream"} {
		answer := l.call("GET", path, "")
		answer.expect(429, "too_many_streams")
		require.Equal(t, "5", answer.Header.Get("Retry-After"))
	}
	l.feed("") // which does not wait
	l.admin = l.issuer.tokenOf(t, identity.TokenRequest{Sub: "ben", Org: "acme", Roles: []string{"analyst"}})
	l.feed("wait=1") // somebody else
	l.happen("acme", "ben", "entity.created")
	for _, one := range waiting {
		require.Equal(t, http.StatusOK, hubtest.Wait(t, time.Minute, "an answer", one).Status)
	}
	require.Zero(t, l.api.seats.taken())

	full := &seats{byCaller: map[string]int{}, total: maxStreams}
	_, err := full.take("acme/ana")
	require.ErrorContains(t, err, "streams_full")
}
