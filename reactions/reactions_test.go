package reactions

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestEventsAreReactedToInOrder(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	h.note(t, "a", "1", "2")
	engine, stop := h.run(t, h.options)
	h.note(t, "b", "3")
	h.note(t, "a", "4")
	h.copied(t, "1", "2", "3", "4")
	h.until(t, "the status tells", func() bool { return engine.Status()[0].Position == 8 })
	require.Equal(t, []Status{{Name: "copying", Leading: true, Position: 8}}, engine.Status())

	// The place passes events that are nothing to react to, here the copies.
	stop()
	require.EqualValues(t, 8, h.listing(t).Position)
	require.Equal(t, []Status{{Name: "copying"}}, engine.Status())
}

// Contract: §4. What the log says of a command that a reaction gave.
func TestCommandsSayWhoseTheyAre(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	position := h.note(t, "a", "x")
	h.run(t, h.options)
	h.copied(t, "x")
	var causes, correlates bool
	var actor string
	require.NoError(t, h.admin.QueryRow(t.Context(), `
		SELECT c.causation_id = n.id::text, c.correlation_id = n.correlation_id, c.actor->>'sub'
		  FROM events n, events c WHERE n.position = $1 AND c.type = 'note.copied'`, position).Scan(&causes, &correlates, &actor))
	require.True(t, causes)
	require.True(t, correlates)
	require.Equal(t, "system:reactor", actor)
}

func TestNewReactionBeginsAtTheEndOfTheLog(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.note(t, "a", "before")
	h.run(t, h.options)
	h.until(t, "it has begun", func() bool {
		listings, err := List(t.Context(), h.options.Pool)
		require.NoError(t, err)
		return len(listings) == 1
	})
	h.note(t, "a", "after")
	h.copied(t, "after")
}

// A process dies after its command is on disk and before its place has moved: the
// event comes again, and its effect is there once.
func TestKilledBetweenCommandAndPlaceTheEffectIsThereOnce(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	h.note(t, "a", "1")
	options, written := h.options, make(chan struct{}, 1)
	options.Submit = func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
		_, err := h.loop.Submit(ctx, s)
		if err == nil {
			written <- struct{}{}
		}
		<-ctx.Done()
		return commands.Receipt{}, ctx.Err()
	}
	_, kill := h.run(t, options)
	hubtest.Wait(t, patience, "the command", written)
	kill()
	require.EqualValues(t, 0, h.listing(t).Position)
	require.Empty(t, h.listing(t).Items)

	h.note(t, "a", "2")
	h.run(t, h.options)
	h.copied(t, "1", "2")
}

// Nothing overtakes a parked event in its stream; other streams go on. After the fix
// the stream follows by itself.
func TestParkedEventHoldsUpItsStreamOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, reason string
		attempts     int
	}{
		{refused, "not_today: Try another day.", 1}, // trying again at once cannot help
		{panics, "the reaction panicked; the log says where", maxAttempts},
		{errs, "the reaction failed; the log says why", maxAttempts},
	} {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.begin(t)
			position := h.note(t, "a", c.text, "a2", "a3")
			h.run(t, h.options)
			h.note(t, "b", "b1")
			h.copied(t, "b1")
			parked := h.parked(t, 3)
			require.Equal(t, []string{c.reason, behindReason, behindReason}, []string{parked[0].Reason, parked[1].Reason, parked[2].Reason})
			require.Equal(t, []int{c.attempts, 0, 0}, []int{parked[0].Attempts, parked[1].Attempts, parked[2].Attempts})
			require.Equal(t, []int64{position - 2, position - 1, position}, []int64{parked[0].Position, parked[1].Position, parked[2].Position})
			require.Equal(t, "note:a", parked[0].Stream)

			// A retry before the fix changes nothing but the count.
			asked, err := Retry(t.Context(), h.options.Pool, "copying", parked[0].Position)
			require.NoError(t, err)
			require.EqualValues(t, 1, asked)
			h.until(t, "it was tried again", func() bool { return h.parked(t, 3)[0].Attempts == 2*c.attempts })
			require.False(t, h.parked(t, 3)[0].Retry)

			h.fails.Store(false)
			_, err = Retry(t.Context(), h.options.Pool, "copying", 0)
			require.NoError(t, err)
			h.copied(t, "b1", c.text, "a2", "a3")
			h.parked(t, 0)
			h.note(t, "a", "a4")
			h.copied(t, "b1", c.text, "a2", "a3", "a4")
		})
	}
}

func TestDroppedEventIsGivenUpAndItsStreamGoesOn(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	h.note(t, "a", refused, "a2", refused, "a4")
	h.run(t, h.options)
	parked := h.parked(t, 4)
	dropped, err := Drop(t.Context(), h.options.Pool, "copying", parked[0].Position)
	require.NoError(t, err)
	require.EqualValues(t, 1, dropped)
	h.copied(t, "a2")
	h.until(t, "the next is parked for its own sake", func() bool { return h.parked(t, 2)[0].Attempts == 1 })
	dropped, err = Drop(t.Context(), h.options.Pool, "copying", 0)
	require.NoError(t, err)
	require.EqualValues(t, 2, dropped)
	h.note(t, "a", "a5")
	h.copied(t, "a2", "a5")
}

func TestUnknownReactionsAreRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	_, err := Retry(t.Context(), h.options.Pool, "nothing", 0)
	require.ErrorIs(t, err, ErrUnknownReaction)
	_, err = Drop(t.Context(), h.options.Pool, "nothing", 0)
	require.ErrorIs(t, err, ErrUnknownReaction)
}

// An event that this program cannot decode is parked at once.
func TestUnreadableEventIsParked(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	_, err := eventstore.New(hubtest.Pool(t, h.url, string(eventstore.RoleCommand))).Append(t.Context(), eventstore.Turn{Outcomes: []eventstore.Outcome{{
		Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, CommandID: uuid.New()}, ResourceID: "1", Version: 1,
		Events: []eventstore.NewEvent{{ID: uuid.New(), Stream: "note:x", Version: 1, Type: "note.noted", SchemaVersion: 7, Tags: []domain.Tag{"note:x"}, Data: []byte(`{}`)}},
	}}})
	require.NoError(t, err)
	h.run(t, h.options)
	h.note(t, "a", "1")
	h.copied(t, "1")
	require.Equal(t, "the event cannot be read by this program", h.parked(t, 1)[0].Reason)
}

// What is not the event's fault is waited for, as long as it takes, and shown.
func TestLogThatIsAwayParksNothing(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	var away atomic.Bool
	away.Store(true)
	h.options.Submit = func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
		if away.Load() {
			return commands.Receipt{}, problem.New(problem.Unavailable, "log_unavailable", "Later.")
		}
		return h.loop.Submit(ctx, s)
	}
	engine, _ := h.run(t, h.options)
	h.note(t, "a", "1", "2")
	h.until(t, "it shows", func() bool { return engine.Status()[0].Err == errWaiting.Error() })
	require.Empty(t, h.copies(t))
	away.Store(false)
	h.copied(t, "1", "2")
	require.Empty(t, h.listing(t).Items)
	h.until(t, "it is over", func() bool { return engine.Status()[0].Err == "" })
}

// Several processes have the reaction; one does it, and when it ends another goes on.
func TestOneOfSeveralReactsAndIsReplaced(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	var engines []*Engine
	var stops []func()
	for range 3 {
		engine, stop := h.run(t, h.options)
		engines, stops = append(engines, engine), append(stops, stop)
	}
	leader := func() int {
		found := -1
		h.until(t, "one leads", func() bool {
			found = -1
			for i, engine := range engines {
				if engine.Status()[0].Leading {
					require.Negative(t, found, "two at once")
					found = i
				}
			}
			return found >= 0
		})
		return found
	}
	var want []string
	for round := range 3 {
		i := leader()
		for n := range 10 {
			want = append(want, fmt.Sprint(round, "-", n))
			h.note(t, fmt.Sprint(n%3), want[len(want)-1])
		}
		if round < 2 {
			stops[i]()
		}
	}
	h.copied(t, want...)
}

// Two that both take themselves for the leader do no harm: one place moves, once, and
// the commands have the same ids.
func TestTwoLeadersDoNoHarm(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	var want []string
	for n := range 20 {
		want = append(want, fmt.Sprint(n))
	}
	h.note(t, "a", want...)
	// The lease of each is its own.
	for i := range 2 {
		engine := newEngine(h.options, []Reaction{copying(h.fails)})
		other := newSubscriber(h.options, Reaction{Name: fmt.Sprint("other", string(rune('a'+i)))})
		engine.subscribers[0].lease = other.lease
		h.runEngine(t, engine)
	}
	h.copied(t, want...)
	h.note(t, "a", "last")
	h.copied(t, append(want, "last")...)
}

func TestReactionFollowsJetStreamAndGoesOnWithoutIt(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.begin(t)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.note(t, "a", "1", "2")
	published := h.publish(t, broker.JetStream, 0)
	h.run(t, h.options)
	h.copied(t, "1", "2")
	h.note(t, "a", "3")
	h.publish(t, broker.JetStream, published)
	h.copied(t, "1", "2", "3")
	broker.Stop()
	h.note(t, "a", "4")
	h.copied(t, "1", "2", "3", "4")
}

// A reaction that would park without end stops instead.
func TestParkingIsBounded(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	_, err := h.admin.Exec(t.Context(), `
		INSERT INTO reaction_parked SELECT 'copying', 1000000 + n, gen_random_uuid(), 'acme', 'note:' || n, 'h', 'note.noted', 'x', 1, false, now()
		  FROM generate_series(1, $1) n`, maxParked)
	require.NoError(t, err)
	h.note(t, "a", refused)
	engine, _ := h.run(t, h.options)
	h.until(t, "it shows", func() bool { return engine.Status()[0].Err == errWaiting.Error() })
	require.EqualValues(t, maxParked, h.listing(t).Parked)
	require.Len(t, h.listing(t).Items, maxListed)
	_, err = Drop(t.Context(), h.options.Pool, "copying", 1000001)
	require.NoError(t, err)
	h.until(t, "it goes on", func() bool { return h.listing(t).Items[0].Position == 1 })
}

// The message of an event holds all of it.
func TestMessageIsTheEvent(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.note(t, "a", "1")
	entries, err := h.options.Store.ReadLog(t.Context(), 0, 1)
	require.NoError(t, err)
	msg := newMessage(t.Context(), entries[0].Event)
	require.Equal(t, entries[0].ID.String(), msg.UUID)
	event, err := eventOf(msg)
	require.NoError(t, err)
	require.Equal(t, entries[0].Event, event)
}

// The log has lost its end, and the place of the reaction with it: it goes back to where
// the histories part, and what was parked of the lost end goes.
func TestReactionGoesBackToWhereTheLogForked(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.begin(t)
	last := h.note(t, "a", "1", "2")
	_, stop := h.run(t, h.options)
	h.copied(t, "1", "2")
	stop()
	_, err := h.admin.Exec(t.Context(), `
		WITH lost AS (UPDATE reaction_checkpoints SET position = position + 100)
		INSERT INTO reaction_parked VALUES ('copying', 1, gen_random_uuid(), 'acme', 'note:z', 'h', 'note.noted', 'x', 1, true, now()),
		                                   ('copying', 90, gen_random_uuid(), 'acme', 'note:y', 'h', 'note.noted', 'x', 1, true, now())`)
	require.NoError(t, err)
	_, err = h.admin.Exec(t.Context(), `INSERT INTO log_epochs (number, after_position, fork_position)
		SELECT 2, head, $1 FROM log_head()`, last)
	require.NoError(t, err)
	h.note(t, "a", "3")
	h.run(t, h.options)
	h.copied(t, "1", "2", "3")
	h.parked(t, 0)
}
