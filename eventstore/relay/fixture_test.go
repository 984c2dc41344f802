package relay_test

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
	"github.com/reactdjango-hub/backend/migrations"
)

// patience ends tests that have failed; the others never wait for it.
const patience = time.Minute

func TestMain(m *testing.M) { hubtest.Main(m) }

// eventLog is a log of one test.
type eventLog struct {
	address          string
	appender, reader *eventstore.Store
}

func newLog(t *testing.T) *eventLog {
	t.Helper()
	l := &eventLog{address: hubtest.Database(t, hubtest.Log())}
	l.connect(t)
	return l
}

// newOwnLog is a log that is no copy of a template, which all the others are.
func newOwnLog(t *testing.T) *eventLog {
	t.Helper()
	l := &eventLog{address: hubtest.Database(t, hubtest.Migration{})}
	require.NoError(t, migrations.Log.Up(t.Context(), l.address))
	l.connect(t)
	return l
}

// connect takes new connections, after those of before were broken.
func (l *eventLog) connect(t *testing.T) {
	t.Helper()
	l.appender = eventstore.New(hubtest.Pool(t, l.address, string(eventstore.RoleCommand)))
	l.reader = eventstore.New(hubtest.Pool(t, l.address, string(eventstore.RoleRelay)))
}

func (l *eventLog) backUp(t *testing.T) *hubtest.Backup {
	t.Helper()
	backup := hubtest.TakeBackup(t, l.address)
	l.connect(t)
	return backup
}

func (l *eventLog) restore(t *testing.T, backup *hubtest.Backup) {
	t.Helper()
	backup.Restore(t)
	l.connect(t)
}

func (l *eventLog) entries(t *testing.T) []eventstore.LogEntry {
	t.Helper()
	entries, err := l.reader.ReadLog(t.Context(), 0, eventstore.MaxReadLimit)
	require.NoError(t, err)
	return entries
}

func (l *eventLog) epochs(t *testing.T) []eventstore.Epoch {
	t.Helper()
	history, err := l.reader.History(t.Context())
	require.NoError(t, err)
	return history.Epochs
}

// appendFrom has appenders write to streams of their own, all at once.
func (l *eventLog) appendFrom(t *testing.T, appenders, turns, events int) {
	t.Helper()
	var all sync.WaitGroup
	for range appenders {
		all.Go(func() {
			stream := domain.Tag("entity:" + uuid.NewString())
			for turn := range turns {
				l.appendTurn(t, newTurn(stream, int64(turn*events+1), events, `{"name":"Zoë"}`))
			}
		})
	}
	all.Wait()
}

func (l *eventLog) appendTurn(t *testing.T, turn eventstore.Turn) {
	t.Helper()
	_, err := l.appender.Append(context.WithoutCancel(t.Context()), turn)
	assert.NoError(t, err)
}

// newTurn is one command with events on one stream.
func newTurn(stream domain.Tag, version int64, events int, data string) eventstore.Turn {
	outcome := eventstore.Outcome{
		Meta: domain.Meta{
			Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "person-1"}, OnBehalfOf: &domain.Actor{Sub: "bo", Person: "bo"},
			Now: time.UnixMicro(1_763_856_000_000_001).UTC(), Reason: `50 % "größer"`, RequestID: "r", CommandID: uuid.New(),
		},
		IdempotencyKey: uuid.NewString(), RequestHash: []byte{1, 2}, ResourceID: stream.Name(), Created: version == 1,
		Version: version + int64(events) - 1,
	}
	for i := range events {
		outcome.Events = append(outcome.Events, eventstore.NewEvent{
			ID: uuid.New(), Stream: stream, Version: version + int64(i), Type: "entity.updated", SchemaVersion: 1,
			Tags: []domain.Tag{stream, "key:customer/C 17"}, Subjects: []string{}, Data: []byte(data),
		})
	}
	return eventstore.Turn{Outcomes: []eventstore.Outcome{outcome}}
}

// requireCopied compares the whole stream with the whole log.
func (l *eventLog) requireCopied(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	head, _, err := l.reader.Head(ctx)
	require.NoError(t, err)
	stream, err := js.Stream(ctx, relay.StreamName)
	require.NoError(t, err)
	state := stream.CachedInfo().State
	require.EqualValues(t, 1, state.FirstSeq)
	require.EqualValues(t, head, state.LastSeq)
	require.EqualValues(t, head, state.Msgs)

	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	messages, err := consumer.Messages()
	require.NoError(t, err)
	defer messages.Stop()
	for position := int64(0); position < head; {
		entries, err := l.reader.ReadLog(ctx, position, eventstore.MaxReadLimit)
		require.NoError(t, err)
		for _, entry := range entries {
			position++
			message, err := messages.Next(jetstream.NextContext(ctx))
			require.NoError(t, err)
			metadata, err := message.Metadata()
			require.NoError(t, err)
			require.EqualValues(t, position, metadata.Sequence.Stream)
			copied, err := relay.Decode(message.Headers(), message.Data())
			require.NoError(t, err)
			require.Equal(t, entry, copied)
			require.Equal(t, relay.Subject(entry.Event), message.Subject())
		}
	}
}

// running is a relay of a test, and those who wait for it.
type running struct {
	*relay.Relay
	cancel context.CancelFunc
	ended  chan error

	mu      sync.Mutex
	waiting []waiter
}

type waiter struct {
	until func(relay.Status) bool
	done  chan struct{}
}

// start runs a relay until the test's end.
func start(t *testing.T, conn *nats.Conn, log *eventLog) *running {
	t.Helper()
	r := prepare(t, conn, log, nil)
	r.run(t)
	return r
}

func prepare(t *testing.T, conn *nats.Conn, log *eventLog, wake *eventstore.Signal) *running {
	t.Helper()
	made, err := relay.New(conn, log.reader, wake, relay.Options{})
	require.NoError(t, err)
	r := &running{Relay: made, ended: make(chan error, 1)}
	made.OnStatus(r.notice)
	return r
}

func (r *running) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ended <- r.Run(ctx); close(r.ended) }()
	t.Cleanup(func() { r.stop(t) })
}

// stop returns when the relay has ended; once or more.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	require.NoError(t, hubtest.Wait(t, patience, "the relay's end", r.ended))
}

func (r *running) notice(status relay.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(w waiter) bool {
		if w.until(status) {
			close(w.done)
			return true
		}
		return false
	})
}

// when is closed once the status is, or has become, as wanted.
func (r *running) when(until func(relay.Status) bool) <-chan struct{} {
	w := waiter{until, make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	r.notice(r.Status())
	return w.done
}

func (r *running) waitPublished(t *testing.T, position int64) {
	t.Helper()
	hubtest.Wait(t, patience, "all to be published", r.when(func(s relay.Status) bool { return s.Published == position }))
}

// tcpBroker is a NATS server that its clients find again after a restart.
type tcpBroker struct {
	options local.NATSOptions
	server  *local.NATS
}

func startTCP(t *testing.T) *tcpBroker {
	t.Helper()
	b := &tcpBroker{options: local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"}}
	b.start(t)
	address, err := url.Parse(b.server.URL())
	require.NoError(t, err)
	b.options.ListenAddr = address.Host
	t.Cleanup(b.stop)
	return b
}

func (b *tcpBroker) start(t *testing.T) {
	t.Helper()
	var err error
	b.server, err = local.StartNATS(b.options)
	require.NoError(t, err)
}

func (b *tcpBroker) stop() { b.server.Stop() }

func (b *tcpBroker) connect(t *testing.T) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(b.server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func (b *tcpBroker) jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(b.connect(t))
	require.NoError(t, err)
	return js
}
