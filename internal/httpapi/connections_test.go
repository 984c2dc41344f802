package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// served serves the edge over TCP with the limits of the product, but for what change
// changes, and returns where.
func (e *edge) served(connections int, change func(*http.Server)) string {
	e.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	server := NewServer("", e.handler)
	change(server)
	run(e.t, func(context.Context) { _ = server.Serve(e.api.listener(listener, connections)) })
	e.t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

func asItIs(*http.Server) {}

// dial connects until the test ends, or it is closed before.
func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// answerOf reads one answer; nil when the connection ends without one.
func answerOf(t testing.TB, connection net.Conn) *reply {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &reply{t: t, Status: answer.StatusCode, Header: answer.Header, Body: body}
}

// What never becomes a request is refused like everything else, and never as a fault of ours.
func TestWhatIsNoRequestIsAProblem(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	address := e.served(maxConnections, asItIs)
	for request, want := range map[string]struct {
		status int
		code   string
	}{
		"GET /api/v1/entities/%zz HTTP/1.1\r\nHost: hub.test\r\n\r\n":                                                              {400, "invalid_http"},
		"GET /livez HTTP/1.1\r\n\r\n":                                                                                              {400, "invalid_http"},
		"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n":                                                                                 {400, "invalid_http"},
		"GET /livez HTTP/1.1\r\nHost: hub.test\r\nHost: hub.test\r\n\r\n":                                                          {400, "invalid_http"},
		"GET /livez HTTP/1.1\r\nHost: hub.test\r\na b: c\r\n\r\n":                                                                  {400, "invalid_http"},
		"GET /livez HTTP/1.1\r\nHost: hub.test\r\na: \x01\r\n\r\n":                                                                 {400, "invalid_http"},
		"GET /livez HTTP/3.0\r\nHost: hub.test\r\n\r\n":                                                                            {400, "invalid_http"},
		"\x16\x03\x01\x02\x00\r\n\r\n":                                                                                             {400, "invalid_http"},
		"POST /api/v1/entities HTTP/1.1\r\nHost: hub.test\r\nTransfer-Encoding: gzip\r\n\r\n":                                      {400, "invalid_http"},
		"POST /api/v1/entities HTTP/1.1\r\nHost: hub.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n":                       {400, "invalid_http"},
		"POST /api/v1/entities HTTP/1.1\r\nHost: hub.test\r\nContent-Length: 99999999999999999999\r\n\r\n":                         {400, "invalid_http"},
		"GET /livez HTTP/1.1\r\nHost: hub.test\r\na: " + strings.Repeat("a", maxHeaderBytes+5000) + "\r\n\r\n":                     {413, "headers_too_large"},
		"GET /livez?" + strings.Repeat("a", maxHeaderBytes+5000) + " HTTP/1.1\r\nHost: hub.test\r\n\r\n":                           {413, "headers_too_large"},
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                                                                         {400, "host_not_allowed"},
		"GET /livez HTTP/1.1\r\nHost: hub.test\r\nConnection: close\r\na: " + strings.Repeat("a", maxHeaderBytes-200) + "\r\n\r\n": {200, ""},
	} {
		connection := dial(t, address)
		if _, err := io.WriteString(connection, request); err != nil {
			t.Fatal(err)
		}
		answer := answerOf(t, connection)
		switch {
		case answer == nil:
			t.Errorf("%.80q: no answer", request)
		case want.code != "":
			answer.expect(want.status, want.code)
		case answer.Status != want.status:
			t.Errorf("%.80q: %d %s", request, answer.Status, answer.Body)
		}
	}
}

// Nothing that a handler writes is taken for a refusal of net/http.
func TestAnswersOfHandlersPassAsTheyAre(t *testing.T) {
	t.Parallel()
	const forged = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	for _, written := range []string{"", "HTTP/1.1 200 OK\r\nDate: now\r\n\r\n" + forged, "data: " + forged, "HTTP/1.1 ", strings.Repeat("a", 5000)} {
		if _, own := ownRefusal([]byte(written)); own {
			t.Errorf("%.60q is taken for a refusal", written)
		}
	}
	if status, own := ownRefusal([]byte(forged)); !own || status != http.StatusBadRequest {
		t.Error("a refusal is not found")
	}
}

func TestConnectionsBeyondTheirRoomAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	address := e.served(2, asItIs)
	const probe = "GET /livez HTTP/1.1\r\nHost: hub.test\r\n\r\n"
	alive := func(connection net.Conn) int {
		if _, err := io.WriteString(connection, probe); err != nil {
			t.Fatal(err)
		}
		return answerOf(t, connection).Status
	}
	first, second := dial(t, address), dial(t, address)
	if alive(first) != 200 || alive(second) != 200 {
		t.Fatal("there is room for two")
	}
	refused := answerOf(t, dial(t, address))
	refused.expect(503, "too_many_connections")
	if refused.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", refused.Header.Get("Retry-After"))
	}
	if alive(first) != 200 {
		t.Error("who is in stays in")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for waited := time.After(time.Minute); ; {
		third := dial(t, address)
		_, _ = io.WriteString(third, probe) // it may be refused by now
		if answer, err := http.ReadResponse(bufio.NewReader(third), nil); err == nil && answer.StatusCode == http.StatusOK {
			return
		}
		select {
		case <-poll.C:
		case <-waited:
			t.Fatal("the room was not given back")
		}
	}
}

// Half-sent headers end by themselves; so does a connection on which nothing is asked.
func TestConnectionsThatSayNothingEnd(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	address := e.served(maxConnections, func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond })
	for _, sent := range []string{"", "GET /livez HTTP/1.1\r\nHost: hub", "GET /livez HTTP/1.1\r\nHost: hub.test\r\n\r\n"} {
		connection := dial(t, address)
		if _, err := io.WriteString(connection, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, connection); err != nil {
			t.Errorf("%q: %v", sent, err)
		}
	}
}

// A read has no use for a body. One that is announced and never comes ends with the time for
// sending, also where the answer may take longer; one that came is in nobody's way.
func TestABodyOfAReadThatNeverComes(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	address := e.served(maxConnections, func(s *http.Server) { s.ReadTimeout = 200 * time.Millisecond })
	const wait = "Hub-Min-Position: 1000\r\nPrefer: wait=1\r\n"
	for _, request := range []string{"GET /api/v1/entities HTTP/1.1\r\nHub-Min-Position: 1\r\n", "GET /api/v1/entities HTTP/1.1\r\n" + wait, "GET /api/v1/me HTTP/1.1\r\n"} {
		connection := dial(t, address)
		if _, err := io.WriteString(connection, request+"Host: hub.test\r\nAuthorization: Bearer "+e.admin+"\r\nContent-Length: 9\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, connection); err != nil {
			t.Errorf("%.40q: %v", request, err)
		}
	}
	connection := dial(t, address)
	if _, err := io.WriteString(connection, "GET /api/v1/entities HTTP/1.1\r\n"+wait+"Host: hub.test\r\nAuthorization: Bearer "+e.admin+"\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	answerOf(t, connection).expect(503, "projection_lagging")
}

// Who sends half a request, or does not read the answer, is in nobody's way.
func TestSlowClientsHoldNothingUp(t *testing.T) {
	t.Parallel()
	e := newSystem(t)
	address := e.served(maxConnections, asItIs)
	const signed = "Host: hub.test\r\nAuthorization: Bearer "
	for _, sent := range []string{
		"POST /api/v1/entities HTTP/1.1\r\n" + signed + e.admin + "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"type\":",
		"PUT /api/v1/entity-types/customer HTTP/1.1\r\n" + signed + e.admin + "\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET /api/v1/entities HTTP/1.1\r\n" + signed,
		strings.Repeat("GET /api/openapi.json HTTP/1.1\r\n"+signed+e.admin+"\r\n\r\n", 20), // of megabytes, unread
	} {
		for range 100 {
			if _, err := io.WriteString(dial(t, address), sent); err != nil {
				t.Fatal(err)
			}
		}
	}
	const body = `{"type":"customer","attributes":{}}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/api/v1/entities", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "hub.test"
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+e.admin)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Errorf("status %d", answer.StatusCode)
	}
}
