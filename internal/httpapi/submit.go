package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/strictjson"
	"github.com/reactdjango-hub/backend/readmodels"
)

const (
	// maxIdempotencyKey is what Stripe takes, too.
	maxIdempotencyKey = 255
	// maxReason bounds, in characters, a text that is stored with every event.
	maxReason = 500
	// dryRunParameter is the one parameter that every command takes.
	dryRunParameter = "dry_run"
)

// resource is what a command is about: where it is, and how its state is shown.
type resource[T any] struct {
	// collection is the path that an id is appended to.
	collection string
	// kind is that of the resource's stream, whose name is the id.
	kind string
	// view shows a state as the read of the resource answers it; nil where nothing is shown.
	view func(commands.Resource) (T, error)
	// complete adds what no state has and a view knows, as a balance; nil where there is
	// nothing like that. The view has the position of the receipt then.
	complete func(context.Context, *API, *T) error
}

// Receipt is the answer to a write; T is what the write is about, as its read shows it.
type Receipt[T any] struct {
	ID       string         `json:"id" doc:"The resource's id. In a dry run, one that would be made up is all zeros." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Version  int64          `json:"version" doc:"The resource's version from now on." example:"3"`
	Position *int64         `json:"position" nullable:"true" doc:"Position of the last event, or where it was found that nothing has to change; null in a dry run." example:"4711"`
	Events   []ReceiptEvent `json:"events" doc:"What was recorded; empty when nothing had to change."`
	DryRun   bool           `json:"dry_run,omitempty" doc:"true when nothing was written, because ?dry_run=true asked for that."`
	Resource *T             `json:"resource,omitempty" doc:"The resource as this write leaves it, when Prefer: return=representation asks for it. In a dry run its times are those of the dry run."`
}

// ReceiptEvent is one event that a write led to.
type ReceiptEvent struct {
	Type     string          `json:"type" doc:"The event's type." example:"entity.created"`
	Position *int64          `json:"position" nullable:"true" doc:"Its position in the log; null in a dry run." example:"4711"`
	Data     json.RawMessage `json:"data,omitempty" doc:"What would be recorded; in a dry run only."`
}

// receiptOutput is the answer to every write.
type receiptOutput[T any] struct {
	Status            int
	Position          int64  `header:"Hub-Position" doc:"Position of the last event; send it as Hub-Min-Position to read your own write. Of a dry run, the position that it was decided at." example:"4711"`
	ETag              string `header:"ETag" doc:"The resource's version; send it as If-Match with the next write. Not sent with a dry run." example:"\"3\""`
	Location          string `header:"Location" doc:"Where the resource is; sent with 201." example:"/api/v1/entities/0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Replayed          string `header:"Idempotency-Replayed" doc:"true when this is the first answer again." example:"true"`
	PreferenceApplied string `header:"Preference-Applied" doc:"Sent when resource is there because Prefer asked for it." example:"return=representation"`
	Body              Receipt[T]
}

// submit sends a command to the loop with all that the request says about it, and
// makes the answer.
func submit[T any](ctx context.Context, a *API, decider domain.Decider, about resource[T]) (*receiptOutput[T], error) {
	e := exchangeOf(ctx)
	submission, err := a.submission(e, decider)
	if err != nil {
		return nil, err
	}
	if about.view != nil && e.wantsRepresentation() {
		submission.Represent = about.kind
	}
	receipt, err := a.send(ctx, submission)
	if receipt.Replayed {
		e.Header().Set("Idempotency-Replayed", "true")
	}
	if err != nil {
		return nil, err
	}
	out := &receiptOutput[T]{Status: http.StatusOK, Position: receipt.Position, Body: receiptBody[T](receipt, submission.DryRun)}
	if !submission.DryRun {
		out.ETag = entityTag(receipt.Version)
		if receipt.Created {
			out.Status, out.Location = http.StatusCreated, about.collection+"/"+receipt.ID
		}
	}
	if submission.Represent != "" && receipt.Resource != nil {
		if out.Body.Resource = about.shown(ctx, a, *receipt.Resource, receipt.Position); out.Body.Resource != nil {
			out.PreferenceApplied = "return=representation"
		}
	}
	return out, nil
}

// wantsRepresentation reports whether the answer to a write shall have the resource.
func (e *exchange) wantsRepresentation() bool {
	return preference(e.request.Header["Prefer"], "return") == "representation"
}

// shown is nil for what cannot be shown: the command is done, and its answer must say
// so; a preference may be left out.
func (about resource[T]) shown(ctx context.Context, a *API, r commands.Resource, position int64) *T {
	e := exchangeOf(ctx)
	view, err := about.view(r)
	if err != nil {
		e.log.ErrorContext(ctx, "resource not shown", "request_id", e.requestID, "error", err)
		return nil
	}
	if about.complete == nil {
		return &view
	}
	if err := a.completed(ctx, position, func(ctx context.Context) error { return about.complete(ctx, a, &view) }); err != nil {
		e.log.WarnContext(ctx, "resource not shown", "request_id", e.requestID, "error", err)
		return nil
	}
	return &view
}

// completed runs a read of the views once they have a position, within the wait that the
// request prefers.
func (a *API) completed(ctx context.Context, position int64, read func(context.Context) error) error {
	if a.views == nil {
		return errors.New("there are no views here")
	}
	e := exchangeOf(ctx)
	e.mayWait()
	if err := a.views.WaitFor(ctx, position, preferredWait(e.request.Header["Prefer"])); err != nil {
		return err
	}
	_, _, err := bounded(ctx, a, func(ctx context.Context) (struct{}, readmodels.Snapshot, error) {
		return struct{}{}, readmodels.Snapshot{}, read(ctx)
	})
	return err
}

func receiptBody[T any](r commands.Receipt, dryRun bool) Receipt[T] {
	body := Receipt[T]{ID: r.ID, Version: r.Version, DryRun: dryRun, Events: make([]ReceiptEvent, len(r.Events))}
	if !dryRun {
		body.Position = &r.Position
	}
	for i, event := range r.Events {
		body.Events[i] = ReceiptEvent{Type: event.Type, Data: event.Data}
		if !dryRun {
			body.Events[i].Position = &r.Events[i].Position
		}
	}
	return body
}

// newID is the id of something that a command makes. A dry run makes nothing, and no
// id that its caller could take for that of something.
func newID(ctx context.Context) (uuid.UUID, error) {
	if exchangeOf(ctx).query.Get(dryRunParameter) == "true" {
		return uuid.Nil, nil
	}
	return uuid.NewV7()
}

// dryRun reads the parameter dry_run. Problems: invalid_request.
func dryRun(query url.Values) (bool, error) {
	switch query.Get(dryRunParameter) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if query.Has(dryRunParameter) {
		return false, problem.New(problem.Invalid, "invalid_request", "The request does not fit its description. See errors for what to change.").
			With(problem.Field{Location: "query." + dryRunParameter, Message: "must be true or false"})
	}
	return false, nil
}

// submission reads the headers of a write.
// Problems: invalid_idempotency_key, invalid_if_match, invalid_if_none_match,
// invalid_reason, and invalid_request for dry_run.
func (a *API) submission(e *exchange, decider domain.Decider) (commands.Submission, error) {
	var none commands.Submission
	header := e.request.Header
	key, err := idempotencyKey(header["Idempotency-Key"])
	if err != nil {
		return none, err
	}
	condition, err := preconditionOf(header)
	if err != nil {
		return none, err
	}
	reason, err := reason(header["Hub-Reason"])
	if err != nil {
		return none, err
	}
	dry, err := dryRun(e.query)
	if err != nil {
		return none, err
	}
	if condition.existing || condition.absent {
		decider = conditional{decider, condition}
	}
	submission := commands.Submission{
		Decider: decider,
		Meta: domain.Meta{
			Org: e.caller.Org, Actor: domain.Actor{Sub: e.caller.Sub, Person: e.caller.Person},
			Roles: e.caller.Roles, Groups: e.caller.Groups, IfMatch: condition.version, Reason: reason, RequestID: e.requestID, CorrelationID: e.correlationID,
		},
		IdempotencyKey: key, DryRun: dry,
	}
	if key != "" && !dry {
		submission.RequestHash = a.requestHash(e)
	}
	return submission, nil
}

// conditional is a command that may only change what is there, If-Match: *, or only make
// what is not there, If-None-Match: *.
type conditional struct {
	domain.Decider
	precondition
}

// Decide refuses what would do the other.
func (c conditional) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	decision, err := c.Decider.Decide(r, m)
	if err != nil {
		return decision, err
	}
	stream, there := decision.Stream, !decision.Created
	if deriver, ok := c.Decider.(domain.Deriver); ok {
		stream = deriver.Origin()
		there = r.Version(stream) > 0
	}
	switch {
	case c.existing && !there:
		return domain.Decision{}, problem.New(problem.Stale, "version_conflict", "If-Match: * asks for a resource that exists, and this one does not.")
	case c.absent && there:
		stale := problem.StaleVersion(r.Version(stream))
		stale.Detail = "If-None-Match: * asks for a resource that does not exist yet, and this one does."
		return domain.Decision{}, stale
	}
	return decision, nil
}

// Rounds passes on how far a domain.Walker goes.
func (c conditional) Rounds() int {
	if walker, ok := c.Decider.(domain.Walker); ok {
		return walker.Rounds()
	}
	return 0
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

// reason accepts up to 500 characters, and stores them as texts in bodies are.
func reason(lines []string) (string, error) {
	if len(lines) == 0 {
		return "", nil
	}
	text := strictjson.Normal(lines[0])
	valid := len(lines) == 1 && utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxReason && !domain.LooksSealed([]byte(text)) && !strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && domain.UnsafeInName(r) })
	if !valid {
		return "", problem.New(problem.Invalid, "invalid_reason", "The Hub-Reason header cannot be used.").
			With(problem.Field{Location: "header.Hub-Reason", Message: "must be at most 500 characters of UTF-8 without control characters or bidirectional overrides, not begin like a sealed value, and be given once"})
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
