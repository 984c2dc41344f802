package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/local"
)

const (
	// chainedInFlight is how many messages may be sent and not acknowledged, as for the
	// relay.
	chainedInFlight = 512
	// copyRead is how many events one read of the log brings to the yardstick.
	copyRead = 4096
	// copyTimeout ends a copy that does not get on.
	copyTimeout = 10 * time.Minute
	// copyPoll is how often the relay is asked how far it is: a thousandth of a run.
	copyPoll = time.Millisecond
)

// toStream measures publish, which fills an empty stream with the whole filled log.
func (b *bench) toStream(ctx context.Context, name string, publish func(context.Context, *nats.Conn) error) (s sample, err error) {
	b.runs++
	server, err := local.StartNATS(local.NATSOptions{StoreDir: filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.runs))})
	if err != nil {
		return sample{}, err
	}
	defer server.Stop()
	conn, err := server.Connect(nats.MaxReconnects(-1))
	if err != nil {
		return sample{}, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	return b.timed(ctx, func() error { return publish(ctx, conn) })
}

// chained is the yardstick of the relay: messages of the same events, made beforehand,
// each expecting the one before it, sent asynchronously.
func (b *bench) chained(ctx context.Context) (sample, error) {
	v, err := b.openViews(ctx)
	if err != nil {
		return sample{}, err
	}
	messages, err := v.messages(ctx)
	if err != nil {
		return sample{}, err
	}
	return b.toStream(ctx, "chained", func(ctx context.Context, conn *nats.Conn) error {
		js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(chainedInFlight))
		if err != nil {
			return err
		}
		if _, err := relay.EnsureStream(ctx, js, relay.StreamConfig{}); err != nil {
			return err
		}
		for _, message := range messages {
			if _, err := js.PublishMsgAsync(message); err != nil {
				return err
			}
		}
		select {
		case <-js.PublishAsyncComplete():
		case <-ctx.Done():
			return ctx.Err()
		}
		stream, err := js.Stream(ctx, relay.StreamName)
		if err != nil {
			return err
		}
		if stored := stream.CachedInfo().State.LastSeq; stored != uint64(len(messages)) {
			return fmt.Errorf("%d of %d messages were stored", stored, len(messages))
		}
		return nil
	})
}

func (v *views) messages(ctx context.Context) (messages []*nats.Msg, err error) {
	for {
		entries, err := v.options.Store.ReadLog(ctx, int64(len(messages)), copyRead)
		if err != nil || len(entries) == 0 {
			return messages, err
		}
		for _, entry := range entries {
			message := relay.Encode(entry)
			message.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.Itoa(len(messages))}
			messages = append(messages, message)
		}
	}
}

// relayed has the relay fill the stream, as after JetStream was wiped.
func (b *bench) relayed(ctx context.Context) (sample, error) {
	v, err := b.openViews(ctx)
	if err != nil {
		return sample{}, err
	}
	pool, err := eventstore.OpenPool(ctx, v.address, eventstore.RoleRelay, 2)
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()
	return b.toStream(ctx, "relay", func(ctx context.Context, conn *nats.Conn) error {
		r, err := relay.New(conn, eventstore.New(pool), nil, relay.Options{})
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		err = published(ctx, r, int64(b.events))
		stop()
		return errors.Join(err, <-ended)
	})
}

// published returns when the relay has got as far as the position.
func published(ctx context.Context, r *relay.Relay, position int64) error {
	poll := time.NewTicker(copyPoll)
	defer poll.Stop()
	for r.Status().Published < position {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the relay is at %+v: %w", r.Status(), ctx.Err())
		}
	}
	return nil
}
