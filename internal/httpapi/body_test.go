package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Each route has a limit of its own, which the refusal and the description name.
func TestEveryRouteBoundsItsBody(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	_, described := spec(t)
	limits := map[int64]int{}
	for _, line := range e.api.routes() {
		if line.Method == http.MethodGet || line.Kind == operator {
			continue
		}
		limit := described.Paths[line.Path][strings.ToLower(line.Method)].MaxBody
		limits[limit]++
		for _, announced := range []bool{true, false} {
			send := func(size int64) *reply {
				r := e.request(line.Method, line.pathOf(), strings.Repeat("x", int(size)))
				if !announced {
					r.ContentLength = -1
				}
				return serve(t, e.handler, r)
			}
			send(limit).expect(400, "invalid_json")
			refused := send(limit + 1)
			refused.expect(413, "body_too_large")
			var extra struct{ Limit int64 }
			if refused.json(&extra); extra.Limit != limit {
				t.Errorf("%s: limit %d in the answer, %d in the description", line.ID, extra.Limit, limit)
			}
		}
	}
	if limits[noInputBytes] == 0 || limits[formBytes] == 0 || limits[eventBytes] == 0 || limits[bulkBytes] != 1 || len(limits) != 4 {
		t.Errorf("routes by limit: %v", limits)
	}
}

func TestWhatTakesNoInputRefusesIt(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	_, described := spec(t)
	for _, line := range e.api.routes() {
		if line.Method == http.MethodGet || line.Kind == operator || described.Paths[line.Path][strings.ToLower(line.Method)].RequestBody != nil {
			continue
		}
		e.call(line.Method, line.pathOf(), `{"colour":"red"}`).expect(422, "unknown_field")
	}
}

// Slow senders fill no more memory than there is for bodies, and give it back.
func TestBodiesOfAllRequestsAreBounded(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	const body = `{"type":"customer","attributes":{}}`
	e.api.held.Store(maxBodiesBytes - int64(len(body)) + 1)
	refused := e.call("POST", "/api/v1/entities", body)
	refused.expect(503, "overloaded")
	if refused.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	e.api.held.Add(-1)
	for range 3 { // what was held is given back each time
		e.call("POST", "/api/v1/entities", body).expect(503, "shutting_down")
	}
}

// A body that does not come ends its request by itself, with an answer.
func TestABodyHasADeadline(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer("", e.handler)
	server.ReadTimeout = 100 * time.Millisecond
	run(t, func(context.Context) { _ = server.Serve(listener) })
	t.Cleanup(func() { _ = server.Close() })
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	_, err = fmt.Fprintf(connection, "POST /api/v1/entities HTTP/1.1\r\nHost: hub.test\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", e.admin)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "did not arrive within") || !answer.Close {
		t.Errorf("%v, %d %v %s", err, answer.StatusCode, answer.Header, body)
	}
}
