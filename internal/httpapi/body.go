package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/strictjson"
)

const (
	// maxBodyBytes bounds a request's body. An event is at most 256 KiB, so this
	// leaves room for white space and still refuses what could never be recorded.
	maxBodyBytes = 1 << 20
	// maxDrainBytes bounds what is read of a body that is refused for its size.
	maxDrainBytes = 32 << 20
	// bodyGuessBytes is how much room is made for a body before its bytes arrive,
	// whatever length it announces.
	bodyGuessBytes = 64 << 10
)

// jsonMedia is what a body may be unless its route says otherwise.
var jsonMedia = []string{"application/json"}

// readBody reads the body of a command as a whole, bounded, checks that it is one
// strict JSON document and hands that on, its texts in normal form. The loop may take longer than a client may
// take to send, so the deadline for reading ends here.
// Problems: unsupported_media_type, body_too_large, invalid_json and those of
// strictjson.Sanitize.
func (e *exchange) readBody(r *http.Request) error {
	if e.route.Kind != command && e.route.Kind != operator {
		return nil
	}
	raw, err := readAll(r)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(e).SetReadDeadline(noDeadline) // not every connection has one
	e.body = raw
	if !e.route.body {
		r.Body = http.NoBody
		return emptyBody(raw)
	}
	if err := e.checkMedia(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	if len(raw) == 0 {
		return problem.New(problem.Malformed, "invalid_json", "The body is empty; send a JSON object.")
	}
	if e.document, err = strictjson.Sanitize(raw, strictjson.Default); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(e.document))
	return nil
}

// readAll reads at most maxBodyBytes. It does not use http.MaxBytesReader, which
// would close the connection under the answer that says why.
func readAll(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBodyBytes {
		return nil, bodyTooLarge(r)
	}
	if r.ContentLength == 0 || r.Body == nil {
		return nil, nil
	}
	var buffer bytes.Buffer
	if r.ContentLength > 0 {
		buffer.Grow(int(min(r.ContentLength, bodyGuessBytes)) + bytes.MinRead)
	}
	switch read, err := buffer.ReadFrom(io.LimitReader(r.Body, maxBodyBytes+1)); {
	case err != nil:
		return nil, problem.New(problem.Malformed, "body_incomplete", "The body ended before all of it had arrived.")
	case read > maxBodyBytes:
		return nil, bodyTooLarge(r)
	}
	return buffer.Bytes(), nil
}

// bodyTooLarge reads on before it refuses, within a limit: many clients look for an
// answer only after they have sent everything, and would otherwise see nothing but a
// connection that breaks. One that asked first (Expect) is not waiting for that.
func bodyTooLarge(r *http.Request) error {
	if r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrainBytes) // the refusal stands either way
	}
	return problem.New(problem.TooLarge, "body_too_large", "The body is larger than %d bytes.", maxBodyBytes)
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
func (e *exchange) checkMedia(contentType string) error {
	allowed := e.route.Media
	if len(allowed) == 0 {
		allowed = jsonMedia
	}
	if contentType == "" || slices.Contains(allowed, contentType) {
		return nil
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	charset, hasCharset := parameters["charset"]
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || !slices.Contains(allowed, media) || hasCharset && !strings.EqualFold(charset, "utf-8") {
		return problem.New(problem.UnsupportedMedia, "unsupported_media_type", "The body must be %s in UTF-8.", strings.Join(allowed, " or "))
	}
	return nil
}
