package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

const (
	// defaultWait and maxWait are the contract's, for Prefer: wait=SECONDS.
	defaultWait = 5 * time.Second
	maxWait     = 30 * time.Second
	// maxQuery bounds one query apart from its wait; a read that takes longer is
	// holding a connection that others need.
	maxQuery = 10 * time.Second
	// maxQueries bounds the queries under way and in the queue for a connection. At
	// thousands a second that queue is worked off within a second; what comes on top is
	// refused at once, so that those who were let in stay fast.
	maxQueries = 2000
)

// freshness is what a read asks of the view that answers it.
type freshness struct {
	// minPosition is 0 when any position will do.
	minPosition int64
	// epoch is the log that minPosition belongs to, "" when not said.
	epoch string
	wait  time.Duration
}

// freshnessOf reads Hub-Min-Position, Hub-Epoch and Prefer: wait.
// Problem: invalid_min_position.
func freshnessOf(header http.Header) (freshness, error) {
	asked := freshness{epoch: header.Get("Hub-Epoch"), wait: preferredWait(header["Prefer"])}
	if lines := header["Hub-Min-Position"]; len(lines) > 0 {
		position, err := strconv.ParseUint(lines[0], 10, 63) // takes no sign
		if len(lines) > 1 || err != nil {
			return freshness{}, problem.New(problem.Malformed, "invalid_min_position", "The Hub-Min-Position header cannot be read.").
				With(problem.Field{Location: "header.Hub-Min-Position", Message: "must be a position, an integer of at least 0, given once"})
		}
		asked.minPosition = int64(position)
	}
	return asked, nil
}

// preferredWait reads wait=SECONDS (RFC 7240 §4.3). A preference that cannot be read is
// ignored, as that RFC asks.
func preferredWait(lines []string) time.Duration {
	seconds, err := strconv.ParseUint(preference(lines, "wait"), 10, 32)
	if err != nil {
		return defaultWait
	}
	return min(time.Duration(seconds)*time.Second, maxWait)
}

// preference is the value of one preference in the lines of Prefer, "" when it has none
// or is not there; of several the first counts (RFC 7240 §2).
func preference(lines []string, wanted string) string {
	for _, line := range lines {
		for given := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(given, "=")
			if strings.EqualFold(strings.TrimSpace(name), wanted) {
				value, _, _ = strings.Cut(value, ";")
				return strings.Trim(value, " \t\"")
			}
		}
	}
	return ""
}

// observe runs a query on a view that is as new as the request asks for. A caller
// who says which log its position is from is told when that log is gone (409
// epoch_changed) instead of waiting for a position that will never come.
func observe[T any](ctx context.Context, a *API, run func(context.Context) (T, readmodels.Snapshot, error)) (T, readmodels.Snapshot, error) {
	return observeIn(ctx, a, a.reads, false, run)
}

// observeLog is observe for what reads the log itself, which is ahead of all views.
func observeLog[T any](ctx context.Context, a *API, run func(context.Context) (T, readmodels.Snapshot, error)) (T, readmodels.Snapshot, error) {
	return observeIn(ctx, a, a.reads, true, run)
}

// observeIn is observe on views that are read from a store, or on what is ahead of them:
// that is looked at before anybody waits for them.
func observeIn[T any](ctx context.Context, a *API, views *readmodels.Store, ahead bool, run func(context.Context) (T, readmodels.Snapshot, error)) (T, readmodels.Snapshot, error) {
	var none T
	e := exchangeOf(ctx)
	asked, err := freshnessOf(e.request.Header)
	if err != nil {
		return none, readmodels.Snapshot{}, err
	}
	if asked.minPosition == 0 {
		return bounded(ctx, a, run)
	}
	e.mayWait()
	if ahead || asked.epoch != "" {
		value, at, err := bounded(ctx, a, run)
		if fault := sameHistory(ctx, views, asked, at); fault != nil {
			return none, at, fault
		}
		if at.Position >= asked.minPosition {
			return value, at, err
		}
	}
	if err := views.WaitFor(ctx, asked.minPosition, asked.wait); err != nil {
		return none, readmodels.Snapshot{}, err
	}
	value, at, err := bounded(ctx, a, run)
	if fault := sameHistory(ctx, views, asked, at); fault != nil {
		return none, at, fault // it was restored meanwhile
	}
	return value, at, err
}

// sameHistory refuses a position that is on no history of the log any more, and an
// answer that is of none. Problems: epoch_changed, projection_lagging.
func sameHistory(ctx context.Context, views *readmodels.Store, asked freshness, at readmodels.Snapshot) error {
	if asked.epoch == "" || at.Epoch == uuid.Nil || asked.epoch == at.Epoch.String() {
		return nil
	}
	on, err := views.OnHistory(ctx, asked.epoch, asked.minPosition)
	if err != nil {
		return err
	}
	if !on {
		return problem.New(problem.Conflict, "epoch_changed",
			"The log was restored to an earlier state since you saw that position. Forget what you hold and read again.")
	}
	if on, err = views.OnHistory(ctx, at.Epoch.String(), at.Position); err != nil || on {
		return err
	}
	return problem.New(problem.Unavailable, "projection_lagging",
		"The log was restored to an earlier state, and the view is being built anew. Try again in a moment.").Retry(time.Second)
}

// bounded runs a query with limits on its time and on how many there are. That something is not there is an
// answer of the snapshot too, so its position goes with the refusal.
func bounded[T any](ctx context.Context, a *API, run func(context.Context) (T, readmodels.Snapshot, error)) (T, readmodels.Snapshot, error) {
	select {
	case a.queries <- struct{}{}:
		defer func() { <-a.queries }()
	default:
		var none T
		return none, readmodels.Snapshot{}, problem.New(problem.Unavailable, "too_many_reads", "Too many reads are under way. Send this one again in a moment.").Retry(time.Second)
	}
	limited, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	value, at, err := run(limited)
	if err != nil && at.Epoch != uuid.Nil {
		header := exchangeOf(ctx).Header()
		header.Set("Hub-Position", strconv.FormatInt(at.Position, 10))
		header.Set("Hub-Epoch", at.Epoch.String())
	}
	return value, at, err
}

// view is the answer to every read.
type view[T any] struct {
	Status       int
	Position     int64  `header:"Hub-Position" doc:"Position of the snapshot that answered." example:"4711"`
	Epoch        string `header:"Hub-Epoch" doc:"The log that positions belong to." example:"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"`
	ETag         string `header:"ETag" doc:"Send it as If-None-Match to be answered 304 while nothing has changed; that of a single resource is its version, for If-Match." example:"\"3\""`
	CacheControl string `header:"Cache-Control" hidden:"true"`
	Body         rendered[T]
}

// answerOne makes the answer of a read of one resource in the shape asked for;
// references give what it can be expanded by.
func answerOne[T any](ctx context.Context, value T, at readmodels.Snapshot, version int64, as shape, references func(T) map[string]any) (*view[T], error) {
	if as.whole() {
		// The tag is known before anything is written, so a 304 costs no writing.
		return answer[T](ctx, at, entityTag(version), func() ([]byte, error) { return encodeJSON(value) })
	}
	var referred map[string]any
	if len(as.expanded) > 0 {
		referred = references(value)
	}
	text, err := as.write(value, referred)
	if err != nil {
		return nil, err
	}
	return answer[T](ctx, at, as.tag(version, text), func() ([]byte, error) { return text, nil })
}

// answerList makes the answer of a read of a list whose page P has these items.
// A list has no version; its tag is a hash of what it shows and of the epoch.
func answerList[P, T any](ctx context.Context, page P, items []T, at readmodels.Snapshot, as shape, references func(T) map[string]any) (*view[P], error) {
	text, err := encodeJSON(page)
	if err != nil {
		return nil, err
	}
	if !as.whole() {
		if text, err = writeItems(as, text, items, references); err != nil {
			return nil, err
		}
	}
	return answer[P](ctx, at, contentTag(at, text), func() ([]byte, error) { return text, nil })
}

// answer makes the answer of a read: 304 when the caller has it already, which shows nothing
// and is not recorded, otherwise what write returns.
func answer[T any](ctx context.Context, at readmodels.Snapshot, tag string, write func() ([]byte, error)) (*view[T], error) {
	e := exchangeOf(ctx)
	out := &view[T]{
		Status: http.StatusOK, Position: at.Position, Epoch: at.Epoch.String(), ETag: tag,
		// A browser may keep it but must ask each time, which If-None-Match makes cheap.
		CacheControl: "private, no-cache",
	}
	e.Header().Add("Vary", "Authorization")
	if !matchesNone(e.request.Header["If-None-Match"], out.ETag) {
		out.Status = http.StatusNotModified
		return out, nil
	}
	if e.showing != nil {
		if err := e.showing(ctx); err != nil {
			return nil, err
		}
	}
	var err error
	out.Body.bytes, err = write()
	return out, err
}

// contentTag is an entity tag made of the bytes of an answer. It leaves out the
// position, which moves when others write.
func contentTag(at readmodels.Snapshot, body []byte) string {
	hash := sha256.New()
	hash.Write(at.Epoch[:])
	hash.Write(body)
	return `"` + hex.EncodeToString(hash.Sum(nil)[:16]) + `"`
}

// rendered is a T already written as JSON, because its hash is sent before it.
type rendered[T any] struct{ bytes []byte }

// written returns the bytes; see marshal in openapi.go.
func (r rendered[T]) written() []byte { return r.bytes }

// Schema describes a rendered T as a T. Part of huma.SchemaProvider.
func (rendered[T]) Schema(registry huma.Registry) *huma.Schema {
	return registry.Schema(reflect.TypeFor[T](), true, "")
}
