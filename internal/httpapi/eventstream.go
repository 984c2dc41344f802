package httpapi

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

const (
	// heartbeat is below what proxies usually close silent connections after: 30 to 60 s.
	heartbeat = 15 * time.Second
	// keptBytes is what a stream that is silent keeps for its next events; there are
	// thousands of streams, and most are silent.
	keptBytes = 8 << 10
	// reconnectAfter and reconnectSpread are when clients whose stream has ended come back:
	// not all in the same moment.
	reconnectAfter  = 1 * time.Second
	reconnectSpread = 3 * time.Second
)

// Why a stream ends; the first four are told to the client.
const (
	endExpired  = "token_expired"
	endEpoch    = "epoch_changed"
	endStopping = "shutting_down"
	endFault    = "internal"
	endSlow     = "slow"
	endGone     = "gone"
)

var endings = []string{endExpired, endEpoch, endStopping, endFault, endSlow, endGone}

// StreamEnd is the data of the last event of a stream, whose name is end.
type StreamEnd struct {
	Code     string `json:"code" enum:"token_expired,epoch_changed,shutting_down,internal" doc:"Why the stream ends."`
	Detail   string `json:"detail" doc:"What to do."`
	Position any    `json:"position,omitempty" doc:"With epoch_changed: where the histories part."`
	Epoch    any    `json:"epoch,omitempty" doc:"With epoch_changed: the epoch to go on under."`
}

// write makes it an event.
func (end *StreamEnd) write(to *bytes.Buffer) {
	to.WriteString("event: end\ndata: " + textOf(end) + "\n\n")
}

type streamInput struct {
	After       int64  `query:"after" minimum:"0" maximum:"9223372036854775807" doc:"Begin with the events after this position; left out, with those to come. Last-Event-ID is stronger." example:"4711"`
	Ticket      string `query:"ticket" doc:"A ticket in place of the Authorization header, which EventSource cannot send."`
	LastEventID string `header:"Last-Event-ID" doc:"id of the last event that was seen; browsers send it when they connect again." example:"4711"`
	EventFilter
}

type streamOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Buffering   string `header:"X-Accel-Buffering" hidden:"true"`
	Position    int64  `header:"Hub-Position" doc:"Position after which the stream begins." example:"4711"`
	Epoch       string `header:"Hub-Epoch" doc:"The history of the log that positions are of." example:"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"`
	Body        func(huma.Context)
}

// streamEvents is the feed as server-sent events, without an end. What is wrong is found
// before the first byte and answered as a problem.
func (a *API) streamEvents(ctx context.Context, in *streamInput) (*streamOutput, error) {
	e := exchangeOf(ctx)
	filter, err := in.filter(a, e.caller.Org)
	if err != nil {
		return nil, err
	}
	at, err := a.streamStart(ctx, in)
	if err != nil {
		return nil, err
	}
	leave, err := a.seats.take(e.caller.Org + "/" + e.caller.Sub)
	if err != nil {
		return nil, err
	}
	s := &eventStream{api: a, e: e, filter: filter, follower: a.events.Tail.Follow(filter), leave: leave, at: at}
	first, err := s.read(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	return &streamOutput{
		ContentType: streamMedia, Buffering: "no", Position: at.Position, Epoch: first.At.Epoch.String(),
		Body: func(huma.Context) {
			defer s.close()
			if e.request.Method != http.MethodHead {
				a.eventMetrics.end(s.run(ctx, first))
			}
		},
	}, nil
}

// streamStart is the place after which a stream begins. Problems: invalid_last_event_id,
// invalid_request, log_unavailable.
func (a *API) streamStart(ctx context.Context, in *streamInput) (subscription.Place, error) {
	e := exchangeOf(ctx)
	if in.LastEventID != "" {
		position, err := strconv.ParseInt(in.LastEventID, 10, 64)
		if err != nil || position < 0 {
			return subscription.Place{}, problem.New(problem.Malformed, "invalid_last_event_id", "The Last-Event-ID header cannot be read.").
				With(problem.Field{Location: "header.Last-Event-ID", Message: "must be the id of an event: an integer of at least 0"})
		}
		return placeOf(position, in.Epoch)
	}
	if e.query.Has("after") {
		return placeOf(in.After, in.Epoch)
	}
	limited, cancel := context.WithTimeout(ctx, maxQuery)
	defer cancel()
	at, err := a.events.Tail.Head(limited)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(logUnavailable(), err)
	}
	return at, err
}

// eventStream is one stream while it is open.
type eventStream struct {
	api      *API
	e        *exchange
	filter   subscription.Filter
	follower *subscription.Follower
	leave    func()
	control  *http.ResponseController
	// at is the place up to which everything has been written, and told the last position
	// that the client knows of.
	at   subscription.Place
	told int64
	text bytes.Buffer

	beats   *time.Ticker
	expired *time.Timer
	// retry is due when the log is to be asked again after it did not answer.
	retry <-chan time.Time
}

func (s *eventStream) close() {
	s.follower.Close()
	s.leave()
}

func (s *eventStream) read(ctx context.Context) (subscription.Batch, error) {
	return readPage(ctx, s.at, func(ctx context.Context) (subscription.Batch, error) {
		return s.follower.Read(ctx, s.at, subscription.Bounds{Events: streamEvents, Bytes: streamBytes})
	})
}

// run writes until the stream ends, and returns why.
func (s *eventStream) run(ctx context.Context, batch subscription.Batch) string {
	s.control = http.NewResponseController(s.e)
	s.e.mayWait()
	s.expired, s.beats = time.NewTimer(time.Until(s.e.caller.Expires)), time.NewTicker(heartbeat)
	defer s.expired.Stop()
	defer s.beats.Stop()
	retry := reconnectAfter + rand.N(reconnectSpread) //nolint:gosec // spreads load, guards nothing
	s.text.WriteString("retry: " + strconv.FormatInt(retry.Milliseconds(), 10) + "\n\n")
	s.told = s.at.Position
	for {
		if err := s.add(batch); err != nil {
			return s.end(s.fault(err))
		}
		if why := s.flush(); why != "" {
			return why
		}
		ended := s.pause(ctx, batch.More)
		if ended == nil {
			batch, ended = s.next(ctx)
		}
		if ended != nil {
			return s.end(ended)
		}
	}
}

// ready is what has always happened.
var ready = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// pause returns when there may be something to read, or why the stream ends. Of several
// reasons select takes any, so that nothing keeps a stream open for long.
func (s *eventStream) pause(ctx context.Context, more bool) *StreamEnd {
	news := s.follower.News()
	if more {
		news = ready
	}
	select {
	case <-news:
	case <-s.retry:
		s.retry = nil
	case <-s.beats.C:
		s.beat()
	case <-s.expired.C:
		return &StreamEnd{Code: endExpired, Detail: "The access token has expired. Connect again with a new one."}
	case <-s.api.stopping:
		return stopping()
	case <-ctx.Done():
		return &StreamEnd{Code: endGone}
	}
	return nil
}

func stopping() *StreamEnd {
	return &StreamEnd{Code: endStopping, Detail: "This process stops. Connect again; another one serves you."}
}

// next is what comes now. While the log cannot be read there is nothing; the stream stays,
// and goes on from where it is.
func (s *eventStream) next(ctx context.Context) (subscription.Batch, *StreamEnd) {
	batch, err := s.read(ctx)
	known := problem.Of(err)
	switch {
	case err == nil:
		return batch, nil
	case ctx.Err() != nil:
		return batch, &StreamEnd{Code: endGone}
	case known != nil && known.Code == endEpoch:
		return batch, &StreamEnd{Code: endEpoch, Detail: known.Detail, Position: known.Extra["position"], Epoch: known.Extra["epoch"]}
	case known != nil || errors.Is(err, context.DeadlineExceeded):
		s.retry = time.After(retryLog)
		return subscription.Batch{At: s.at}, nil
	}
	return batch, s.fault(err)
}

// fault keeps the error for the log.
func (s *eventStream) fault(err error) *StreamEnd {
	s.e.log.ErrorContext(s.e.request.Context(), "event stream failed", "request_id", s.e.requestID, "error", err)
	return &StreamEnd{Code: endFault, Detail: "Something went wrong on our side. Connect again."}
}

// add puts the events of a batch into what is written next. It leaves out accesses of the
// caller's own, which would wake the one who makes them.
func (s *eventStream) add(batch subscription.Batch) error {
	sent := 0
	for i := range batch.Events {
		event := &batch.Events[i]
		if !wakes(event, s.e.caller.Sub, s.filter) {
			continue
		}
		s.text.WriteString("id: " + strconv.FormatInt(event.Position, 10) + "\ndata: ")
		if err := writeJSON(&s.text, cloudEventOf(event)); err != nil {
			return err
		}
		s.text.WriteString("\n\n")
		s.told = event.Position
		sent++
	}
	s.at = batch.At
	s.api.eventMetrics.streamed.Add(float64(sent))
	return nil
}

// beat writes a comment, so that neither end nor anything between takes the connection
// for dead, and up to where there was nothing for the client: an id without data moves
// what a browser sends as Last-Event-ID, and is no event.
func (s *eventStream) beat() {
	s.text.WriteString(": heartbeat\n")
	if s.at.Position > s.told {
		s.told = s.at.Position
		s.text.WriteString("id: " + strconv.FormatInt(s.told, 10) + "\n")
	}
	s.text.WriteString("\n")
}

// flush sends what was written. It returns why the stream ends if that fails.
func (s *eventStream) flush() string {
	if s.text.Len() == 0 {
		return ""
	}
	_, err := s.e.Write(s.text.Bytes())
	if err == nil {
		err = s.control.Flush()
	}
	s.text.Reset()
	if s.text.Cap() > keptBytes {
		s.text = bytes.Buffer{}
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.e.log.InfoContext(s.e.request.Context(), "event stream ended: its client takes nothing", "request_id", s.e.requestID, "position", s.at.Position)
		return endSlow
	}
	return endGone
}

// end tells why the stream ends, if there is somebody to tell.
func (s *eventStream) end(last *StreamEnd) string {
	if last.Code == endGone {
		return endGone
	}
	last.write(&s.text)
	if why := s.flush(); why != "" {
		return why
	}
	return last.Code
}
