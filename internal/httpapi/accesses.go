package httpapi

import (
	"context"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// AccessQuery selects records of accesses; what is empty does not restrict.
type AccessQuery struct {
	Subject, Actor string
	// Before is a position; 0 is the end of the log.
	Before int64
	// Limit and Bytes bound a page.
	Limit, Bytes int
	Count        bool
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
	Items      []RecordedAccess `json:"items" doc:"The records, the latest first."`
	NextCursor *string          `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64           `json:"count,omitempty" doc:"The number of all matches, when asked for."`
	// Next is the position that the next page comes before, 0 on the last one.
	Next int64 `json:"-"`
}

type listAccessesInput struct {
	Subject string `query:"subject" maxLength:"200" doc:"Only what was of this entity." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Actor   string `query:"actor" maxLength:"255" doc:"Only what this login has seen." example:"pia"`
	Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor  string `query:"cursor" doc:"next_cursor of the page before."`
	Count   bool   `query:"count" doc:"Add count, the number of all matches."`
	Fields  string `query:"fields" doc:"Only these members, with commas between." example:"actor,subjects,recorded_at"`
}

// listAccesses reads the log, which has a record before anything was shown, and not a view.
func (a *API) listAccesses(ctx context.Context, in *listAccessesInput) (*view[AccessPage], error) {
	if in.Subject == "" && in.Actor == "" {
		return nil, problem.New(problem.Invalid, "invalid_filter", "A filter cannot be used; errors says which.").
			With(problem.Field{Location: "query.subject", Message: "must be given, or actor"})
	}
	shape, err := shapeOf[RecordedAccess](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	org := exchangeOf(ctx).caller.Org
	cursors := a.reads.LogCursors(org, "accesses", in.Subject, in.Actor)
	from, err := cursors.Open(in.Cursor)
	if err != nil {
		return nil, err
	}
	page, at, err := observeLog(ctx, a, func(ctx context.Context) (AccessPage, readmodels.Snapshot, error) {
		page, at, err := a.accesses(ctx, org, AccessQuery{
			Subject: in.Subject, Actor: in.Actor, Before: from.Position, Limit: in.Limit, Bytes: readmodels.MaxPageBytes, Count: in.Count,
		})
		if err == nil && in.Cursor != "" {
			err = from.SameLog(at)
		}
		return page, at, err
	})
	if err != nil {
		return nil, err
	}
	if page.Next > 0 {
		next, err := cursors.Seal(readmodels.Snapshot{Position: page.Next, Epoch: at.Epoch})
		if err != nil {
			return nil, err
		}
		page.NextCursor = &next
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}
