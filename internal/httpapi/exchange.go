package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/internal/identity"
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

	log       *slog.Logger
	request   *http.Request
	requestID string
	// route is what the request matched; nil before that.
	route  *route
	caller identity.Caller
	query  url.Values
	// body is the whole body as it came, for the hash of an idempotent request, and
	// document the JSON in it, its texts in normal form.
	body, document []byte
	// held is how much of the body counts among what all requests hold.
	held int64
}

type exchangeKey struct{}

// exchangeOf finds the exchange that every request inside the edge has.
func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange)
}

// begin starts an exchange: it settles the request id and sets the headers that
// every answer has.
func begin(w http.ResponseWriter, r *http.Request, log *slog.Logger) *exchange {
	e := &exchange{ResponseWriter: w, log: log, requestID: r.Header.Get("X-Request-Id")}
	if !validRequestID(e.requestID) {
		e.requestID = uuid.Must(uuid.NewV7()).String()
	}
	e.request = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e))
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

// WriteHeader notes that the answer has begun.
func (e *exchange) WriteHeader(status int) {
	if e.status == 0 {
		e.status = status
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer has begun.
func (e *exchange) Write(b []byte) (int, error) {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	return e.ResponseWriter.Write(b)
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
