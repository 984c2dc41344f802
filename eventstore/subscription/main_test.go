package subscription

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// patience ends a test that has failed; nothing that works takes this long.
const patience = time.Minute

// logOfTest is a log and what reads it.
type logOfTest struct {
	command, relay, query *eventstore.Store
	admin                 *pgxpool.Pool
	options               Options
}

func newLog(t *testing.T) *logOfTest {
	t.Helper()
	url := hubtest.Database(t, hubtest.Log())
	store := func(role eventstore.Role) *eventstore.Store {
		return eventstore.New(hubtest.Pool(t, url, string(role)))
	}
	return &logOfTest{
		command: store(eventstore.RoleCommand), relay: store(eventstore.RoleRelay), query: store(eventstore.RoleQuery),
		admin:   hubtest.Pool(t, url, ""),
		options: Options{Store: store(eventstore.RoleProjector), Log: slog.New(slog.NewTextHandler(t.Output(), nil))},
	}
}

// happened is what a test lets happen, once on a stream of its own.
type happened struct {
	org, kind string
	tag       domain.Tag
	data      string
}

// append writes events, one command each, and returns the last position.
func (l *logOfTest) append(t require.TestingT, all ...happened) int64 {
	var turn eventstore.Turn
	for _, h := range all {
		stream := domain.Tag("thing:" + uuid.NewString())
		tags := []domain.Tag{stream}
		if h.tag != "" {
			tags = append(tags, h.tag)
		}
		if h.data == "" {
			h.data = `{}`
		}
		turn.Outcomes = append(turn.Outcomes, eventstore.Outcome{
			Meta: domain.Meta{
				Org: h.org, Actor: domain.Actor{Sub: "ana", Person: "ana"}, Now: time.Now().UTC(), CommandID: uuid.Must(uuid.NewV7()),
			},
			ResourceID: stream.Name(), Version: 1,
			Events: []eventstore.NewEvent{{
				ID: uuid.Must(uuid.NewV7()), Stream: stream, Version: 1, Type: h.kind, SchemaVersion: 1, Tags: tags, Data: []byte(h.data),
			}},
		})
	}
	appended, err := l.command.Append(context.Background(), turn)
	require.NoError(t, err)
	require.False(t, appended.Refused())
	return appended.Base + int64(len(all))
}

// appendSome writes n events of acme.
func (l *logOfTest) appendSome(t require.TestingT, n int) int64 {
	all := make([]happened, n)
	for i := range all {
		all[i] = happened{org: "acme", kind: "thing.happened"}
	}
	return l.append(t, all...)
}

// stream makes a stream at a first sequence, as a relay would, and publishes what
// the log has from there on.
func (l *logOfTest) stream(t *testing.T, js jetstream.JetStream, first int64) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: relay.StreamName, Subjects: []string{"hub.events.>"}, FirstSeq: uint64(first),
	})
	require.NoError(t, err)
	l.publish(t, js, first-1)
	return stream
}

// publish sends what the log has after a position and returns where it ends.
func (l *logOfTest) publish(t require.TestingT, js jetstream.JetStream, after int64) int64 {
	entries, err := l.relay.ReadLog(context.Background(), after, eventstore.MaxReadLimit)
	require.NoError(t, err)
	for _, entry := range entries {
		ack, err := js.PublishMsg(context.Background(), relay.Encode(entry))
		require.NoError(t, err)
		require.EqualValues(t, entry.Position, ack.Sequence)
		after = entry.Position
	}
	return after
}

// write appends events after a position and publishes them, a little behind.
func (l *logOfTest) write(t require.TestingT, js jetstream.JetStream, after, last int64) {
	for published := after; after < last; {
		after = l.appendSome(t, 10)
		if after%30 == 0 || after == last {
			published = l.publish(t, js, published)
		}
	}
}

// reader asserts that a subscription brings each position once and in order.
type reader struct {
	t    *testing.T
	from *Subscription
	at   Place
	got  []domain.Event
}

func (l *logOfTest) subscribe(t *testing.T, options Options, after Place) *reader {
	t.Helper()
	s := New(options)
	t.Cleanup(s.Close)
	return &reader{t: t, from: s, at: after}
}

// next takes one batch.
func (r *reader) next() Batch {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	batch, err := r.from.Next(ctx, r.at)
	require.NoError(r.t, err)
	require.Greater(r.t, batch.At.Position, r.at.Position)
	last := r.at.Position
	for _, e := range batch.Events {
		require.Greater(r.t, e.Position, last, "in order and once")
		last = e.Position
	}
	require.LessOrEqual(r.t, last, batch.At.Position)
	r.at, r.got = batch.At, append(r.got, batch.Events...)
	return batch
}

// through reads until the position is reached and returns all positions that came.
func (r *reader) through(position int64) []int64 {
	r.t.Helper()
	for r.at.Position < position {
		r.next()
	}
	return positions(r.got)
}

// upTo are the positions after one and through another.
func upTo(after, last int64) []int64 {
	var all []int64
	for p := after + 1; p <= last; p++ {
		all = append(all, p)
	}
	return all
}
