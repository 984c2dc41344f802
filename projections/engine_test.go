package projections

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestViewFollowsTheLogWithoutNATS(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(3)...)
	engine := New(h.options)
	h.run(t, engine)
	h.reaches(t, 3)
	h.reaches(t, h.append(t, newEntities(2)...))
	require.Len(t, h.rows(t, "entities_v1"), 5)
	h.until(t, "the status tells", func() bool {
		return engine.Status()[0] == Status{Name: "entities", Leads: true, Schema: "entities_v1", Position: 5}
	})
	h.checkAgainstRebuild(t)
}

func TestPositionPassesEventsOfOtherViews(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	_, err := h.command.Append(t.Context(), eventstore.Turn{Outcomes: []eventstore.Outcome{{
		Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, CommandID: uuid.New()}, ResourceID: "1", Version: 1,
		Events: []eventstore.NewEvent{{ID: uuid.New(), Stream: "other:1", Version: 1, Type: "other.happened", SchemaVersion: 9, Tags: []domain.Tag{"other:1"}, Data: []byte(`{}`)}},
	}}})
	require.NoError(t, err)
	h.run(t, New(h.options))
	h.reaches(t, 1)
}

func TestViewFollowsJetStream(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.append(t, newEntities(10)...)
	h.stream(t, broker.JetStream, 1)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.run(t, New(h.options))
	h.reaches(t, 10)
	for range 20 {
		last := h.append(t, newEntities(3)...)
		h.publish(t, broker.JetStream, last-3)
		h.reaches(t, last)
	}
	h.checkAgainstRebuild(t)
}

func TestHoleInTheStreamHealsFromTheStore(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.append(t, newEntities(30)...)
	stream := h.stream(t, broker.JetStream, 1)
	for _, gone := range []uint64{1, 7, 8, 9, 20, 30} {
		require.NoError(t, stream.DeleteMsg(t.Context(), gone))
	}
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.run(t, New(h.options))
	h.reaches(t, 30)
	h.checkAgainstRebuild(t)
}

func TestStreamThatStartsLaterIsPrecededByTheStore(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.append(t, newEntities(30)...)
	h.stream(t, broker.JetStream, 20)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.run(t, New(h.options))
	h.reaches(t, 30)
	h.publish(t, broker.JetStream, h.append(t, newEntities(1)...)-1)
	h.reaches(t, 31)
	h.checkAgainstRebuild(t)
}

// A JetStream store that outlived its log must not fill the view of the next one.
func TestStreamOfAnotherLogIsNotBelieved(t *testing.T) {
	t.Parallel()
	former, h, broker := newHub(t), newHub(t), hubtest.NATS(t)
	// Clones of one template have one epoch; logs that were set up on their own do not.
	_, err := former.admin.Exec(t.Context(), `INSERT INTO log_epochs (number, after_position, fork_position) VALUES (2, 0, 0)`)
	require.NoError(t, err)
	former.append(t, newEntities(40)...)
	former.stream(t, broker.JetStream, 1)
	h.append(t, newEntities(10)...)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.run(t, New(h.options))
	h.reaches(t, 10)
	require.EqualValues(t, 10, h.view(t).Position)
	h.checkAgainstRebuild(t)
}

func TestViewGoesOnWithoutAndWithJetStreamAgain(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.append(t, newEntities(5)...)
	h.stream(t, broker.JetStream, 1)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.run(t, New(h.options))
	h.reaches(t, 5)

	// The stream disappears, as with a wiped store, and comes back at a later start.
	require.NoError(t, broker.JetStream.DeleteStream(t.Context(), relay.StreamName))
	h.reaches(t, h.append(t, newEntities(5)...))
	h.append(t, newEntities(5)...)
	h.stream(t, broker.JetStream, 11)
	h.reaches(t, 15)

	broker.Stop()
	h.reaches(t, h.append(t, newEntities(5)...))
	h.checkAgainstRebuild(t)
}

// Engines are killed again and again, their connections too, while events come in:
// each event has its effect once.
func TestEveryEventCountsOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.stream(t, broker.JetStream, 1)
	stream := entity.Stream(uuid.New())
	last := h.append(t, happening{"acme", stream, entity.Created{Type: "thing"}})
	for round := range 15 {
		stop := h.run(t, New(h.options))
		for i := range 4 {
			h.append(t, newEntities(2)...)
			last = h.append(t, happening{"acme", stream, entity.Updated{Attributes: map[string]json.RawMessage{"n": json.RawMessage(`1`)}}})
			if i%2 == 0 {
				h.publish(t, broker.JetStream, streamEnd(t, broker.JetStream))
			}
		}
		if round%3 == 1 {
			_, err := h.admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'hub_projector'`)
			require.NoError(t, err)
		}
		if round%3 == 2 {
			h.reaches(t, last)
		}
		stop()
	}
	h.run(t, New(h.options))
	h.reaches(t, last)
	h.checkAgainstRebuild(t)
}

func streamEnd(t *testing.T, js jetstream.JetStream) int64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), relay.StreamName)
	require.NoError(t, err)
	return int64(stream.CachedInfo().State.LastSeq)
}

// Whatever the lease says: two that write one view do no harm.
func TestTwoProjectorsOnOneViewDoNoHarm(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.stream(t, broker.JetStream, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	workers := []*worker{newWorker(h.options, Entities()), newWorker(h.options, Entities()), newWorker(h.options, Entities())}
	for _, w := range workers {
		all.Go(func() { w.lead(ctx) })
	}
	var last int64
	for range 40 {
		last = h.append(t, newEntities(5)...)
		h.publish(t, broker.JetStream, last-5)
	}
	h.reaches(t, last)
	for _, w := range workers {
		require.Empty(t, w.currentStatus().Err)
	}
	h.checkAgainstRebuild(t)
}

// Of several engines one leads the view; when it is gone another does.
func TestALostWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	engines := []*Engine{New(h.options), New(h.options), New(h.options)}
	stops := map[*Engine]func(){}
	for _, engine := range engines {
		stops[engine] = h.run(t, engine)
	}
	leaders := func() (found []*Engine) {
		for engine := range stops {
			if engine.Status()[0].Leads {
				found = append(found, engine)
			}
		}
		return found
	}
	for range engines {
		h.until(t, "one leads", func() bool { return len(leaders()) == 1 })
		h.reaches(t, h.append(t, newEntities(3)...))
		leader := leaders()[0]
		stops[leader]()
		require.Equal(t, Status{Name: "entities"}, leader.Status()[0])
		delete(stops, leader)
	}
	// One that dies does not set the lease free: it expires.
	_, err := h.admin.Exec(t.Context(), `UPDATE view_leases SET holder = gen_random_uuid(), expires_at = clock_timestamp() + interval '2 seconds'`)
	require.NoError(t, err)
	h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(3)...))
	h.checkAgainstRebuild(t)
}

// The worker's connection is cut between the rows and the commit.
func TestWorkerKilledBetweenRowsAndCheckpointLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	holding, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holding.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = holding.Exec(t.Context(), `SELECT pg_advisory_xact_lock(4711)`)
	require.NoError(t, err)
	projection := Entities()
	projection.Apply = func(batch *pgx.Batch, schema string, events []Event) error {
		err := Entities().Apply(batch, schema, events)
		batch.Queue(`SELECT pg_advisory_xact_lock(4711)`) // the rows are written, nothing is committed
		return err
	}
	h.append(t, newEntities(5)...)
	h.run(t, New(h.with(projection)))
	var pid int
	h.until(t, "the batch waits", func() bool {
		err := h.admin.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'`).Scan(&pid)
		return err == nil
	})
	_, err = h.admin.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, pid)
	require.NoError(t, err)
	require.Zero(t, h.view(t).Position)
	require.Empty(t, h.rows(t, "entities_v1"))
	require.NoError(t, holding.Rollback(t.Context()))
	h.reaches(t, 5)
	require.Len(t, h.rows(t, "entities_v1"), 5)
	h.checkAgainstRebuild(t)
}

// The slower of two writers of one batch leaves nothing behind.
func TestBatchOnAMovedCheckpointIsAbandoned(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(4)...)
	v, err := ensureView(t.Context(), h.options, Entities())
	require.NoError(t, err)
	events := h.events(t)
	faster, slower := h.writer(t, v.schema), h.writer(t, v.schema)
	require.NoError(t, faster.write(t.Context(), events[:3]))
	require.ErrorIs(t, slower.write(t.Context(), events), errMoved)
	require.EqualValues(t, 3, h.view(t).Position)
	require.Len(t, h.rows(t, v.schema), 3)

	// Of many at once one wins.
	var wait sync.WaitGroup
	results := make(chan error, 8)
	var writers []*writer
	for range 8 {
		writers = append(writers, h.writer(t, v.schema))
	}
	for _, one := range writers {
		wait.Go(func() { results <- one.write(t.Context(), events[3:]) })
	}
	wait.Wait()
	won := 0
	for range 8 {
		if err := <-results; err == nil {
			won++
		} else {
			require.ErrorIs(t, err, errMoved)
		}
	}
	require.Equal(t, 1, won)
	require.Len(t, h.rows(t, v.schema), 4)
}

func TestLogThatIsAwayShowsAndHeals(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	stop := h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(1)...))
	stop()
	_, err := h.admin.Exec(t.Context(), `REVOKE EXECUTE ON FUNCTION read_log FROM hub_projector`)
	require.NoError(t, err)
	unread := h.append(t, newEntities(1)...)
	engine := New(h.options)
	h.run(t, engine)
	h.until(t, "the failure shows", func() bool { return engine.Status()[0].Err == "the event log cannot be read" })
	_, err = h.admin.Exec(t.Context(), `GRANT EXECUTE ON FUNCTION read_log TO hub_projector`)
	require.NoError(t, err)
	h.reaches(t, unread)
	h.until(t, "the failure is over", func() bool { return engine.Status()[0].Err == "" })
}

func TestEngineStopsWithItsContext(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, New(h.options).Run(ctx))
}
