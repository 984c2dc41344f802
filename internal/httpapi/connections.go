package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxConnections bounds the connections of one address. One costs some 20 KB while
	// nothing is asked on it, so that all of them fit into the memory of a small machine;
	// and it is eight times what a busy front end keeps open.
	maxConnections = 8192
	// refusalTimeout is how long a connection that is refused may take to be told so: its
	// buffers are empty, so that nobody honest needs longer.
	refusalTimeout = 100 * time.Millisecond
)

// Listener makes of l what a server of the API listens on: it refuses connections beyond
// maxConnections, and what net/http refuses by itself, before any handler, is answered
// with a problem. (Within TLS that is out of reach, and stays net/http's plain text.)
func (a *API) Listener(l net.Listener) net.Listener { return a.listener(l, maxConnections) }

func (a *API) listener(l net.Listener, connections int) *listener {
	a.metrics.room.Add(float64(connections))
	return &listener{Listener: l, room: make(chan struct{}, connections), metrics: a.metrics}
}

// listener accepts connections while it has room for them.
type listener struct {
	net.Listener
	room    chan struct{}
	metrics *edgeMetrics
}

// Accept refuses at once what there is no room for: in the queue of the kernel it would
// wait for nobody knows how long.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.room <- struct{}{}:
			l.metrics.connections.Add(1)
			return &connection{Conn: accepted, leave: sync.OnceFunc(l.leave)}, nil
		default:
			l.metrics.refused.Inc()
			refuse(accepted)
		}
	}
}

func (l *listener) leave() {
	<-l.room
	l.metrics.connections.Add(-1)
}

// refuse tells a client that there is no room. It has not been read from, so a client that
// sends much may see no more than that the connection ends.
func refuse(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(refusalTimeout))
	_, _ = c.Write(refusal(problem.New(problem.Unavailable, "too_many_connections", "Too many connections are open. Try again in a moment.").Retry(time.Second)))
	_ = c.Close()
}

// connection is one connection of a client.
type connection struct {
	net.Conn
	// leave gives its room back.
	leave func()
	// refused says that nothing may follow what was written.
	refused bool
}

// Close ends the connection.
func (c *connection) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite lets net/http end its side first, so that a refusal arrives.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Write passes on what net/http writes, but for its own refusals: those become problems.
func (c *connection) Write(b []byte) (int, error) {
	if c.refused {
		return 0, errors.New("httpapi: the connection was refused")
	}
	status, own := ownRefusal(b)
	if !own {
		return c.Conn.Write(b)
	}
	c.refused = true
	if _, err := c.Conn.Write(refusal(unreadable(status))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ownRefusal finds the status of a refusal as net/http writes it in one piece, past every
// handler: the answers of handlers have other headers.
func ownRefusal(b []byte) (status int, own bool) {
	line, rest, _ := bytes.Cut(b[:min(len(b), len("HTTP/1.1 400 Bad Request: ")+128)], []byte("\r\n"))
	if !bytes.HasPrefix(rest, []byte("Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")) {
		return 0, false
	}
	_, err := fmt.Sscanf(string(line), "HTTP/1.1 %d", &status)
	return status, err == nil
}

// unreadable is the problem for a request that never became one. What is no HTTP at all is
// the sender's fault, whatever status net/http has for it.
func unreadable(status int) *problem.Problem {
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		return problem.New(problem.TooLarge, "headers_too_large", "Path, query and headers are larger than %d bytes together.", maxHeaderBytes)
	case http.StatusNotImplemented:
		return problem.New(problem.Malformed, "invalid_http", "The only Transfer-Encoding that is read is chunked.")
	default:
		return problem.New(problem.Malformed, "invalid_http",
			"The request is not HTTP/1.1 that can be read. See that its path is percent-encoded, that it has one Host, and that its headers are well formed.")
	}
}

// refusal is a whole answer, and the last of its connection.
func refusal(p *problem.Problem) []byte {
	kind := statuses[p.Kind]
	id := uuid.Must(uuid.NewV7()).String()
	body, _ := json.Marshal(&Problem{ // fails for no text
		Type: problemType + p.Code, Title: kind.title, Status: kind.status, Detail: p.Detail, Code: p.Code, RequestID: id,
	})
	retry := ""
	if p.RetryAfter > 0 {
		retry = fmt.Sprintf("Retry-After: %d\r\n", int(p.RetryAfter.Seconds()))
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\nContent-Type: application/problem+json\r\n%sX-Content-Type-Options: nosniff\r\nX-Request-Id: %s\r\n\r\n%s",
		kind.status, http.StatusText(kind.status), len(body), retry, id, body)
}
