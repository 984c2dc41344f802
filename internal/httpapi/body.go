package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/strictjson"
)

// How large a body may be. What a route needs beyond formBytes it says itself (MaxBody).
const (
	// noInputBytes is for requests that take no input: an empty object, and room around it.
	noInputBytes = 1 << 10
	// formBytes is for what people fill in and for settings: several times the longest
	// that all their fields may be together.
	formBytes = 64 << 10
	// eventBytes is for what is recorded as it comes. An event is at most 256 KiB, so this
	// leaves room for white space and escapes and still refuses what could never be recorded.
	eventBytes = 1 << 20

	// maxBodiesBytes bounds the bodies that are held at one time, by all requests: what
	// fits beside everything else into the memory of a small machine.
	maxBodiesBytes = 256 << 20
	// maxDrainBytes bounds what is read of the body of a request that is refused.
	maxDrainBytes = 32 << 20
	// bodyGuessBytes is how much room is made for a body before its bytes arrive,
	// whatever length it announces: most bodies fit.
	bodyGuessBytes = 4 << 10
)

// jsonMedia is what a body may be unless its route says otherwise.
var jsonMedia = []string{"application/json"}

// readBody reads the body of a command as a whole, bounded, checks that it is one
// strict JSON document and hands that on, its texts in normal form. The loop may take longer than a client may
// take to send, so the deadline for reading ends here.
// Problems: unsupported_content_encoding, unsupported_media_type, body_too_large,
// body_incomplete, overloaded, invalid_json and those of strictjson.Sanitize.
func (a *API) readBody(e *exchange, r *http.Request) error {
	if e.route.Method == http.MethodGet {
		return nil // what comes with it says nothing (RFC 9110 §9.3.1)
	}
	if err := e.checkEncoding(r.Header["Content-Encoding"]); err != nil {
		return err
	}
	raw, err := a.readAll(e, r)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(e).SetReadDeadline(noDeadline) // not every connection has one
	e.body = raw
	if !e.route.body {
		r.Body = http.NoBody
		return emptyBody(raw)
	}
	if len(raw) == 0 && e.route.bodyOptional && e.route.LinesOf == nil {
		r.Body = http.NoBody
		return nil
	}
	if err := e.checkMedia(r.Header["Content-Type"]); err != nil {
		return err
	}
	if len(raw) == 0 {
		return problem.New(problem.Malformed, "invalid_json", "The body is empty; send a JSON object.")
	}
	if e.route.LinesOf != nil {
		r.Body = http.NoBody
		return nil
	}
	// huma chooses its decoder by this text as it stands, in whatever case.
	r.Header.Set("Content-Type", "application/json")
	if e.document, err = strictjson.Sanitize(raw, strictjson.Default); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(e.document))
	return nil
}

// maxBody is how large a body of the route may be.
func (r *route) maxBody() int64 {
	switch {
	case r.MaxBody > 0:
		return r.MaxBody
	case r.body:
		return formBytes
	default:
		return noInputBytes
	}
}

// readAll reads at most what the route takes. It does not use http.MaxBytesReader, which
// would close the connection under the answer that says why.
// Problems: body_too_large, body_incomplete, overloaded.
func (a *API) readAll(e *exchange, r *http.Request) ([]byte, error) {
	limit := e.route.maxBody()
	if r.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	if r.ContentLength == 0 || r.Body == nil {
		return nil, nil
	}
	var buffer bytes.Buffer
	if r.ContentLength > 0 {
		buffer.Grow(int(min(r.ContentLength, bodyGuessBytes)) + bytes.MinRead)
	}
	switch read, err := buffer.ReadFrom(io.LimitReader(&heldBody{r.Body, a, e}, limit+1)); {
	case problem.Of(err) != nil:
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problem.New(problem.Malformed, "body_incomplete", "The body did not arrive within %d seconds of the request's beginning.", int(readTimeout.Seconds()))
	case err != nil:
		return nil, problem.New(problem.Malformed, "body_incomplete", "The body ended before all of it had arrived.")
	case read > limit:
		return nil, bodyTooLarge(limit)
	}
	return buffer.Bytes(), nil
}

func bodyTooLarge(limit int64) error {
	p := problem.New(problem.TooLarge, "body_too_large", "The body is larger than the %d bytes that this request may have.", limit)
	p.Extra = map[string]any{"limit": limit}
	return p
}

// heldBody counts what arrives of a body among what all requests hold, so that slow
// senders can fill no more memory than is meant for bodies.
type heldBody struct {
	io.Reader
	api *API
	e   *exchange
}

// Read reads on while there is room. Problem: overloaded.
func (b *heldBody) Read(into []byte) (int, error) {
	read, err := b.Reader.Read(into)
	b.e.held += int64(read)
	if b.api.held.Add(int64(read)) > maxBodiesBytes {
		return read, problem.New(problem.Unavailable, "overloaded", "Too many bodies are on their way. Nothing was done; send it again later.").Retry(time.Second)
	}
	return read, err
}

// drain reads, within a limit, what is left of the body of a request that is refused:
// many clients look for an answer only after they have sent everything, and would
// otherwise see nothing but a connection that breaks. One that asked first (Expect)
// is not waiting for that.
// It reports whether all was read.
func drain(r *http.Request) bool {
	if r.ContentLength == 0 || r.Body == nil {
		return true
	}
	if r.Header.Get("Expect") != "" {
		return false
	}
	_, err := io.CopyN(io.Discard, r.Body, maxDrainBytes)
	return errors.Is(err, io.EOF)
}

// mayWait takes away the deadline for sending the request, because its answer may take
// longer. What came as its body is read before that, whatever it is: net/http reads on when
// the answer is written, and without a deadline it would wait for ever for what never comes.
func (e *exchange) mayWait() {
	if drain(e.request) {
		_ = http.NewResponseController(e).SetReadDeadline(noDeadline) // not every connection has one
	}
}

// emptyBody accepts what clients send with a request that has no input: nothing,
// or an empty object.
func emptyBody(raw []byte) error {
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 || string(trimmed) == "{}" {
		return nil
	}
	if err := strictjson.Check(raw, strictjson.Default); err != nil {
		return err
	}
	return problem.New(problem.Invalid, "unknown_field", "This request takes no input; send no body, or an empty object.")
}

// checkMedia checks Content-Type. A body without one is taken as JSON (RFC 9110
// §8.3 lets the recipient decide), which is what curl users and old clients need.
func (e *exchange) checkMedia(lines []string) error {
	allowed := e.route.Media
	if len(allowed) == 0 {
		allowed = jsonMedia
	}
	if len(lines) == 0 || len(lines) == 1 && (lines[0] == "" || slices.Contains(allowed, lines[0])) {
		return nil
	}
	media, parameters, err := mime.ParseMediaType(lines[0])
	charset, hasCharset := parameters["charset"]
	if len(lines) > 1 || err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || !slices.Contains(allowed, media) || hasCharset && !strings.EqualFold(charset, "utf-8") {
		return problem.New(problem.UnsupportedMedia, "unsupported_media_type", "The body must be %s in UTF-8.", strings.Join(allowed, " or "))
	}
	return nil
}

// checkEncoding takes bodies only as they are: a compressed one could be a thousand
// times larger than what arrived, and those of commands are small.
// Problem: unsupported_content_encoding.
func (e *exchange) checkEncoding(lines []string) error {
	for _, line := range lines {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				e.Header().Set("Accept-Encoding", "identity") // RFC 9110 §15.5.16
				return problem.New(problem.UnsupportedMedia, "unsupported_content_encoding", "The body must not be compressed. Send it without Content-Encoding.")
			}
		}
	}
	return nil
}
