package relay

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reconcile compares the stream with the log and returns the position to publish
// after. It changes nothing but a missing or differently configured stream.
func (r *Relay) reconcile(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	// Asked first for the sake of Status: with NATS down it still shows the lag.
	head, _, err := r.store.Head(ctx)
	if err != nil {
		return 0, &failure{"the log cannot be read", err}
	}
	r.sawHead(head)

	if status := r.conn.Status(); status != nats.CONNECTED {
		return 0, &failure{"NATS cannot be reached", fmt.Errorf("the connection is %s", status)}
	}
	if err := checkPayloadLimit(r.conn); err != nil {
		return 0, &failure{err.Error(), nil}
	}
	stream, err := EnsureStream(ctx, r.js, r.options.Stream)
	if err != nil {
		return 0, &failure{"the stream cannot be read or created", err}
	}
	last := int64(stream.CachedInfo().State.LastSeq) //nolint:gosec // positions are bigint
	if last > head {
		// Another relay may have published what was appended since we asked.
		if head, _, err = r.store.Head(ctx); err != nil {
			return 0, &failure{"the log cannot be read", err}
		}
	}
	if last > head {
		return 0, &failure{fmt.Sprintf("the stream is ahead of the log, which lost its end: position %d was published and the log ends at %d", last, head), nil}
	}
	return last, r.compare(ctx, stream, last)
}

// compare makes sure that the last message of the stream is the log's event of that
// position: if they agree there, they agree on all before.
func (r *Relay) compare(ctx context.Context, stream jetstream.Stream, last int64) error {
	if stream.CachedInfo().State.Msgs == 0 {
		// The stream is new, or all in it has reached its age: nothing to compare.
		return nil
	}
	message, err := stream.GetMsg(ctx, uint64(last)) //nolint:gosec // came from one
	if err != nil {
		return &failure{"the last message of the stream cannot be read", err}
	}
	entries, err := r.store.ReadLog(ctx, last-1, 1)
	if err != nil {
		return &failure{"the log cannot be read", err}
	}
	if len(entries) == 0 || entries[0].Position != last || message.Header.Get(headerID) != entries[0].ID.String() {
		return &failure{fmt.Sprintf("the stream and the log hold different events at position %d", last), nil}
	}
	return nil
}
