package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

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
	// keyReused is the code of an idempotency key that was used for another request.
	keyReused = "idempotency_key_reused"
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
	for name, code := range map[string]string{"If-Match": "invalid_if_match", "If-None-Match": "invalid_if_none_match"} {
		if len(e.request.Header[name]) > 0 { // a condition is kept or refused, never left out
			return nil, problem.New(problem.Malformed, code, "The %s header cannot be used with many transactions.", name).
				With(problem.Field{Location: "header." + name, Message: "is for one resource"})
		}
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

// createEach makes the items that can be made, in their order. Each is a command of its own.
func (a *API) createEach(ctx context.Context, items []json.RawMessage, frame commands.Submission) (*createTransactionsOutput, error) {
	each := &outcomes{
		receipts: make([]commands.Receipt, len(items)), faults: make([]error, len(items)),
		queue: make(chan queuedItem, bulkInFlight), done: make(chan struct{}),
	}
	go each.wait()
	err := a.queueEach(ctx, items, frame, each)
	close(each.queue)
	<-each.done
	if err != nil {
		return nil, err
	}
	out := &createTransactionsOutput{Body: BulkResults{Results: make([]BulkResult, len(items)), DryRun: frame.DryRun}}
	return out, out.collect(exchangeOf(ctx), each.receipts, each.faults)
}

// outcomes are what becomes of the items of one request.
type outcomes struct {
	receipts []commands.Receipt
	faults   []error
	queue    chan queuedItem
	// done is closed when queue was, and all outcomes are there.
	done chan struct{}
}

type queuedItem struct {
	index   int
	outcome func() (commands.Receipt, error)
}

func (o *outcomes) wait() {
	defer close(o.done)
	for item := range o.queue {
		o.receipts[item.index], o.faults[item.index] = item.outcome()
	}
}

// queueEach hands the items to the loop, which decides them in that order. The first of
// them has the idempotency key of the request and is decided before the others are looked
// at, so that a key which was used for another request refuses all of this one; theirs
// follow from it. Problems: idempotency_key_reused, and those of an outcome that is unknown.
func (a *API) queueEach(ctx context.Context, items []json.RawMessage, frame commands.Submission, each *outcomes) error {
	e := exchangeOf(ctx)
	claimed := frame.IdempotencyKey == "" || frame.DryRun
	for i, item := range items {
		id, err := newID(ctx)
		if err != nil {
			return err
		}
		transaction, err := e.transaction(item, id)
		if err != nil {
			each.faults[i] = err
			continue
		}
		one := frame
		one.Decider = transactions.CreateTransaction{NewTransaction: transaction}
		if !claimed {
			claimed = true
			if each.receipts[i], err = a.send(ctx, one); err != nil && (!commands.Kept(problem.Of(err)) || problem.Of(err).Code == keyReused) {
				return err
			}
			each.faults[i] = err
			continue
		}
		if frame.IdempotencyKey != "" {
			one.IdempotencyKey = "bulk/" + strconv.Itoa(i) + "/" + frame.IdempotencyKey
		}
		each.queue <- queuedItem{i, a.queue(ctx, one)}
	}
	return nil
}

// collect makes the results. That nothing could be decided is a problem of the whole request.
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
