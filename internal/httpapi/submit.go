package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxIdempotencyKey is what Stripe takes, too.
	maxIdempotencyKey = 255
	// maxReason bounds, in characters, a text that is stored with every event.
	maxReason = 500
)

// receiptOutput is the answer to every write.
type receiptOutput struct {
	Status   int
	Position int64  `header:"Hub-Position" doc:"Position of the last event; send it as Hub-Min-Position to read your own write." example:"4711"`
	ETag     string `header:"ETag" doc:"The resource's version; send it as If-Match with the next write." example:"\"3\""`
	Location string `header:"Location" doc:"Where the resource is; sent with 201." example:"/api/v1/entities/0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when this is the first answer again." example:"true"`
	Body     commands.Receipt
}

// submit sends a command to the loop with all that the request says about it, and
// makes the answer. The resource's path is collection plus the receipt's id.
func (a *API) submit(ctx context.Context, decider domain.Decider, collection string) (*receiptOutput, error) {
	e := exchangeOf(ctx)
	submission, err := a.submission(e, decider)
	if err != nil {
		return nil, err
	}
	receipt, err := a.send(ctx, submission)
	if receipt.Replayed {
		e.Header().Set("Idempotency-Replayed", "true")
	}
	if err != nil {
		return nil, err
	}
	if receipt.Events == nil {
		receipt.Events = []commands.ReceiptEvent{} // a list is never null
	}
	out := &receiptOutput{Status: http.StatusOK, Position: receipt.Position, ETag: entityTag(receipt.Version), Body: receipt}
	if receipt.Created {
		out.Status, out.Location = http.StatusCreated, collection+"/"+receipt.ID
	}
	return out, nil
}

// submission reads the headers of a write.
// Problems: invalid_idempotency_key, invalid_if_match, invalid_reason.
func (a *API) submission(e *exchange, decider domain.Decider) (commands.Submission, error) {
	var none commands.Submission
	header := e.request.Header
	key, err := idempotencyKey(header["Idempotency-Key"])
	if err != nil {
		return none, err
	}
	condition, err := parseIfMatch(header["If-Match"])
	if err != nil {
		return none, err
	}
	reason, err := reason(header["Hub-Reason"])
	if err != nil {
		return none, err
	}
	if condition.existing {
		decider = existing{decider}
	}
	submission := commands.Submission{
		Decider: decider,
		Meta: domain.Meta{
			Org: e.caller.Org, Actor: domain.Actor{Sub: e.caller.Sub, Person: e.caller.Person},
			IfMatch: condition.version, Reason: reason, RequestID: e.requestID, CorrelationID: e.requestID,
		},
		IdempotencyKey: key,
	}
	if key != "" {
		submission.RequestHash = a.requestHash(e)
	}
	return submission, nil
}

// existing is a command that may only change what is there: If-Match: *.
type existing struct{ domain.Decider }

// Decide refuses what would create the resource.
func (x existing) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	decision, err := x.Decider.Decide(r, m)
	if err == nil && decision.Created {
		return domain.Decision{}, problem.New(problem.Stale, "version_conflict", "If-Match: * asks for a resource that exists, and this one does not.")
	}
	return decision, err
}

// idempotencyKey accepts 1 to 255 visible ASCII characters.
func idempotencyKey(lines []string) (string, error) {
	if len(lines) == 0 {
		return "", nil
	}
	key := lines[0]
	valid := len(lines) == 1 && key != "" && len(key) <= maxIdempotencyKey &&
		strings.IndexFunc(key, func(c rune) bool { return c < 0x21 || c > 0x7e }) < 0
	if !valid {
		return "", problem.New(problem.Malformed, "invalid_idempotency_key", "The Idempotency-Key header cannot be used.").
			With(problem.Field{Location: "header.Idempotency-Key", Message: "must be 1 to 255 visible ASCII characters, given once"})
	}
	return key, nil
}

// reason accepts up to 500 characters of UTF-8 without control characters.
func reason(lines []string) (string, error) {
	if len(lines) == 0 {
		return "", nil
	}
	text := lines[0]
	valid := len(lines) == 1 && utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxReason && !strings.ContainsFunc(text, unicode.IsControl)
	if !valid {
		return "", problem.New(problem.Malformed, "invalid_reason", "The Hub-Reason header cannot be used.").
			With(problem.Field{Location: "header.Hub-Reason", Message: "must be at most 500 characters of UTF-8 without control characters, given once"})
	}
	return text, nil
}

// requestHash tells two requests with one idempotency key apart without keeping
// them: a keyed hash over method, path, query, If-Match and body, each preceded by
// its length, so that no two different requests run together into the same bytes.
func (a *API) requestHash(e *exchange) []byte {
	mac := hmac.New(sha256.New, a.requestHashKey)
	var length [8]byte
	for _, part := range [...]string{
		e.request.Method, e.request.URL.Path, e.request.URL.RawQuery, strings.Join(e.request.Header["If-Match"], ","), string(e.body),
	} {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}
