package relay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

// mark is an event that the stream is known to end with: uuid.Nil at position 0, and
// where the log has none there.
type mark struct {
	position int64
	event    uuid.UUID
}

// finding is what a comparison of the stream with the log has come to.
type finding struct {
	stream  jetstream.Stream
	history eventstore.History
	// published is where to go on, if neither of the following is so.
	published mark
	// loss says that the log has lost what the stream holds.
	loss *eventstore.Loss
	// whole says that the stream goes on where the log ends, so that the loss may be
	// all there.
	whole bool
	// stale says why the stream is of no use, though the log has lost nothing that has
	// not been settled; empty otherwise.
	stale string
}

const settledBefore = "it holds what was lost before the present epoch"

// reconcile compares the stream with the log, settles what is not as it should be, and
// returns the event to publish after. errSettled means to look again.
func (r *Relay) reconcile(ctx context.Context) (mark, error) {
	f, err := r.compare(ctx)
	if err != nil {
		return mark{}, err
	}
	switch {
	case f.loss != nil:
		return mark{}, r.settle(ctx, f)
	case f.stale != "":
		return mark{}, r.recreate(ctx, f)
	}
	return f.published, nil
}

// compare changes nothing but a missing or differently configured stream.
func (r *Relay) compare(ctx context.Context) (finding, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	// Asked first for the sake of Status: with NATS down it still shows the lag.
	history, err := r.store.History(ctx)
	if err != nil {
		return finding{}, &failure{"the log cannot be read", err}
	}
	r.update(func(s *Status) { s.Head, s.Epoch = history.Head, history.Epoch().String() })

	if status := r.conn.Status(); status != nats.CONNECTED {
		return finding{}, &failure{"NATS cannot be reached", fmt.Errorf("the connection is %s", status)}
	}
	if err := checkPayloadLimit(r.conn); err != nil {
		return finding{}, &failure{err.Error(), nil}
	}
	stream, err := r.ensureStream(ctx, history)
	if err != nil {
		return finding{}, err
	}
	if lastOf(stream) > history.Head {
		// Another relay may have published what was appended since we asked.
		if history, err = r.store.History(ctx); err != nil {
			return finding{}, &failure{"the log cannot be read", err}
		}
	}
	return r.judge(ctx, stream, history)
}

func (r *Relay) ensureStream(ctx context.Context, history eventstore.History) (jetstream.Stream, error) {
	config := r.options.Stream
	config.Log = history.Log()
	_, err := r.js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if config.FirstSeq, err = r.firstKept(ctx, history.Head); err != nil {
			return nil, err
		}
		r.options.Log.Info("relay: making the stream", "first_position", config.FirstSeq)
	}
	stream, err := EnsureStream(ctx, r.js, config)
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return nil, errSettled // another relay made it in this moment
	case errors.Is(err, errForeign):
		return nil, &failure{errForeign.Error(), nil}
	case err != nil:
		return nil, &failure{"the stream cannot be read or created", err}
	}
	return stream, nil
}

// leastMessageBytes is below what any message takes in the stream: its headers alone
// are more.
const leastMessageBytes = 1 << 10

// firstKept is the position that a new stream starts at: the first that the stream's
// limits would have kept. What is older would be published only to be dropped; who
// needs it reads the log, as ever.
func (r *Relay) firstKept(ctx context.Context, head int64) (uint64, error) {
	first := int64(1)
	if age := r.options.Stream.MaxAge; age > 0 {
		var err error
		if first, err = r.store.PositionSince(ctx, time.Now().Add(-age)); err != nil {
			return 0, &failure{"the log cannot be read", err}
		}
	}
	if limit := r.options.Stream.MaxBytes; limit > 0 {
		first = max(first, head-limit/leastMessageBytes)
	}
	return uint64(max(1, min(first, head+1))), nil
}

// judge compares events where the stream ends, or the log if that ends before: if they
// agree there, they agree on all before.
func (r *Relay) judge(ctx context.Context, stream jetstream.Stream, history eventstore.History) (finding, error) {
	f := finding{stream: stream, history: history}
	last, state := lastOf(stream), stream.CachedInfo().State
	if state.Msgs == 0 {
		// The stream is new, or all in it has reached its age.
		switch lost := (eventstore.Published{Position: last}); {
		case history.Settled(lost):
			f.stale = settledBefore
			return f, nil
		case last > history.Head:
			f.loss = &eventstore.Loss{Epoch: history.Epoch(), Published: lost}
			return f, nil
		}
		var err error
		f.published, err = r.markAt(ctx, last)
		return f, err
	}
	message, err := r.messageAt(ctx, stream, last)
	if err != nil {
		return f, &failure{"the last message of the stream cannot be read", err}
	}
	event, err := DecodeEvent(message.Header, message.Data)
	switch {
	case err != nil || event.Position != last:
		f.stale = "its last message is none of ours"
		return f, nil //nolint:nilerr // that is the finding
	case history.Settled(eventstore.Published{Position: last, Event: event.ID}),
		history.Knows(event.Epoch) && !history.Has(event.Epoch, last):
		f.stale = settledBefore
		return f, nil
	}
	return f, r.judgeEvent(ctx, &f, event)
}

// judgeEvent judges by the stream's last event.
func (r *Relay) judgeEvent(ctx context.Context, f *finding, event domain.Event) error {
	head := f.history.Head
	if event.Position <= head {
		at, err := r.markAt(ctx, event.Position)
		if err != nil {
			return err
		}
		if at.event == event.ID {
			f.published = at
			return nil
		}
	}
	f.loss = &eventstore.Loss{Epoch: f.history.Epoch(), Published: eventstore.Published{Position: event.Position, Event: event.ID}}
	first := int64(f.stream.CachedInfo().State.FirstSeq) //nolint:gosec // positions are bigint
	if event.Position > head && first <= max(1, head) {
		same := head == 0
		if !same {
			var err error
			if same, err = r.sameAt(ctx, f.stream, head); err != nil {
				return err
			}
		}
		if same {
			f.loss.Common, f.whole = head, event.Epoch == f.history.Epoch()
			return nil
		}
	}
	var err error
	f.loss.Common, err = r.parting(ctx, f.stream, first, min(event.Position, head))
	return err
}

// parting is the last position at which the stream and the log hold the same event, of
// those from first to last; 0 when there is none. They agree up to it and differ after.
func (r *Relay) parting(ctx context.Context, stream jetstream.Stream, first, last int64) (int64, error) {
	agree := first - 1
	for agree < last {
		middle := agree + (last-agree+1)/2
		same, err := r.sameAt(ctx, stream, middle)
		switch {
		case err != nil:
			return 0, err
		case same:
			agree = middle
		default:
			last = middle - 1
		}
	}
	if agree < first {
		return 0, nil
	}
	return agree, nil
}

// sameAt reports whether the log holds the event that the stream does. What the stream
// has dropped meanwhile is not known to be the same.
func (r *Relay) sameAt(ctx context.Context, stream jetstream.Stream, position int64) (bool, error) {
	message, err := r.messageAt(ctx, stream, position)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, &failure{"a message of the stream cannot be read", err}
	}
	at, err := r.markAt(ctx, position)
	return err == nil && at.event != uuid.Nil && message.Header.Get(headerID) == at.event.String(), err
}

func (r *Relay) messageAt(ctx context.Context, stream jetstream.Stream, position int64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return stream.GetMsg(ctx, uint64(position)) //nolint:gosec // came from a sequence
}

// markAt is the log's event at a position.
func (r *Relay) markAt(ctx context.Context, position int64) (mark, error) {
	if position == 0 {
		return mark{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	entries, err := r.store.ReadLog(ctx, position-1, 1)
	if err != nil {
		return mark{}, &failure{"the log cannot be read", err}
	}
	if len(entries) == 0 || entries[0].Position != position {
		return mark{}, &failure{"the log has no position " + strconv.FormatInt(position, 10) + ", though it goes further", nil}
	}
	return mark{position, entries[0].ID}, nil
}

func lastOf(stream jetstream.Stream) int64 {
	return int64(stream.CachedInfo().State.LastSeq) //nolint:gosec // positions are bigint
}
