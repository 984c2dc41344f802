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
	if err := e.checkEncoding(r.Header["Content-Encoding"]); err != nil {
		return err
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
	if err := e.checkMedia(r.Header["Content-Type"]); err != nil {
		return err
	}
	// huma chooses its decoder by this text as it stands, in whatever case.
	r.Header.Set("Content-Type", "application/json")
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
		return nil, bodyTooLarge()
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
		return nil, bodyTooLarge()
	}
	return buffer.Bytes(), nil
}

func bodyTooLarge() error {
	return problem.New(problem.TooLarge, "body_too_large", "The body is larger than %d bytes.", maxBodyBytes)
}

// drain reads, within a limit, what is left of the body of a request that is refused:
// many clients look for an answer only after they have sent everything, and would
// otherwise see nothing but a connection that breaks. One that asked first (Expect)
// is not waiting for that.
func drain(r *http.Request) {
	if r.ContentLength == 0 || r.Body == nil || r.Header.Get("Expect") != "" {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, maxDrainBytes) // the refusal stands either way
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
