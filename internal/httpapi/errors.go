package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// problemType is the start of every "type": a reference to the page that explains
// the code, relative so that it is right behind any host name.
const problemType = "/api/docs/problems#"

// defaultRetryAfter is what a 429 or 503 without a delay of its own tells callers;
// the shortest the header can say, because most such states last a moment.
const defaultRetryAfter = time.Second

// statuses is the one place that knows which HTTP status a kind of problem has.
var statuses = [...]struct {
	status int
	title  string
}{
	problem.Internal:         {http.StatusInternalServerError, "Internal error"},
	problem.Malformed:        {http.StatusBadRequest, "Malformed request"},
	problem.Unauthenticated:  {http.StatusUnauthorized, "Not authenticated"},
	problem.Forbidden:        {http.StatusForbidden, "Not allowed"},
	problem.NotFound:         {http.StatusNotFound, "Not found"},
	problem.MethodNotAllowed: {http.StatusMethodNotAllowed, "Method not allowed"},
	problem.Conflict:         {http.StatusConflict, "Conflict with the current state"},
	problem.Stale:            {http.StatusPreconditionFailed, "Precondition failed"},
	problem.TooLarge:         {http.StatusRequestEntityTooLarge, "Too large"},
	problem.UnsupportedMedia: {http.StatusUnsupportedMediaType, "Unsupported media type"},
	problem.Invalid:          {http.StatusUnprocessableEntity, "Invalid request"},
	problem.Throttled:        {http.StatusTooManyRequests, "Too many requests"},
	problem.Unavailable:      {http.StatusServiceUnavailable, "Not available now"},
	problem.OutcomeUnknown:   {http.StatusGatewayTimeout, "Outcome unknown"},
}

// Problem is the body of every error answer (RFC 9457, application/problem+json).
type Problem struct {
	Type      string          `json:"type" format:"uri-reference" example:"/api/docs/problems#not_found" doc:"Where this kind of problem is explained."`
	Title     string          `json:"title" example:"Not found" doc:"What kind of problem it is; the same for every occurrence."`
	Status    int             `json:"status" example:"404" doc:"The HTTP status."`
	Detail    string          `json:"detail" example:"There is no entity with this id." doc:"What happened and what to do."`
	Code      string          `json:"code" example:"not_found" doc:"Stable slug to branch on."`
	RequestID string          `json:"request_id" example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11" doc:"Name this when you report the problem."`
	Errors    []problem.Field `json:"errors,omitempty" doc:"The single faults in the input, without the rejected values."`

	extra map[string]any
}

// MarshalJSON writes the fixed members and then those of Problem.Extra, sorted; an
// extra member never replaces a fixed one.
func (p *Problem) MarshalJSON() ([]byte, error) {
	type fixed Problem
	body, err := json.Marshal((*fixed)(p))
	if err != nil || len(p.extra) == 0 {
		return body, err
	}
	body = body[:len(body)-1]
	for _, name := range slices.Sorted(maps.Keys(p.extra)) {
		if _, taken := fixedMembers[name]; taken {
			continue
		}
		value, err := json.Marshal(p.extra[name])
		if err != nil {
			return nil, err
		}
		body = append(body, ',')
		body = strconv.AppendQuote(body, name)
		body = append(body, ':')
		body = append(body, value...)
	}
	return append(body, '}'), nil
}

// fixedMembers are the names that RFC 9457 and the contract give a meaning to.
var fixedMembers = map[string]struct{}{
	"type": {}, "title": {}, "status": {}, "detail": {}, "instance": {}, "code": {}, "request_id": {}, "errors": {},
}

// GetStatus is the answer's status. Part of huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// Error makes a Problem an error for huma to answer.
func (p *Problem) Error() string { return p.Code }

// ContentType is that of RFC 9457. Part of huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problemFor turns any error into the answer for the caller and sets the headers
// that belong to it. An error that is no problem.Problem is a fault of ours: its
// text goes to the log under the request id, and the caller gets only that id.
func (e *exchange) problemFor(err error) *Problem {
	known := problem.Of(err)
	switch {
	case known != nil && known.Kind != problem.Internal:
	case errors.Is(err, context.Canceled) && e.request.Context().Err() != nil:
		// The caller has gone; nobody reads this, and it is no fault of ours.
		known = problem.New(problem.Unavailable, "cancelled", "The request was cancelled.")
	case errors.Is(err, context.DeadlineExceeded):
		known = problem.New(problem.Unavailable, "timeout", "The answer took too long. Try again.")
		e.log.WarnContext(e.request.Context(), "request timed out", "request_id", e.requestID, "method", e.request.Method, "route", e.pattern())
	default:
		e.log.LogAttrs(e.request.Context(), slog.LevelError, "request failed", slog.String("request_id", e.requestID),
			slog.String("method", e.request.Method), slog.String("route", e.pattern()), slog.Any("error", err))
		known = problem.New(problem.Internal, "internal", "Something went wrong on our side. Nothing about it can be fixed in the request; name the request id when you report it.")
	}
	e.problemHeaders(known)
	e.problem = known.Code
	kind := statuses[known.Kind]
	return &Problem{
		Type: problemType + known.Code, Title: kind.title, Status: kind.status, Detail: known.Detail,
		Code: known.Code, RequestID: e.requestID, Errors: known.Fields, extra: known.Extra,
	}
}

// problemHeaders sets Retry-After and WWW-Authenticate (RFC 6750 §3), and takes
// back what a handler had already promised about caching.
func (e *exchange) problemHeaders(p *problem.Problem) {
	header := e.Header()
	header.Set("Cache-Control", "no-store")
	header.Del("ETag")
	switch p.Kind {
	case problem.Unauthenticated:
		challenge := `Bearer realm="hub-backend"`
		switch p.Code {
		case missingToken:
		case stepUp:
			challenge += `, error="insufficient_user_authentication", error_description="A second factor is needed.", acr_values="` +
				identity.SecondFactor + `", max_age="` + strconv.Itoa(int(maxStrongLogin.Seconds())) + `"`
		default:
			challenge += `, error="invalid_token", error_description="The access token is not valid."`
		}
		header.Set("WWW-Authenticate", challenge)
	case problem.Throttled, problem.Unavailable:
		after := max(p.RetryAfter, defaultRetryAfter)
		header.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(after.Seconds())), 10))
	default: // the others need no header
	}
}

// fail writes err as the whole answer, for what happens outside huma.
func (e *exchange) fail(err error) {
	answer := e.problemFor(err)
	if e.status != 0 {
		return // the answer has begun; there is nothing left to say it with
	}
	drain(e.request)
	body, err := json.Marshal(answer)
	if err != nil {
		e.log.ErrorContext(e.request.Context(), "problem not written", "request_id", e.requestID, "error", err)
		body = []byte(`{}`)
	}
	e.Header().Set("Content-Type", "application/problem+json")
	e.WriteHeader(answer.Status)
	_, _ = e.Write(body) // a caller who is gone cannot be told
}
