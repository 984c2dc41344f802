package httpapi

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// AccessQuery selects records of accesses; what is empty does not restrict.
type AccessQuery struct {
	Subject, Actor string
	// Before is a position; 0 is the end of the log.
	Before int64
	Limit  int
}

// RecordedAccess says that somebody has seen sensitive values.
type RecordedAccess struct {
	Position   int64     `json:"position" doc:"Position of the record in the log." example:"4711"`
	Actor      string    `json:"actor" doc:"Who has seen it." example:"pia"`
	Person     string    `json:"person" doc:"The human behind the login." example:"p-7"`
	Subjects   []string  `json:"subjects" doc:"Of whom it was: ids of entities, and member: with a login."`
	Attributes []string  `json:"attributes" doc:"Names of the sensitive attributes that were shown in clear; empty when only what is not sensitive was shown." example:"[\"iban\"]"`
	Reasons    bool      `json:"reasons" doc:"true when it was shown in clear why something was done."`
	Route      string    `json:"route" doc:"What was asked for." example:"GET /api/v1/entities/{id}"`
	RequestID  string    `json:"request_id" doc:"The request's id, as in the access log."`
	RecordedAt time.Time `json:"recorded_at" doc:"When it was recorded, before it was shown."`
}

// AccessPage is a page of records.
type AccessPage struct {
	Items []RecordedAccess `json:"items" doc:"The records, the latest first."`
	// NextCursor is the position that the next page comes before.
	NextCursor *string `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
}

type listAccessesInput struct {
	Subject string `query:"subject" maxLength:"200" doc:"Only what was of this entity." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Actor   string `query:"actor" maxLength:"255" doc:"Only what this login has seen." example:"pia"`
	Cursor  string `query:"cursor" maxLength:"20" doc:"next_cursor of the page before."`
	Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
}

type accessesOutput struct{ Body AccessPage }

func (a *API) listAccesses(ctx context.Context, in *listAccessesInput) (*accessesOutput, error) {
	if in.Subject == "" && in.Actor == "" {
		return nil, problem.New(problem.Invalid, "invalid_filter", "A filter cannot be used; errors says which.").
			With(problem.Field{Location: "query.subject", Message: "must be given, or actor"})
	}
	before, err := strconv.ParseInt(cmp.Or(in.Cursor, "0"), 10, 64)
	if err != nil || before < 0 {
		return nil, problem.New(problem.Malformed, "invalid_cursor", "The cursor is not one of this list.")
	}
	page, err := a.accesses(ctx, exchangeOf(ctx).caller.Org, AccessQuery{Subject: in.Subject, Actor: in.Actor, Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return &accessesOutput{page}, nil
}
