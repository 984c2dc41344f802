package httpapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// Jobs of every kind are answered alike: one is started by a command, which answers 202 and
// where it is; there it says how far it is, what failed, and that it can be cancelled. Who
// has started a job sees it, and admins see all.

// csvMedia is what the items that failed are sent as, where that was asked for.
const csvMedia = "text/csv"

// JobReceipt is the answer to what starts a job.
type JobReceipt[T any] struct {
	JobID string `json:"job_id,omitempty" doc:"The job's id, which is id, too. Not sent with a dry run." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Receipt[T]
}

// jobReader says which jobs of a kind the caller sees.
func (e *exchange) jobReader(kind string) readmodels.JobReader {
	return readmodels.JobReader{Org: e.caller.Org, Kind: kind, Sub: e.caller.Sub, All: entity.SeesAll(e.principals())}
}

// jobID reads an id in a path. What is no id names nothing.
func jobID(text string) (uuid.UUID, error) {
	id, err := entityID(text)
	if err != nil {
		return id, noSuch("job", "id")
	}
	return id, nil
}

type jobInput struct {
	ID string `path:"id" doc:"The job's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
}

type getJobInput struct {
	ID     string `path:"id" doc:"The job's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"id,state,processed"`
}

type listJobsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before."`
	Count  bool   `query:"count" doc:"Add count, the number of all matches."`
	Fields string `query:"fields" doc:"Only these members, with commas between." example:"id,state,processed"`
}

// JobError is an item of a job that failed.
type JobError struct {
	Item   string          `json:"item" doc:"What it is about: an entity's id." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22"`
	Code   string          `json:"code" doc:"Code of the problem, as a request about this item alone would have got it." example:"invalid_attributes"`
	Detail string          `json:"detail" doc:"What the code means."`
	Errors []problem.Field `json:"errors,omitempty" doc:"The first three single faults."`
}

// JobErrorPage is a page of them.
type JobErrorPage struct {
	Items      []JobError `json:"items" doc:"The items that failed, as they did."`
	NextCursor *string    `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64     `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

type listJobErrorsInput struct {
	ID     string `path:"id" doc:"The job's id, a UUID." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Format string `query:"format" enum:"json,csv" default:"json" doc:"csv sends all of them, from the cursor on, with the columns item, code, location and message: a line for each fault."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most, in JSON."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before."`
	Count  bool   `query:"count" doc:"Add count, the number of all, in JSON."`
	Fields string `query:"fields" doc:"Only these members, with commas between, in JSON." example:"item,code"`
}

type jobErrorsOutput struct {
	ContentType  string `header:"Content-Type" hidden:"true"`
	Position     int64  `header:"Hub-Position" doc:"Position of the snapshot that answered." example:"4711"`
	Epoch        string `header:"Hub-Epoch" doc:"The log that positions belong to." example:"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"`
	ETag         string `header:"ETag" doc:"Send it as If-None-Match to be answered 304 while nothing has changed. Not sent with CSV."`
	CacheControl string `header:"Cache-Control" hidden:"true"`
	Body         func(huma.Context)
}

// listJobErrors lists the items of a job of a kind that failed.
func (a *API) listJobErrors(kind string) func(context.Context, *listJobErrorsInput) (*jobErrorsOutput, error) {
	return func(ctx context.Context, in *listJobErrorsInput) (*jobErrorsOutput, error) {
		id, err := jobID(in.ID)
		if err != nil {
			return nil, err
		}
		shape, err := shapeOf[JobError](in.Fields, "", nil, nil)
		if err != nil {
			return nil, err
		}
		e := exchangeOf(ctx)
		by, asked := e.jobReader(kind), readmodels.Page{Limit: in.Limit, Cursor: in.Cursor, Count: in.Count}
		if in.Format == "csv" {
			asked.Limit = readmodels.MaxLimit
		}
		found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.JobFailurePage, readmodels.Snapshot, error) {
			return a.reads.JobFailures(ctx, by, id, asked)
		})
		if err != nil {
			return nil, err
		}
		if in.Format == "csv" {
			return &jobErrorsOutput{
				ContentType: csvMedia + "; charset=utf-8; header=present", Position: at.Position, Epoch: at.Epoch.String(), CacheControl: "private, no-cache",
				Body: func(huma.Context) { a.writeJobErrors(ctx, by, id, found) },
			}, nil
		}
		page := JobErrorPage{Items: make([]JobError, len(found.Items)), NextCursor: found.NextCursor, Count: found.Count}
		for i, failure := range found.Items {
			page.Items[i] = JobError{Item: failure.Item, Code: failure.Code, Detail: meaningOf(failure.Code), Errors: failure.Errors}
		}
		whole, err := answerList(ctx, page, page.Items, at, shape, nil)
		if err != nil {
			return nil, err
		}
		return &jobErrorsOutput{
			ContentType: "application/json", Position: whole.Position, Epoch: whole.Epoch, ETag: whole.ETag, CacheControl: whole.CacheControl,
			Body: func(answer huma.Context) {
				answer.SetStatus(whole.Status)
				_, _ = e.Write(whole.Body.bytes) // who has gone cannot be told
			},
		}, nil
	}
}

// meaningOf is what the catalogue says of a code.
func meaningOf(code string) string {
	for _, entry := range catalogue {
		if entry.code == code {
			return entry.meaning
		}
	}
	return "The item was refused."
}

// writeJobErrors writes all items that failed from a page on. What cannot be read to its
// end is cut off, so that nobody takes it for all.
func (a *API) writeJobErrors(ctx context.Context, by readmodels.JobReader, id uuid.UUID, page readmodels.JobFailurePage) {
	e := exchangeOf(ctx)
	if err := writeJobErrorLines(e, [][]string{{"item", "code", "location", "message"}}); err != nil {
		return // who has gone cannot be told
	}
	for {
		var lines [][]string
		for _, failure := range page.Items {
			if len(failure.Errors) == 0 {
				lines = append(lines, []string{failure.Item, failure.Code, "", meaningOf(failure.Code)})
			}
			for _, field := range failure.Errors {
				lines = append(lines, []string{failure.Item, failure.Code, field.Location, field.Message})
			}
		}
		if err := writeJobErrorLines(e, lines); err != nil || page.NextCursor == nil {
			return
		}
		var err error
		page, _, err = bounded(ctx, a, func(ctx context.Context) (readmodels.JobFailurePage, readmodels.Snapshot, error) {
			return a.reads.JobFailures(ctx, by, id, readmodels.Page{Limit: readmodels.MaxLimit, Cursor: *page.NextCursor})
		})
		if err != nil {
			e.log.WarnContext(ctx, "a list of failed items is cut off", "request_id", e.requestID, "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}

func writeJobErrorLines(e *exchange, lines [][]string) error {
	var text bytes.Buffer
	if err := csv.NewWriter(&text).WriteAll(lines); err != nil { // which flushes
		return err
	}
	_, err := e.Write(text.Bytes())
	return err
}

// describeJobErrors says in which media types they are sent.
func (r *route) describeJobErrors(api *huma.OpenAPI, op *huma.Operation) {
	if !strings.HasSuffix(r.Path, "/errors") {
		return
	}
	op.Responses["200"] = &huma.Response{Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{
		"application/json": {Schema: api.Components.Schemas.Schema(reflect.TypeFor[JobErrorPage](), true, "")},
		csvMedia:           {Schema: &huma.Schema{Type: huma.TypeString}, Example: exampleJobErrors},
	}}
}

const exampleJobErrors = "item,code,location,message\n0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c22,invalid_attributes,body.attributes/age,must be of type integer\n"
