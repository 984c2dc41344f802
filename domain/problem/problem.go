// Package problem is the one error type of the product: what went wrong, in a
// form that every caller can act on and that holds nothing of the inside. Any
// other error is internal: its text goes to the log, never to a caller.
package problem

import (
	"errors"
	"fmt"
	"time"
)

// Kind groups problems by what the caller can do about them. Only the HTTP edge
// knows which status belongs to which kind.
type Kind int

// The kinds.
const (
	Internal         Kind = iota // a fault of ours
	Malformed                    // could not be read at all
	Unauthenticated              // no or bad credentials
	Forbidden                    // known caller, not allowed
	NotFound                     // no such thing, or not yours to see
	MethodNotAllowed             // the thing exists, not with this method
	Conflict                     // the state forbids it
	Stale                        // If-Match names another version
	TooLarge                     // above a limit on size
	UnsupportedMedia             // a content type that is not read
	Invalid                      // can never be right, whatever the state
	Throttled                    // too many requests by this caller
	Unavailable                  // cannot serve now; retrying is right
	OutcomeUnknown               // may or may not have happened
)

// Field is one fault within the input. Location is as in "body.attributes/city"
// or "query.limit"; Message never repeats the rejected value.
type Field struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Problem is an error for callers. Code is a stable slug, Detail a sentence that
// says what to do.
type Problem struct {
	Kind   Kind
	Code   string
	Detail string
	Fields []Field
	// Extra adds members to the answer, as "version" of a stale If-Match.
	Extra map[string]any
	// RetryAfter is sent with Throttled and Unavailable.
	RetryAfter time.Duration
}

// Error makes a Problem an error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// New makes a problem; detail is a format.
func New(kind Kind, code, detail string, args ...any) *Problem {
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	return &Problem{Kind: kind, Code: code, Detail: detail}
}

// With adds faults in the input and returns the same problem.
func (p *Problem) With(fields ...Field) *Problem {
	p.Fields = append(p.Fields, fields...)
	return p
}

// Retry sets RetryAfter and returns the same problem.
func (p *Problem) Retry(after time.Duration) *Problem {
	p.RetryAfter = after
	return p
}

// Of finds the Problem in err's chain; nil when there is none.
func Of(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// StaleVersion is the answer to an If-Match that names another version.
func StaleVersion(current int64) *Problem {
	p := New(Stale, "version_conflict", "The resource has changed since you read it: it is now at version %d. Read it again and repeat your change.", current)
	p.Extra = map[string]any{"version": current}
	return p
}
