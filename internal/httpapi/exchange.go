package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// maxRequestIDBytes bounds an X-Request-Id that is taken over; it is stored with
// every event of the request.
const maxRequestIDBytes = 128

// exchange is one request and its answer while they pass through the edge. It is
// the ResponseWriter of everything inside, so that one allocation carries all that
// the stages find out, and it knows whether the answer has begun.
type exchange struct {
	http.ResponseWriter
	// status is 0 until the answer has begun.
	status int
	// problem is the code of the problem that was answered, if one was.
	problem string

	log       *slog.Logger
	request   *http.Request
	requestID string
	// correlationID is that of all that follows from the request: the id of its trace
	// where there are traces.
	correlationID string
	span          telemetry.Span
	// route is what the request matched; nil before that.
	route  *route
	caller identity.Caller
	query  url.Values
	// settle counts the request as answered, once.
	settle func()
	// streams says that the answer is an event stream, and slow that its client took
	// nothing for too long.
	streams, slow bool
	// body is the whole body as it came, for the hash of an idempotent request, and
	// document the JSON in it, its texts in normal form.
	body, document []byte
	// showing is done before the answer is sent, where that shows what must be recorded.
	showing func(context.Context) error
	// held is how much of the body counts among what all requests hold.
	held int64
}

type exchangeKey struct{}

// exchangeOf finds the exchange that every request inside the edge has.
func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange)
}

// exchange starts an exchange: it settles the request id and sets the headers that
// every answer has.
func (a *API) exchange(w http.ResponseWriter, r *http.Request) *exchange {
	e := &exchange{ResponseWriter: w, log: a.log, requestID: r.Header.Get("X-Request-Id"), settle: func() {}}
	if !validRequestID(e.requestID) {
		e.requestID = uuid.Must(uuid.NewV7()).String()
	}
	e.correlationID = e.requestID
	ctx := r.Context()
	if !isProbe(r.URL.Path) { // they come all the time and lead to nothing
		ctx, e.span = a.tracer.Request(r)
	}
	if id := telemetry.TraceID(ctx); id != "" {
		e.correlationID = id
	}
	e.request = r.WithContext(context.WithValue(ctx, exchangeKey{}, e))
	header := w.Header()
	header.Set("X-Request-Id", e.requestID)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	return e
}

// validRequestID accepts [A-Za-z0-9._-]{1,128}: safe in logs, headers and events.
func validRequestID(id string) bool {
	if id == "" || len(id) > maxRequestIDBytes {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// streamWriteTimeout is for how long the client of a stream may take nothing at all: what
// the connection buffers is then full, and the client slower than its events.
const streamWriteTimeout = 10 * time.Second

// WriteHeader notes that the answer has begun. A stream counts as answered from here on.
func (e *exchange) WriteHeader(status int) {
	if e.status == 0 {
		e.status = status
		e.streams = e.Header().Get("Content-Type") == streamMedia
	}
	e.ResponseWriter.WriteHeader(status)
	if e.streams {
		e.settle()
	}
}

// Write notes that the answer has begun. Each part of a stream has a time of its own.
func (e *exchange) Write(b []byte) (int, error) {
	if e.status == 0 {
		e.WriteHeader(http.StatusOK)
	}
	if e.streams {
		e.writeWithin(time.Now().Add(streamWriteTimeout))
	}
	written, err := e.ResponseWriter.Write(b)
	e.noteSlow(err)
	return written, err
}

// FlushError sends what was written; http.ResponseController looks for it. Between its
// parts a stream may be silent, which HTTP/2 would take for slow.
func (e *exchange) FlushError() error {
	err := http.NewResponseController(e.ResponseWriter).Flush()
	e.noteSlow(err)
	if e.streams && err == nil {
		e.writeWithin(noDeadline)
	}
	return err
}

func (e *exchange) writeWithin(deadline time.Time) {
	_ = http.NewResponseController(e.ResponseWriter).SetWriteDeadline(deadline) // not every connection has one
}

func (e *exchange) noteSlow(err error) {
	e.slow = e.slow || e.streams && errors.Is(err, os.ErrDeadlineExceeded)
}

// Unwrap lets http.ResponseController reach the connection.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// pattern is the matched path with its parameters' names, which unlike the path
// itself may be logged.
func (e *exchange) pattern() string {
	if e.route == nil {
		return "none"
	}
	return e.route.Path
}

// recover turns a panic into a 500. Once the answer has begun it can only be cut
// off, which is what http.ErrAbortHandler does.
func (e *exchange) recover() {
	cause := recover()
	if cause == nil {
		return
	}
	if aborted, ok := cause.(error); ok && errors.Is(aborted, http.ErrAbortHandler) {
		panic(cause)
	}
	err := fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
	if e.status == 0 {
		e.fail(err)
		return
	}
	if e.request.Context().Err() == nil {
		e.log.ErrorContext(e.request.Context(), "answer cut off", "request_id", e.requestID, "method", e.request.Method, "route", e.pattern(), "error", err)
	}
	panic(http.ErrAbortHandler)
}
