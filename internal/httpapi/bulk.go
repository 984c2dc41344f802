package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/strictjson"
)

const (
	// ndjsonMedia is JSON documents, one a line.
	ndjsonMedia = "application/x-ndjson"
	// bulkBytes leaves an item of the largest bulk some ten lines on average.
	bulkBytes = 8 << 20
	// bulkInFlight is how many items of one bulk are with the loop at a time: some turns
	// of it, and few enough that others find room in its queue.
	bulkInFlight = 512
)

// BulkResult is what became of one item.
type BulkResult struct {
	Index  int             `json:"index" doc:"Which item of the request, from 0." example:"0"`
	Status int             `json:"status" doc:"The HTTP status that a request with this item alone would have got: 201 for one that was made, 200 for one that its external_ref has made before, or that of a problem." example:"201"`
	ID     string          `json:"id,omitempty" doc:"The transaction." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Code   string          `json:"code,omitempty" doc:"Code of the problem." example:"insufficient_funds"`
	Detail string          `json:"detail,omitempty" doc:"What happened and what to do."`
	Errors []problem.Field `json:"errors,omitempty" doc:"The single faults, within the item."`
}

// BulkResults is the answer to a bulk.
type BulkResults struct {
	Results []BulkResult `json:"results" doc:"One for each item, in the order of the request."`
	DryRun  bool         `json:"dry_run,omitempty" doc:"true when nothing was written, because ?dry_run=true asked for that."`
}

type createTransactionsInput struct {
	Atomic bool `query:"atomic" doc:"true: all or none."`
}

type createTransactionsOutput struct {
	Position string `header:"Hub-Position" doc:"Position of the last event; not sent when nothing was made." example:"4711"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when this is the first answer again." example:"true"`
	Body     BulkResults
}

func (a *API) createTransactions(ctx context.Context, in *createTransactionsInput) (*createTransactionsOutput, error) {
	e := exchangeOf(ctx)
	items, err := e.items()
	if err != nil {
		return nil, err
	}
	frame, err := a.submission(e, nil)
	if err != nil {
		return nil, err
	}
	if in.Atomic {
		return a.createTogether(ctx, items, frame)
	}
	return a.createEach(ctx, items, frame)
}

// items are the single documents of a body. Problems: invalid_json and others of
// strictjson, invalid_request.
func (e *exchange) items() ([]json.RawMessage, error) {
	var items []json.RawMessage
	if media, _, _ := strings.Cut(e.request.Header.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(media), ndjsonMedia) {
		for line := range bytes.Lines(e.body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				items = append(items, line)
			}
		}
	} else {
		document, err := strictjson.Sanitize(e.body, strictjson.Default)
		if err != nil {
			return nil, err
		}
		if json.Unmarshal(document, &items) != nil {
			items = nil
		}
	}
	if len(items) < 1 || len(items) > transactions.MaxBatch {
		return nil, problem.New(problem.Invalid, "invalid_request", "The request does not fit its description. See errors for what to change.").
			With(problem.Field{Location: "body", Message: "must be an array, or lines, of 1 to " + strconv.Itoa(transactions.MaxBatch) + " transactions"})
	}
	return items, nil
}

// transaction reads one item. Problems: those of strictjson, invalid_amount.
func (e *exchange) transaction(item json.RawMessage, id uuid.UUID) (ledger.NewTransaction, error) {
	var body NewTransaction
	err := strictjson.Unmarshal(item, &body)
	p := problem.Of(err)
	switch {
	case err == nil && !slices.Contains([]string{"", "refuse", moveDate}, body.OnClosed):
		return ledger.NewTransaction{}, problem.New(problem.Invalid, "invalid_request", "The request does not fit its description. See errors for what to change.").
			With(problem.Field{Location: "body.on_closed_period", Message: "must be refuse or move"})
	case p != nil && len(p.Fields) == 1 && p.Code == "wrong_type" && strings.HasSuffix(p.Fields[0].Location, "/amount"):
		return ledger.NewTransaction{}, invalidAmounts(problem.Field{Location: p.Fields[0].Location, Message: wantsDecimal})
	}
	return body.command(id), err
}

// createTogether makes all of the items or none.
func (a *API) createTogether(ctx context.Context, items []json.RawMessage, frame commands.Submission) (*createTransactionsOutput, error) {
	e := exchangeOf(ctx)
	first, err := newID(ctx)
	if err != nil {
		return nil, err
	}
	batch := transactions.CreateTransactions{First: transactions.BatchID(first, 0)}
	for i, item := range items {
		transaction, err := e.transaction(item, uuid.Nil)
		if err != nil {
			return nil, indexed(err, i)
		}
		batch.Items = append(batch.Items, transaction)
	}
	frame.Decider = batch
	receipt, err := a.send(ctx, frame)
	out := &createTransactionsOutput{Position: strconv.FormatInt(receipt.Position, 10), Body: BulkResults{DryRun: frame.DryRun}}
	if receipt.Replayed {
		out.Replayed = "true"
		e.Header().Set("Idempotency-Replayed", "true")
	}
	if err != nil {
		return nil, err
	}
	status := http.StatusCreated
	if !receipt.Created || frame.DryRun {
		status = http.StatusOK
	}
	for i, id := range transactions.BatchIDs(receipt.ID, len(items)) {
		out.Body.Results = append(out.Body.Results, BulkResult{Index: i, Status: status, ID: id})
	}
	return out, nil
}

// indexed adds the index of an item to its problem.
func indexed(err error, index int) error {
	if p := problem.Of(err); p != nil {
		if p.Extra == nil {
			p.Extra = map[string]any{}
		}
		p.Extra["index"] = index
	}
	return err
}

// createEach makes the items that can be made. Each is a command of its own, with an
// idempotency key of its own that follows from the request's.
func (a *API) createEach(ctx context.Context, items []json.RawMessage, frame commands.Submission) (*createTransactionsOutput, error) {
	e := exchangeOf(ctx)
	out := &createTransactionsOutput{Body: BulkResults{Results: make([]BulkResult, len(items)), DryRun: frame.DryRun}}
	receipts, faults := make([]commands.Receipt, len(items)), make([]error, len(items))
	var all sync.WaitGroup
	room := make(chan struct{}, bulkInFlight)
	for i, item := range items {
		id, err := newID(ctx)
		if err != nil {
			return nil, err
		}
		transaction, err := e.transaction(item, id)
		if err != nil {
			faults[i] = err
			continue
		}
		one := frame
		one.Decider = transactions.CreateTransaction{NewTransaction: transaction}
		if frame.IdempotencyKey != "" {
			one.IdempotencyKey = "bulk/" + strconv.Itoa(i) + "/" + frame.IdempotencyKey
		}
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			receipts[i], faults[i] = a.send(ctx, one)
		})
	}
	all.Wait()
	return out, out.collect(e, receipts, faults)
}

// collect makes the results. A key that was used for another request is a problem of the
// whole request, and so is when nothing could be decided.
func (o *createTransactionsOutput) collect(e *exchange, receipts []commands.Receipt, faults []error) error {
	if !slices.ContainsFunc(faults, func(err error) bool { return problem.Of(err) == nil || problem.Of(err).Kind != problem.Unavailable }) {
		return faults[0]
	}
	var position int64
	replayed := true
	for i, receipt := range receipts {
		result := BulkResult{Index: i, Status: http.StatusOK, ID: receipt.ID}
		if faults[i] != nil {
			p := e.problemFor(faults[i])
			if p.Code == "idempotency_key_reused" {
				return faults[i]
			}
			result = BulkResult{Index: i, Status: p.Status, Code: p.Code, Detail: p.Detail, Errors: p.Errors}
		} else if receipt.Created && !o.Body.DryRun {
			result.Status = http.StatusCreated
		}
		replayed = replayed && receipt.Replayed
		position = max(position, receipt.Position)
		o.Body.Results[i] = result
	}
	if position > 0 {
		o.Position = strconv.FormatInt(position, 10)
	}
	if replayed {
		o.Replayed = "true"
	}
	return nil
}
