package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestSequenceIsPosition(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	r := start(t, broker.Conn, log)
	log.appendFrom(t, 8, 40, 10)
	r.waitPublished(t, 8*40*10)
	log.requireCopied(t, broker.JetStream)
}

// JetStream refuses headers above 64 KiB, and what the relay cannot publish nobody after it
// is published: the most that the loop lets through must fit.
func TestTheLongestDescriptionIsPublished(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	turn := newTurn("entity:"+domain.Tag(uuid.NewString()), 1, 1, `{}`)
	outcome := &turn.Outcomes[0]
	outcome.Events[0].Reason = strings.Repeat("€", 500)
	event := &outcome.Events[0]
	for size := 4 << 10; size < eventstore.MaxDescriptionBytes; {
		event.Tags = append(event.Tags, domain.NewTag("incoming", uuid.NewString()))
		size += len(event.Tags[len(event.Tags)-1])
	}
	require.Greater(t, len(event.Tags), 600)
	log.appendTurn(t, turn)
	start(t, broker.Conn, log).waitPublished(t, 1)
	log.requireCopied(t, broker.JetStream)
}

func TestRestartedRelayResumes(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	log.appendFrom(t, 1, 20, 100)
	first := start(t, broker.Conn, log)
	hubtest.Wait(t, patience, "some events", first.when(func(s relay.Status) bool { return s.Published >= 300 }))
	first.stop(t)
	start(t, broker.Conn, log).waitPublished(t, 2000)
	log.requireCopied(t, broker.JetStream)
}

func TestRelaysAtOnceDoNoHarm(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	var relays []*running
	for range 3 {
		relays = append(relays, start(t, broker.Connect(), log))
	}
	log.appendFrom(t, 4, 50, 10)
	for _, r := range relays {
		r.waitPublished(t, 4*50*10)
	}
	log.requireCopied(t, broker.JetStream)
}

func TestNudgeWakesRelayOfAnotherProcess(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	r := prepare(t, broker.Conn, log, nil)
	r.OnlyWhenWoken()
	r.run(t)
	hubtest.Wait(t, patience, "the relay's start", r.when(func(s relay.Status) bool { return !s.Since.IsZero() }))
	elsewhere := broker.Connect()
	for i := range 3 {
		log.appendFrom(t, 1, 1, 1)
		// Published between the relay's look at the log and its wait for a nudge, an
		// event is found by the nudge's own wake, which is not lost meanwhile.
		require.NoError(t, elsewhere.Publish(relay.NudgeSubject, fmt.Append(nil, i+1)))
		r.waitPublished(t, int64(i+1))
	}
}

func TestSignalWakesRelayOfThisProcess(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	wake := eventstore.NewSignal()
	r := prepare(t, broker.Conn, log, wake)
	r.OnlyWhenWoken()
	r.run(t)
	for i := range 20 {
		log.appendFrom(t, 1, 1, 1)
		wake.Wake()
		r.waitPublished(t, int64(i+1))
	}
}

func TestBrokerRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), startTCP(t)
	r := start(t, broker.connect(t), log)
	log.appendFrom(t, 1, 20, 100)
	hubtest.Wait(t, patience, "some events", r.when(func(s relay.Status) bool { return s.Published >= 300 }))
	broker.stop()

	// With NATS down the log goes on, and the relay shows how far behind it is.
	log.appendFrom(t, 2, 5, 10)
	hubtest.Wait(t, patience, "the failure", r.when(func(s relay.Status) bool { return s.Err != "" && s.Head == 2100 }))

	broker.start(t)
	r.waitPublished(t, 2100)
	require.Empty(t, r.Status().Err)
	log.requireCopied(t, broker.jetStream(t))
}

func TestWipedStreamIsFilledAgain(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	wake := eventstore.NewSignal()
	r := prepare(t, broker.Conn, log, wake)
	r.OnlyWhenWoken()
	r.run(t)
	log.appendFrom(t, 2, 10, 50)
	wake.Wake()
	r.waitPublished(t, 1000)

	require.NoError(t, broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
	log.appendFrom(t, 1, 1, 1)
	wake.Wake()
	r.waitPublished(t, 1001)
	log.requireCopied(t, broker.JetStream)
}

// The stream may vanish while nothing happens: nobody would publish to notice.
func TestWipedStreamIsFilledAgainWhileNothingHappens(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	r := start(t, broker.Conn, log)
	log.appendFrom(t, 1, 1, 100)
	r.waitPublished(t, 100)
	refilled := r.when(func(s relay.Status) bool { return s.Published < 100 })
	require.NoError(t, broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
	hubtest.Wait(t, patience, "the relay to notice", refilled)
	r.waitPublished(t, 100)
	log.requireCopied(t, broker.JetStream)
}

func TestWipedStreamCanStartLater(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	log.appendFrom(t, 1, 1, 100)
	// FirstSeq 101 is also what a stream looks like when all in it reached its age.
	_, err := relay.EnsureStream(t.Context(), broker.JetStream, relay.StreamConfig{FirstSeq: 101})
	require.NoError(t, err)
	r := start(t, broker.Conn, log)
	log.appendFrom(t, 1, 1, 50)
	r.waitPublished(t, 150)
	stream, err := broker.JetStream.Stream(t.Context(), relay.StreamName)
	require.NoError(t, err)
	state := stream.CachedInfo().State
	require.Equal(t, []uint64{101, 150, 50}, []uint64{state.FirstSeq, state.LastSeq, state.Msgs})
}

// Two hubs on one NATS by mistake must not take each other's stream for a lost end.
func TestStreamOfAnotherLogIsRefused(t *testing.T) {
	t.Parallel()
	for name, events := range map[string]int{"ahead of the log": 5, "as long": 10, "behind": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker, other, log := hubtest.NATS(t), newOwnLog(t), newLog(t)
			other.appendFrom(t, 1, 1, 10)
			first := start(t, broker.Conn, other)
			first.waitPublished(t, 10)
			first.stop(t)

			log.appendFrom(t, 1, 1, events)
			r := start(t, broker.Conn, log)
			hubtest.Wait(t, patience, "the refusal", r.when(func(s relay.Status) bool { return s.Err != "" }))
			require.Contains(t, r.Status().Err, "events of another log")
			log.appendFrom(t, 1, 1, 1)
			hubtest.Wait(t, patience, "another look", r.when(func(s relay.Status) bool { return s.Head == int64(events)+1 }))
			require.NotEmpty(t, r.Status().Err)
			r.stop(t)
			other.requireCopied(t, broker.JetStream)
			require.Len(t, log.epochs(t), 1)
		})
	}
}

func TestServerWithSmallMessagesIsRefused(t *testing.T) {
	t.Parallel()
	small, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true, MaxPayload: 64 << 10,
	})
	require.NoError(t, err)
	small.Start()
	t.Cleanup(func() { small.Shutdown(); small.WaitForShutdown() })
	conn, err := nats.Connect("", nats.InProcessServer(small))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	r := start(t, conn, newLog(t))
	hubtest.Wait(t, patience, "the refusal", r.when(func(s relay.Status) bool { return s.Err != "" }))
	require.Contains(t, r.Status().Err, "max_payload")
}

func TestLargestEventsFit(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	r := start(t, broker.Conn, log)
	log.appendTurn(t, newTurn("entity:large", 1, 60, `"`+strings.Repeat("x", 256<<10-2)+`"`))
	r.waitPublished(t, 60)
	log.requireCopied(t, broker.JetStream)
}

func TestEnsureStreamUpdates(t *testing.T) {
	t.Parallel()
	js := hubtest.NATS(t).JetStream
	for _, config := range []relay.StreamConfig{
		{}, {}, {MaxAge: 24 * time.Hour, MaxBytes: 64 << 20}, {MaxAge: time.Hour}, {},
	} {
		stream, err := relay.EnsureStream(t.Context(), js, config)
		require.NoError(t, err)
		got := stream.CachedInfo().Config
		assert.Equal(t, config.MaxAge, got.MaxAge)
		assert.Equal(t, config.MaxBytes, max(got.MaxBytes, 0)) // to the server, no limit is -1
		assert.Equal(t, []string{"hub.events.>"}, got.Subjects)
		assert.True(t, got.DenyDelete && got.DenyPurge && got.AllowDirect)
	}
}
