package httpapi

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	eventsPath = basePath + "/events"
	streamPath = eventsPath + "/stream"

	// accessRecorded is what reading writes. It does not wake who has read: a page that
	// reads when something happens would go on for ever.
	accessRecorded = "access.recorded"

	// pageBytes bounds a page of the feed, and streamBytes one of a stream, of which
	// there are more at a time.
	pageBytes   = 1 << 20
	streamBytes = 256 << 10
	// streamEvents is how many events a stream writes before it looks around.
	streamEvents = 100
	// maxPages bounds the pages in memory, from when they are read until they are sent.
	maxPages = 128
	// maxTypes bounds the names in types; there are fewer types than that.
	maxTypes = 100
	// retryLog is what callers are told to wait when the log cannot be read.
	retryLog = time.Second
)

// Events are what cmd/hub supplies for the event streams.
type Events struct {
	// Tail reads the log for one organisation at a time, and must run.
	Tail *subscription.Tail
	// Types are all that events can have, sorted.
	Types []string
	// UseTicket reports whether a ticket is used for the first time, in whatever process.
	UseTicket func(ctx context.Context, id uuid.UUID, expires time.Time) (bool, error)
}

// eventMetrics count what is sent, and why streams end.
type eventMetrics struct {
	fed, streamed *telemetry.Counter
	ended         map[string]*telemetry.Counter
}

func newEventMetrics(registry *telemetry.Registry, waiting *seats) *eventMetrics {
	registry.Sample("hub_event_streams_open", "Event streams and long polls of the feed that are open.", func() float64 { return float64(waiting.taken()) })
	registry.Sample("hub_event_streams_limit", "Event streams and long polls that may be open; more are refused.", func() float64 { return maxStreams })
	sent := registry.Counters("hub_events_sent_total", "Events sent to those who follow.", telemetry.Label{Name: "by", Values: []string{"feed", "stream"}})
	ended := registry.Counters("hub_event_streams_ended_total", "Event streams that have ended, by why.", telemetry.Label{Name: "why", Values: endings})
	m := &eventMetrics{fed: sent.With("feed"), streamed: sent.With("stream"), ended: map[string]*telemetry.Counter{}}
	for _, why := range endings {
		m.ended[why] = ended.With(why)
	}
	return m
}

// end counts a stream that has ended. One that was too slow is counted by its exchange,
// which at a front door is all there is.
func (m *eventMetrics) end(why string) {
	if why != endSlow {
		m.ended[why].Inc()
	}
}

// EndStreams ends all event streams and waits of this process, and those to come: it
// stops, and others will serve them.
func (a *API) EndStreams() { a.endStreams() }

// EventFilter is what both the feed and a stream can be restricted to.
type EventFilter struct {
	Types string `query:"types" maxLength:"4000" doc:"Only these types, with commas between; category.* for all of a category." example:"entity.created,entity_type.*"`
	Tag   string `query:"tag" maxLength:"1024" doc:"Only what bears this tag." example:"entity:0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Epoch string `query:"epoch" maxLength:"64" doc:"Hub-Epoch of the answer that the position is from: 409 epoch_changed tells when that is lost." example:"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"`
}

// filter is the filter of the caller's organisation. Problems: invalid_filter.
func (in EventFilter) filter(a *API, org string) (subscription.Filter, error) {
	filter := subscription.Filter{Org: org, Tag: domain.Tag(in.Tag)}
	if in.Tag != "" && filter.Tag.Validate() != nil {
		return filter, invalidFilter("query.tag", "must be kind:name, as entity:0197…")
	}
	if in.Types == "" {
		return filter, nil
	}
	names := strings.Split(in.Types, ",")
	if len(names) > maxTypes {
		return filter, invalidFilter("query.types", "names more than "+strconv.Itoa(maxTypes)+" types")
	}
	for i, name := range names {
		found := a.typesNamed(strings.TrimSpace(name))
		if len(found) == 0 {
			return filter, invalidFilter("query.types/"+strconv.Itoa(i), "is not a type of event, nor a category of them with .* behind")
		}
		filter.Types = append(filter.Types, found...)
	}
	slices.Sort(filter.Types)
	filter.Types = slices.Compact(filter.Types)
	return filter, nil
}

func invalidFilter(location, message string) error {
	return problem.New(problem.Invalid, "invalid_filter", "A filter cannot be used; errors says which.").With(problem.Field{Location: location, Message: message})
}

// typesNamed are the types that a name stands for.
func (a *API) typesNamed(name string) (found []string) {
	category, all := strings.CutSuffix(name, ".*")
	for _, known := range a.events.Types {
		of, _, _ := strings.Cut(known, ".")
		if known == name || all && of == category {
			found = append(found, known)
		}
	}
	return found
}

// wakes reports whether an event is for those who wait, which an access of their own is
// only if they have asked for it by type.
func wakes(e *domain.Event, caller string, filter subscription.Filter) bool {
	return e.Type != accessRecorded || e.Actor.Sub != caller || slices.Contains(filter.Types, accessRecorded)
}

type feedInput struct {
	After int64 `query:"after" minimum:"0" maximum:"9223372036854775807" default:"0" doc:"Hub-Position of the page before: events after this position." example:"4711"`
	Limit int   `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many events at most. Pages of large events have fewer."`
	Wait  int   `query:"wait" minimum:"0" maximum:"30" default:"0" doc:"Seconds to wait for an event when there is none." example:"20"`
	EventFilter
}

type feedOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Position    int64  `header:"Hub-Position" doc:"Position to go on after: up to it, everything that passes the filter has been sent." example:"4711"`
	Epoch       string `header:"Hub-Epoch" doc:"The history of the log that this position is of; send it as epoch with the next request." example:"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"`
	Link        string `header:"Link" doc:"The next page (RFC 8288)." example:"</api/v1/events?after=4711&epoch=0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11>; rel=\"next\""`
	Body        func(huma.Context)
}

// listEvents is the feed: a page at once if there is something, or else after a wait.
func (a *API) listEvents(ctx context.Context, in *feedInput) (*feedOutput, error) {
	e := exchangeOf(ctx)
	filter, err := in.filter(a, e.caller.Org)
	if err != nil {
		return nil, err
	}
	at, err := placeOf(in.After, in.Epoch)
	if err != nil {
		return nil, err
	}
	batch, err := a.nextPage(ctx, filter, at, in)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := writeBatch(&body, batch.Events); err != nil {
		a.freePage()
		return nil, err
	}
	a.eventMetrics.fed.Add(float64(len(batch.Events)))
	return &feedOutput{
		ContentType: batchMedia, Position: batch.At.Position, Epoch: batch.At.Epoch.String(), Link: nextLink(e, batch.At),
		Body: func(huma.Context) {
			defer a.freePage()
			_, _ = e.Write(body.Bytes()) // who has gone cannot be told
		},
	}, nil
}

// takePage makes room for a page, until freePage. Problem: too_many_reads.
func (a *API) takePage() error {
	select {
	case a.feedPages <- struct{}{}:
		return nil
	default:
		return problem.New(problem.Unavailable, "too_many_reads", "Too many reads are under way. Send this one again in a moment.").Retry(time.Second)
	}
}

func (a *API) freePage() { <-a.feedPages }

// nextLink is the request for what follows.
func nextLink(e *exchange, at subscription.Place) string {
	query := url.Values{}
	maps.Copy(query, e.query)
	query.Set("after", strconv.FormatInt(at.Position, 10))
	query.Set("epoch", at.Epoch.String())
	return "<" + eventsPath + "?" + query.Encode() + `>; rel="next"`
}

// nextPage reads a page, and waits if it must for something to be in it. Without an error
// a page is taken.
func (a *API) nextPage(ctx context.Context, filter subscription.Filter, at subscription.Place, in *feedInput) (subscription.Batch, error) {
	within := subscription.Bounds{Events: in.Limit, Bytes: pageBytes}
	if in.Wait == 0 {
		return a.page(ctx, at, func(ctx context.Context) (subscription.Batch, error) {
			return a.events.Tail.Read(ctx, filter, at, within)
		}, always)
	}
	e := exchangeOf(ctx)
	leave, err := a.seats.take(e.caller.Org + "/" + e.caller.Sub)
	if err != nil {
		return subscription.Batch{}, err
	}
	defer leave()
	e.mayWait()
	f := a.events.Tail.Follow(filter)
	defer f.Close()
	timeUp := time.NewTimer(time.Duration(in.Wait) * time.Second)
	defer timeUp.Stop()
	enough := func(batch subscription.Batch) bool {
		return batch.More || slices.ContainsFunc(batch.Events, func(event domain.Event) bool { return wakes(&event, e.caller.Sub, filter) })
	}
	for {
		batch, err := a.page(ctx, at, func(ctx context.Context) (subscription.Batch, error) { return f.Read(ctx, at, within) }, enough)
		if !errors.Is(err, errNotEnough) {
			return batch, err
		}
		select {
		case <-f.News():
		case <-timeUp.C:
			enough = always
		case <-a.stopping:
			enough = always
		case <-ctx.Done():
			return batch, ctx.Err()
		}
	}
}

// errNotEnough means that there is a page but nothing to answer yet.
var errNotEnough = errors.New("nothing has happened yet")

func always(subscription.Batch) bool { return true }

// page reads a page, and keeps it if there is enough in it. Problems: too_many_reads and
// those of readPage.
func (a *API) page(ctx context.Context, at subscription.Place, read func(context.Context) (subscription.Batch, error), enough func(subscription.Batch) bool) (subscription.Batch, error) {
	if err := a.takePage(); err != nil {
		return subscription.Batch{}, err
	}
	batch, err := readPage(ctx, at, read)
	if err == nil && !enough(batch) {
		err = errNotEnough
	}
	if err != nil {
		a.freePage()
	}
	return batch, err
}

// readPage reads within a limit on its time. Problems: epoch_changed, log_unavailable.
func readPage(ctx context.Context, at subscription.Place, read func(context.Context) (subscription.Batch, error)) (subscription.Batch, error) {
	limited, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	batch, err := read(limited)
	var forked *subscription.ForkedError
	switch {
	case errors.Is(err, subscription.ErrLogBehind):
		// Nothing is there yet. Should what was there be lost, an epoch will begin.
		return subscription.Batch{At: at}, nil
	case errors.As(err, &forked):
		return batch, epochChanged(forked)
	case errors.Is(err, subscription.ErrLogAway) && ctx.Err() == nil:
		return batch, errors.Join(logUnavailable(), err)
	}
	return batch, err
}

func logUnavailable() *problem.Problem {
	return problem.New(problem.Unavailable, "log_unavailable", "The event log does not answer. Try again in a moment.").Retry(retryLog)
}

// epochChanged tells where the histories part, for who can go back to it.
func epochChanged(forked *subscription.ForkedError) *problem.Problem {
	p := problem.New(problem.Conflict, "epoch_changed",
		"The log was restored to an earlier state since you saw that position. What you hold of events after position %d did not happen; go on from there under the epoch given here.", forked.From.Position)
	p.Extra = map[string]any{"position": forked.From.Position, "epoch": forked.From.Epoch}
	return p
}

// placeOf is a position as of an epoch. Problem: invalid_request.
func placeOf(position int64, epoch string) (subscription.Place, error) {
	at := subscription.Place{Position: position}
	if epoch == "" {
		return at, nil
	}
	var err error
	if at.Epoch, err = uuid.Parse(epoch); err != nil || at.Epoch == uuid.Nil {
		return at, problem.New(problem.Invalid, "invalid_request", "The request does not fit its description. See errors for what to change.").
			With(problem.Field{Location: "query.epoch", Message: "must be the Hub-Epoch of an answer"})
	}
	return at, nil
}
