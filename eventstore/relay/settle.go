package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/eventstore"
)

// errSettled means that something was changed, here or by another relay, and that the
// stream is to be looked at again.
var errSettled = errors.New("the stream is to be compared again")

const (
	// tailPart is how many lost events are read from the stream at a time: 32 MiB of
	// the largest.
	tailPart = 128
	// tailReaders read them at once: each waits for a round trip.
	tailReaders = 16
)

// settle deals with a log that has lost its end. Who of several relays does it, and
// whether it is so still, is decided under the log's lock, by the database.
func (r *Relay) settle(ctx context.Context, f finding) error {
	if f.whole {
		restored, err := r.restore(ctx, f)
		if err != nil || restored {
			return err
		}
	}
	r.options.Log.Warn("relay: the log has lost its end, and goes on in a new epoch",
		"common_position", f.loss.Common, "lost_position", f.loss.Position, "head", f.history.Head)
	forked, err := r.fork(ctx, *f.loss)
	if err != nil {
		return &failure{"the log has lost its end, and a new epoch cannot be started", err}
	}
	if !forked {
		return errSettled
	}
	r.update(func(s *Status) { s.Forks++ })
	// Should this fail, the next comparison knows what the stream ends with.
	f.stale = settledBefore
	return r.recreate(ctx, f)
}

func (r *Relay) fork(ctx context.Context, loss eventstore.Loss) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return r.store.Fork(ctx, loss)
}

// restore appends to the log what it has lost. It reports true, with errSettled, when
// the log has what it had, or has changed meanwhile; and false when what the stream holds
// is not all of the lost end.
func (r *Relay) restore(ctx context.Context, f finding) (bool, error) {
	r.failed(&failure{fmt.Sprintf("the log has lost its end: positions %d to %d are appended again from the stream", f.history.Head+1, f.loss.Position), nil})
	next := f.history.Head + 1
	done, err := r.store.Reappend(ctx, f.history.Epoch(), f.history.Head, func(ctx context.Context) ([]eventstore.LogEntry, error) {
		entries, err := r.readTail(ctx, f.stream, next, min(next+tailPart-1, f.loss.Position))
		next += int64(len(entries))
		return entries, err
	})
	switch {
	case errors.Is(err, eventstore.ErrNotTheTail):
		r.options.Log.Warn("relay: the stream does not have the lost end of the log", "error", err)
		return false, nil
	case err != nil:
		return false, &failure{"the log has lost its end, and it cannot be appended again", err}
	case done:
		r.options.Log.Warn("relay: the lost end of the log was appended again", "from", f.history.Head+1, "through", f.loss.Position)
		r.update(func(s *Status) { s.Restored++ })
	}
	return true, errSettled
}

// readTail reads the events of the stream from first to last.
func (r *Relay) readTail(ctx context.Context, stream jetstream.Stream, first, last int64) ([]eventstore.LogEntry, error) {
	entries := make([]eventstore.LogEntry, max(0, last-first+1))
	faults := make([]error, len(entries))
	var readers sync.WaitGroup
	for reader := range tailReaders {
		readers.Go(func() {
			for i := reader; i < len(entries); i += tailReaders {
				entries[i], faults[i] = r.readLost(ctx, stream, first+int64(i))
			}
		})
	}
	readers.Wait()
	return entries, errors.Join(faults...)
}

// readLost reads one event. That a message is not there is believed only when the
// stream has dropped it: a replica that is behind says the same.
func (r *Relay) readLost(ctx context.Context, stream jetstream.Stream, position int64) (eventstore.LogEntry, error) {
	message, err := r.messageAt(ctx, stream, position)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		now, nowErr := r.js.Stream(ctx, StreamName)
		if nowErr == nil && now.CachedInfo().State.FirstSeq > uint64(position) { //nolint:gosec // positions are positive
			err = fmt.Errorf("%w: the stream has dropped position %d", eventstore.ErrNotTheTail, position)
		}
	}
	if err != nil {
		return eventstore.LogEntry{}, err
	}
	entry, err := Decode(message.Header, message.Data)
	if err != nil {
		return eventstore.LogEntry{}, fmt.Errorf("%w: position %d: %w", eventstore.ErrNotTheTail, position, err)
	}
	return entry, nil
}

// recreate makes a stream again that is of no use. Its consumers are gone with it.
func (r *Relay) recreate(ctx context.Context, f finding) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	seen := f.stream.CachedInfo().Created
	now, err := r.js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) || (err == nil && !now.CachedInfo().Created.Equal(seen)) {
		return errSettled // by another relay
	}
	if err == nil {
		r.options.Log.Warn("relay: the stream is made again", "reason", f.stale)
		err = r.js.DeleteStream(ctx, StreamName)
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return &failure{"the stream cannot be deleted, though " + f.stale, err}
	}
	r.update(func(s *Status) { s.Recreated, s.Published = s.Recreated+1, 0 })
	return errSettled
}
