package relay_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/logevent"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// losing is a log with a published end that it has lost.
type losing struct {
	*eventLog
	broker *hubtest.Broker
	// lost is the log as it was.
	lost []eventstore.LogEntry
}

// lose publishes kept and lost events and puts the log back to the former. The relay is
// stopped meanwhile.
func lose(t *testing.T, kept, lost int) *losing {
	t.Helper()
	l := &losing{eventLog: newLog(t), broker: hubtest.NATS(t)}
	l.appendFrom(t, 1, 1, kept)
	backup := l.backUp(t)
	l.appendFrom(t, 1, lost, 1)
	r := start(t, l.broker.Conn, l.eventLog)
	r.waitPublished(t, int64(kept+lost))
	r.stop(t)
	l.lost = l.entries(t)
	l.restore(t, backup)
	return l
}

// settled runs a relay until the stream has the log as far as position.
func (l *losing) settled(t *testing.T, position int64) *running {
	t.Helper()
	r := prepare(t, l.broker.Conn, l.eventLog, nil)
	done := r.when(func(s relay.Status) bool {
		return s.Err == "" && s.Head == position && s.Published == position && s.Restored+s.Forks > 0
	})
	r.run(t)
	hubtest.Wait(t, patience, "the loss to be settled", done)
	return r
}

// forked requires that the log has begun a second epoch after a position, which the
// histories had in common up to another.
func (l *losing) forked(t *testing.T, after, common, lost int64) {
	t.Helper()
	epochs := l.epochs(t)
	require.Len(t, epochs, 2)
	require.Equal(t, []int64{after, common, lost}, []int64{epochs[1].After, epochs[1].Fork, epochs[1].Lost.Position})
	entry := l.entries(t)[after]
	require.Equal(t, []any{logevent.Org, "log.forked", epochs[1].ID}, []any{entry.Org, entry.Type, entry.Epoch})
	var forked logevent.Forked
	require.NoError(t, json.Unmarshal(entry.Data, &forked))
	require.Equal(t, logevent.Forked{
		ForkPosition: common, OldEpoch: epochs[0].ID, NewEpoch: epochs[1].ID, LostFrom: common + 1, LostThrough: lost,
	}, forked)
}

func TestALostEndComesBackFromTheStream(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]int{"a part of the log": 10, "all of the log": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lose(t, kept, 300)
			require.Len(t, l.entries(t), kept)
			r := l.settled(t, int64(kept)+300)
			require.Equal(t, l.lost, l.entries(t), "the same ids, positions, times, hashes and receipts")
			require.Len(t, l.epochs(t), 1, "nothing has happened")
			require.Equal(t, []int64{1, 0, 0}, []int64{r.Status().Restored, r.Status().Forks, r.Status().Recreated})
			// What was answered is answered the same.
			receipt := l.lost[len(l.lost)-1].Receipt
			found, err := l.appender.FindReceipts(t.Context(), []eventstore.ReceiptKey{{Org: receipt.Org, Caller: receipt.Caller, Key: receipt.IdempotencyKey}})
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, *receipt, found[0].Receipt)
			l.appendFrom(t, 1, 1, 1)
			r.waitPublished(t, int64(kept)+301)
			l.requireCopied(t, l.broker.JetStream)
		})
	}
}

// What was accepted since was acknowledged: it stays, and what was lost stays lost.
func TestALogThatWentOnDifferentlyBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]int{"a shorter log": 3, "one as long": 20, "a longer one": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lose(t, 10, 20)
			l.appendFrom(t, 1, 1, since)
			truth := l.entries(t)
			r := l.settled(t, int64(10+since+1))
			l.forked(t, int64(10+since), 10, 30)
			require.Equal(t, truth, l.entries(t)[:len(truth)])
			require.EqualValues(t, 1, r.Status().Recreated)
			l.appendFrom(t, 1, 1, 1)
			r.waitPublished(t, int64(10+since+2))
			l.requireCopied(t, l.broker.JetStream)
		})
	}
}

func TestALostEndThatIsNotAllThereBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	damaged := map[string]func(*testing.T, *losing){
		"its first part was dropped": func(t *testing.T, l *losing) {
			t.Helper()
			l.truncate(t, 5)
		},
		"all of it was dropped": func(t *testing.T, l *losing) {
			t.Helper()
			l.truncate(t, 0)
		},
		"its last command is cut": func(t *testing.T, l *losing) {
			t.Helper()
			require.NoError(t, l.broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
			l.publish(t, 1, l.lost[:24])
		},
		"a message was changed": func(t *testing.T, l *losing) {
			t.Helper()
			require.NoError(t, l.broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
			l.lost[27].Data = []byte(`{"forged":true}`)
			l.publish(t, 1, l.lost)
		},
	}
	for name, damage := range damaged {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &losing{eventLog: newLog(t), broker: hubtest.NATS(t)}
			l.appendFrom(t, 1, 1, 20)
			backup := l.backUp(t)
			l.appendFrom(t, 1, 2, 5)
			r := start(t, l.broker.Conn, l.eventLog)
			r.waitPublished(t, 30)
			r.stop(t)
			l.lost = l.entries(t)
			l.restore(t, backup)
			damage(t, l)
			lost, common := int64(30), int64(20)
			switch name {
			case "its last command is cut":
				lost = 24
			case "its first part was dropped", "all of it was dropped":
				common = 0 // nobody can tell any more
			}
			l.settled(t, 21)
			l.forked(t, 20, common, lost)
			l.requireCopied(t, l.broker.JetStream)
		})
	}
}

// truncate makes the stream keep its last messages only, as its limits do.
func (l *losing) truncate(t *testing.T, keep int) {
	t.Helper()
	stream, err := l.broker.JetStream.Stream(t.Context(), relay.StreamName)
	require.NoError(t, err)
	config := stream.CachedInfo().Config
	last := len(l.lost)
	require.NoError(t, l.broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
	config.FirstSeq = uint64(last-keep) + 1
	_, err = l.broker.JetStream.CreateStream(t.Context(), config)
	require.NoError(t, err)
	l.send(t, l.lost[last-keep:])
}

// publish makes a stream of this log from a position with the entries.
func (l *losing) publish(t *testing.T, first uint64, entries []eventstore.LogEntry) {
	t.Helper()
	history, err := l.reader.History(t.Context())
	require.NoError(t, err)
	_, err = relay.EnsureStream(t.Context(), l.broker.JetStream, relay.StreamConfig{FirstSeq: first, Log: history.Log()})
	require.NoError(t, err)
	l.send(t, entries)
}

func (l *losing) send(t *testing.T, entries []eventstore.LogEntry) {
	t.Helper()
	for _, entry := range entries {
		ack, err := l.broker.JetStream.PublishMsg(t.Context(), relay.Encode(entry), jetstream.WithExpectLastSequence(uint64(entry.Position-1)))
		require.NoError(t, err)
		require.EqualValues(t, entry.Position, ack.Sequence)
	}
}

// A second loss reaches back behind the first fork: the stream is of an epoch that the
// log does not know.
func TestALogPutBackBehindItsFork(t *testing.T) {
	t.Parallel()
	l := &losing{eventLog: newLog(t), broker: hubtest.NATS(t)}
	l.appendFrom(t, 1, 1, 10)
	backup := l.backUp(t)
	l.appendFrom(t, 1, 1, 10)
	r := start(t, l.broker.Conn, l.eventLog)
	r.waitPublished(t, 20)
	for range 2 {
		r.stop(t)
		l.restore(t, backup)
		l.appendFrom(t, 1, 1, 3)
		r = l.settled(t, 14)
		epochs := l.epochs(t)
		require.Len(t, epochs, 2)
		require.Equal(t, []int64{13, 10}, []int64{epochs[1].After, epochs[1].Fork})
		l.requireCopied(t, l.broker.JetStream)
	}
}

// An older copy of NATS's storage comes back with what was lost before the present
// epoch: that is known, and no reason for another one.
func TestAStreamOfASupersededEpochIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]int{"it is longer than the log": 2, "it is shorter": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lose(t, 10, 20)
			l.appendFrom(t, 1, 1, since)
			r := l.settled(t, int64(10+since+1))
			r.stop(t)
			require.NoError(t, l.broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
			l.publish(t, 1, l.lost)

			r = prepare(t, l.broker.Conn, l.eventLog, nil)
			again := r.when(func(s relay.Status) bool { return s.Recreated == 1 && s.Published == int64(10+since+1) })
			r.run(t)
			hubtest.Wait(t, patience, "the stream to be made again", again)
			require.Len(t, l.epochs(t), 2)
			l.requireCopied(t, l.broker.JetStream)
		})
	}
}

// Who may publish there can also publish nonsense; the log has lost nothing by it.
func TestAMessageOfSomebodyElseIsRemoved(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	log.appendFrom(t, 1, 1, 10)
	r := start(t, broker.Conn, log)
	r.waitPublished(t, 10)
	again := r.when(func(s relay.Status) bool { return s.Recreated == 1 && s.Published == 10 })
	_, err := broker.JetStream.Publish(t.Context(), "hub.events.acme.entity.created", []byte("{}"))
	require.NoError(t, err)
	hubtest.Wait(t, patience, "the stream to be made again", again)
	require.Len(t, log.epochs(t), 1)
	log.requireCopied(t, broker.JetStream)
}

// The relay goes on through all of it, in one session of its own: nothing but the event
// published last tells it that the log it reads from is another.
func TestALogThatGrewAgainIsNotTakenForTheContinuation(t *testing.T) {
	t.Parallel()
	l := &losing{eventLog: newLog(t), broker: hubtest.NATS(t)}
	l.appendFrom(t, 1, 1, 10)
	backup := l.backUp(t)
	l.appendFrom(t, 1, 1, 10)
	wake := eventstore.NewSignal()
	r := prepare(t, l.broker.Conn, l.eventLog, wake)
	r.OnlyWhenWoken()
	r.run(t)
	r.waitPublished(t, 20)
	l.restore(t, backup)
	l.appendFrom(t, 1, 1, 30)
	settled := r.when(func(s relay.Status) bool { return s.Forks == 1 && s.Published == 41 })
	wake.Wake()
	hubtest.Wait(t, patience, "the loss to be settled", settled)
	l.forked(t, 40, 10, 20)
	l.requireCopied(t, l.broker.JetStream)
}

func TestSeveralRelaysSettleALossOnce(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]int{"by appending it again": 0, "by an epoch": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lose(t, 10, 20)
			if since > 0 {
				l.appendFrom(t, 1, 1, since)
			}
			end := int64(30)
			if since > 0 {
				end = int64(10 + since + 1)
			}
			var relays []*running
			for range 3 {
				relays = append(relays, start(t, l.broker.Connect(), l.eventLog))
			}
			for _, r := range relays {
				hubtest.Wait(t, patience, "all to agree", r.when(func(s relay.Status) bool {
					return s.Err == "" && s.Head == end && s.Published == end
				}))
			}
			settled := int64(0)
			for _, r := range relays {
				s := r.Status()
				settled += s.Restored + s.Forks
				r.stop(t)
			}
			require.EqualValues(t, 1, settled)
			require.Len(t, l.epochs(t), min(1+since, 2))
			l.requireCopied(t, l.broker.JetStream)
		})
	}
}

func TestANewStreamStartsAtWhatItsLimitsWouldKeep(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	// A superuser's rows stand in for events of two days ago.
	_, err := hubtest.Pool(t, log.address, "").Exec(t.Context(), `INSERT INTO events
		SELECT n, n, epoch, gen_random_uuid(), 'acme', 'a:' || n, 1, 'thing.happened', 1, ARRAY['a:' || n], '{}', '{}', '{"sub":"a","person":"a"}',
		       NULL, NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now() - interval '2 days', sha256('')
		  FROM log_head(), generate_series(1, 300) n`)
	require.NoError(t, err)
	log.appendFrom(t, 1, 1, 100)
	for name, c := range map[string]struct {
		config relay.StreamConfig
		first  string
	}{
		"all of it":       {relay.StreamConfig{MaxAge: 72 * time.Hour, MaxBytes: 1 << 30}, "1"},
		"what is younger": {relay.StreamConfig{MaxAge: 24 * time.Hour}, "301"},
		"what may fit":    {relay.StreamConfig{MaxBytes: 256 << 10}, "144"},
		"both":            {relay.StreamConfig{MaxAge: 24 * time.Hour, MaxBytes: 64 << 10}, "336"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := hubtest.NATS(t)
			made := make(chan string, 1000)
			published, err := broker.Conn.Subscribe("hub.events.>", func(message *nats.Msg) { made <- message.Header.Get("ce-position") })
			require.NoError(t, err)
			require.NoError(t, broker.Conn.Flush())
			defer func() { require.NoError(t, published.Unsubscribe()) }()
			configured, err := relay.New(broker.Connect(), log.reader, nil, relay.Options{Stream: c.config})
			require.NoError(t, err)
			r := &running{Relay: configured, ended: make(chan error, 1)}
			configured.OnStatus(r.notice)
			r.run(t)
			require.Equal(t, c.first, hubtest.Wait(t, patience, "the first message", made))
			r.waitPublished(t, 400)
		})
	}
}

// Everything may be too old for the stream by the time that it is made.
func TestANewStreamOfAnOldLogIsEmpty(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	log.appendFrom(t, 1, 1, 10)
	const age = 100 * time.Millisecond // the least there is
	require.Eventually(t, func() bool {
		position, err := log.reader.PositionSince(t.Context(), time.Now().Add(-age))
		return err == nil && position == 11
	}, patience, age)
	made, err := relay.New(broker.Conn, log.reader, nil, relay.Options{Stream: relay.StreamConfig{MaxAge: age}})
	require.NoError(t, err)
	r := &running{Relay: made, ended: make(chan error, 1)}
	made.OnStatus(r.notice)
	r.run(t)
	r.waitPublished(t, 10)
	log.appendFrom(t, 1, 1, 5)
	r.waitPublished(t, 15)
	stream, err := broker.JetStream.Stream(t.Context(), relay.StreamName)
	require.NoError(t, err)
	require.EqualValues(t, 15, stream.CachedInfo().State.LastSeq)
}
