package relay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	// batchSize is how many events one read of the log asks for: enough to make its
	// round trip cheap, few enough to publish while the next ones are appended.
	batchSize = 512
	// maxInFlight and maxInFlightBytes bound what is sent and not acknowledged. The
	// first is about ten milliseconds of work for the server, the second keeps a run
	// of large events from filling its buffers.
	maxInFlight      = 512
	maxInFlightBytes = 8 << 20
)

// errOvertaken means that the stream does not end where we thought: another relay
// was faster, or the stream was replaced.
var errOvertaken = errors.New("the stream has another last sequence than expected")

// A message is stored only if the one before it was, so an acknowledgement speaks for
// all before it. It is asked for the first message of a session, so that what the
// server has against it is told of it and of no other, for the last of what is there,
// and in between as often as the window needs.
const (
	maxUnasked      = maxInFlight / 4
	maxUnaskedBytes = maxInFlightBytes / 4
)

// window is what was sent and not acknowledged yet, oldest first. Its slice starts
// over when it is empty, which it is at the latest at the end of a session.
type window struct {
	acks  []pending
	first int
	// unasked was sent since the last message whose acknowledgement was asked for.
	unasked load
	// spans are of what unasked is.
	spans []telemetry.Span
	// total is all of it.
	total load
	// begun says that the session has sent something.
	begun bool
}

// load is a number of messages and what they weigh.
type load struct{ messages, bytes int }

// pending is an acknowledgement that was asked for and the messages it speaks for,
// the last of them at position.
type pending struct {
	jetstream.PubAckFuture
	load
	spans    []telemetry.Span
	position int64
	recorded time.Time
}

func (w *window) len() int { return len(w.acks) - w.first }

// fits reports whether one more message may be sent.
func (w *window) fits(size int) bool {
	return w.total.messages < maxInFlight && w.total.bytes+size <= maxInFlightBytes
}

// add counts a message and reports whether its acknowledgement is due.
func (w *window) add(size int, last bool) (ask bool) {
	for _, l := range []*load{&w.unasked, &w.total} {
		l.messages++
		l.bytes += size
	}
	ask = last || !w.begun || w.unasked.messages >= maxUnasked || w.unasked.bytes >= maxUnaskedBytes
	w.begun = true
	return ask
}

func (w *window) push(future jetstream.PubAckFuture, position int64, recorded time.Time) {
	if w.first == len(w.acks) {
		w.acks, w.first = w.acks[:0], 0
	}
	w.acks = append(w.acks, pending{future, w.unasked, w.spans, position, recorded})
	w.unasked, w.spans = load{}, nil
}

// abandon ends the spans of what nobody waits for any more.
func (w *window) abandon() {
	for _, p := range append(w.acks[w.first:], pending{spans: w.spans}) {
		for _, span := range p.spans {
			span.Fail("not_acknowledged")
			span.End()
		}
	}
}

func (w *window) pop() pending {
	p := w.acks[w.first]
	w.acks[w.first] = pending{}
	w.first++
	w.total.messages -= p.messages
	w.total.bytes -= p.bytes
	return p
}

// publish sends the log after an event, in order, and goes on with what is appended,
// until the session's time is over or the context ends (nil). The log is read on while
// what was read is sent and the server works on it.
func (r *Relay) publish(ctx context.Context, after mark) error {
	poll := time.NewTicker(r.pollInterval)
	defer poll.Stop()
	over := time.Now().Add(r.sessionTime)
	session := time.NewTimer(r.sessionTime)
	defer session.Stop()
	// What is read ahead is of no use to anybody after an error.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var sent window
	defer sent.abandon()
	read := r.begin(ctx, after)
	for {
		got := <-read
		if got.err != nil {
			return got.err
		}
		from, full := after.position, len(got.entries) == batchSize
		if n := len(got.entries); n > 0 {
			after = mark{got.entries[n-1].Position, got.entries[n-1].ID}
		}
		if full {
			read = r.begin(ctx, after)
		}
		if err := r.send(ctx, &sent, from, got.entries); err != nil {
			return err
		}
		if more := full || r.woken(); !more || !time.Now().Before(over) {
			for sent.len() > 0 {
				if err := r.await(ctx, &sent); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-session.C:
				return nil
			case <-r.wake.C():
			case <-poll.C:
			}
		}
		if !full {
			read = r.begin(ctx, after)
		}
	}
}

// batch is what one read of the log came to.
type batch struct {
	entries []eventstore.LogEntry
	err     error
}

// begin reads beside what else is done; nobody has to wait for it.
func (r *Relay) begin(ctx context.Context, after mark) <-chan batch {
	done := make(chan batch, 1)
	go func() {
		entries, err := r.read(ctx, after)
		done <- batch{entries, err}
	}()
	return done
}

// read returns what follows an event. The event itself is read with it each time: a
// log that was put back to an earlier state, and has grown again since, must not be
// taken for the continuation of what was published.
func (r *Relay) read(ctx context.Context, after mark) ([]eventstore.LogEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var (
		entries []eventstore.LogEntry
		err     error
	)
	if after.position == 0 {
		entries, err = r.store.ReadLog(ctx, 0, batchSize)
	} else if entries, err = r.store.ReadLog(ctx, after.position-1, batchSize+1); err == nil {
		if len(entries) == 0 || entries[0].ID != after.event {
			return nil, errSettled
		}
		entries = entries[1:]
	}
	if err != nil {
		return nil, &failure{"the log cannot be read", err}
	}
	if n := len(entries); n > 0 && entries[n-1].Position > r.Status().Head {
		r.sawHead(entries[n-1].Position)
	}
	return entries, nil
}

func (r *Relay) woken() bool {
	select {
	case <-r.wake.C():
		return true
	default:
		return false
	}
}

// send publishes entries that follow after, waiting for the oldest acknowledgement
// whenever the window is full.
func (r *Relay) send(ctx context.Context, sent *window, after int64, entries []eventstore.LogEntry) error {
	for i := range entries {
		position := entries[i].Position
		if position != after+1 {
			return &failure{fmt.Sprintf("the log has no position %d and goes on at %d", after+1, position), nil}
		}
		message := Encode(entries[i])
		message.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatInt(after, 10)}
		r.trace(ctx, sent, message, entries[i].Event)
		size := message.Size()
		for sent.len() > 0 && !sent.fits(size) {
			if err := r.await(ctx, sent); err != nil {
				return err
			}
		}
		if err := r.sendOne(sent, message, &entries[i], sent.add(size, i == len(entries)-1)); err != nil {
			return publishFailure(position, err)
		}
		after = position
	}
	return nil
}

// trace begins the span of an event that is published, and tells it to whoever consumes
// the message.
func (r *Relay) trace(ctx context.Context, sent *window, message *nats.Msg, e domain.Event) {
	within, span := r.options.Tracer.Follow(ctx, eventstore.CauseOf(e), telemetry.Producer, "publish "+StreamName)
	if !span.Recorded() {
		return
	}
	span.Number("hub.position", e.Position)
	span.Text("hub.event.type", e.Type)
	message.Header[headerTraceparent] = []string{telemetry.Traceparent(within)}
	sent.spans = append(sent.spans, span)
}

func (r *Relay) sendOne(sent *window, message *nats.Msg, entry *eventstore.LogEntry, ask bool) error {
	if !ask {
		return r.conn.PublishMsg(message)
	}
	// An attempt of the client's own would come too late for the chain.
	future, err := r.js.PublishMsgAsync(message, jetstream.WithRetryAttempts(0))
	if err == nil {
		sent.push(future, entry.Position, entry.RecordedAt)
	}
	return err
}

// await takes the oldest acknowledgement, which comes within requestTimeout.
func (r *Relay) await(ctx context.Context, sent *window) error {
	oldest := sent.pop()
	select {
	case ack := <-oldest.Ok():
		for _, span := range oldest.spans {
			span.End()
		}
		if ack.Stream != StreamName || ack.Sequence != uint64(oldest.position) { //nolint:gosec // positions are positive
			return &failure{fmt.Sprintf("position %d was stored as sequence %d of stream %s", oldest.position, ack.Sequence, ack.Stream), nil}
		}
		r.sawPublished(oldest)
		return nil
	case err := <-oldest.Err():
		sent.spans = append(sent.spans, oldest.spans...)
		return publishFailure(oldest.position, err)
	case <-ctx.Done():
		sent.spans = append(sent.spans, oldest.spans...)
		return ctx.Err()
	}
}

// publishFailure tells what only needs another look from what operators should know.
func publishFailure(position int64, err error) error {
	var refused *jetstream.APIError
	if errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return errOvertaken
	}
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		// The stream is gone, and reconcile makes it again.
		return errOvertaken
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, jetstream.ErrAsyncPublishTimeout):
		return &failure{"NATS cannot be reached", err}
	}
	return &failure{fmt.Sprintf("NATS refuses position %d", position), err}
}
