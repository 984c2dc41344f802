package commands_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// added is the one event of the tests' own area: a counter with a limit.
type added struct {
	Amount int `json:"amount"`
}

func (added) EventType() string { return "counter.added" }

type counter struct{ total int }

func (c counter) Evolve(f domain.Fact) domain.State {
	if f.Payload.(added).Amount == unfoldable {
		panic("an amount that no fold should meet")
	}
	c.total += f.Payload.(added).Amount
	return c
}
func (counter) Size() int { return 8 }

const (
	limit      = 1000
	unfoldable = 1_000_001
)

// add adds to a counter; above the limit it refuses. Linked counters are read, so
// that the command depends on them, and found only once the first is loaded.
type add struct {
	counter domain.Tag
	amount  int
	linked  []domain.Tag
	// also are counters that the event adds to, without being read.
	also     []domain.Tag
	subjects []string
	fresh    bool
	panics   bool
}

func (a add) Boundaries(r domain.Reader) []domain.Tag {
	named := []domain.Tag{a.counter}
	if domain.Read[counter](r, a.counter).total > 0 {
		named = append(named, a.linked...)
	}
	return named
}

func (a add) Fresh() []domain.Tag {
	if a.fresh {
		return []domain.Tag{a.counter}
	}
	return nil
}

func (a add) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if a.panics {
		panic("on purpose")
	}
	version := r.Version(a.counter)
	if m.IfMatch != nil && *m.IfMatch != version {
		return domain.Decision{}, problem.StaleVersion(version)
	}
	total := domain.Read[counter](r, a.counter).total
	d := domain.Decision{ResourceID: a.counter.Name(), Stream: a.counter, Created: version == 0}
	switch {
	case total+a.amount > limit:
		return domain.Decision{}, problem.New(problem.Conflict, "full", "The counter is full.")
	case a.amount == 0:
		return d, nil
	}
	d.Facts = []domain.Fact{{Stream: a.counter, Tags: a.also, Subjects: a.subjects, Payload: added{a.amount}}}
	return d, nil
}

type system struct {
	url   string
	store *eventstore.Store
}

func newSystem(t *testing.T) system {
	t.Helper()
	url := hubtest.Database(t, hubtest.Log())
	return system{url, eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand)))}
}

// loop starts one more loop, as another process would have, stopped after the test.
func (s system) loop(t *testing.T, kinds ...domain.EventKind) *commands.Loop {
	t.Helper()
	if kinds == nil {
		kinds = []domain.EventKind{domain.Kind[added]()}
	}
	l := commands.New(commands.Options{
		Store: eventstore.New(hubtest.Pool(t, s.url, string(eventstore.RoleCommand))), Codec: eventstore.NewCodec(kinds...),
		Folds: domain.Folds{"counter": counter{}}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
	})
	return l
}

func submission(d domain.Decider) commands.Submission {
	return commands.Submission{Decider: d, Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}}}
}

func keyed(d domain.Decider, key, hash string) commands.Submission {
	s := submission(d)
	s.IdempotencyKey, s.RequestHash = key, []byte(hash)
	return s
}

func (s system) total(t *testing.T, tag domain.Tag) (total int, events int) {
	t.Helper()
	recorded, err := s.store.Read(t.Context(), "acme", eventstore.Query{Stream: tag})
	require.NoError(t, err)
	for i, e := range recorded {
		var payload added
		require.NoError(t, json.Unmarshal(e.Data, &payload))
		require.Equal(t, int64(i+1), e.Version)
		total += payload.Amount
	}
	return total, len(recorded)
}

func TestSubmitAnswersWithPositionAndVersion(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	for n := int64(1); n <= 3; n++ {
		r, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 2}))
		require.NoError(t, err)
		assert.Equal(t, commands.Receipt{
			ID: "1", Version: n, Position: n, Created: n == 1,
			Events: []commands.ReceiptEvent{{Type: "counter.added", Position: n}},
		}, r)
	}
	noop, err := l.Submit(t.Context(), submission(add{counter: "counter:1"}))
	require.NoError(t, err)
	assert.Equal(t, commands.Receipt{ID: "1", Version: 3, Position: 3, Events: []commands.ReceiptEvent{}}, noop)
	// Another loop has nothing cached and must come to the same.
	r, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	assert.Equal(t, int64(4), r.Version)
	// Now the first one's cache is out of date.
	r, err = l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1, linked: []domain.Tag{"counter:2"}}))
	require.NoError(t, err)
	assert.Equal(t, int64(5), r.Version)
}

func TestARefusalIsDecidedOnTheNewestState(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	first, second := s.loop(t), s.loop(t)
	_, err := first.Submit(t.Context(), submission(add{counter: "counter:1", amount: limit}))
	require.NoError(t, err)
	_, err = second.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.Equal(t, "full", problem.Of(err).Code)
	_, err = second.Submit(t.Context(), submission(add{counter: "counter:1", amount: -limit}))
	require.NoError(t, err)
	// The first loop still has the full counter cached.
	_, err = first.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	first, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 5}, "k", "h"))
	require.NoError(t, err)
	for _, loop := range []*commands.Loop{l, s.loop(t)} {
		again, err := loop.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 5}, "k", "h"))
		require.NoError(t, err)
		assert.True(t, again.Replayed)
		again.Replayed = false
		assert.Equal(t, first, again)
	}
	_, err = l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 6}, "k", "other"))
	assert.Equal(t, "idempotency_key_reused", problem.Of(err).Code)

	_, refused := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: limit}, "r", "h"))
	require.Equal(t, "full", problem.Of(refused).Code)
	_, err = l.Submit(t.Context(), submission(add{counter: "counter:1", amount: -5}))
	require.NoError(t, err)
	r, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: limit}, "r", "h"))
	assert.Equal(t, problem.Of(refused), problem.Of(err), "a refusal is repeated although it would succeed now")
	assert.True(t, r.Replayed)

	noop, err := l.Submit(t.Context(), keyed(add{counter: "counter:1"}, "n", "h"))
	require.NoError(t, err)
	again, err := l.Submit(t.Context(), keyed(add{counter: "counter:1"}, "n", "h"))
	require.NoError(t, err)
	assert.Equal(t, noop.Position, again.Position)
	assert.Empty(t, again.Events)

	total, _ := s.total(t, "counter:1")
	assert.Zero(t, total)
}

// The same key from many callers at once, on two loops: one effect, one answer.
func TestOneKeyArrivingTogether(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	loops := []*commands.Loop{s.loop(t), s.loop(t)}
	for round := range 20 {
		start := make(chan struct{})
		var group sync.WaitGroup
		receipts := make([]commands.Receipt, 16)
		for i := range receipts {
			group.Go(func() {
				<-start
				r, err := loops[i%2].Submit(t.Context(), keyed(add{counter: "counter:1", amount: 1}, fmt.Sprint(round), "h"))
				assert.NoError(t, err)
				receipts[i] = r
			})
		}
		close(start)
		group.Wait()
		first := 0
		for _, r := range receipts {
			if !r.Replayed {
				first++
			}
			assert.Equal(t, int64(round+1), r.Position)
		}
		require.Equal(t, 1, first, "round %d", round)
	}
	total, events := s.total(t, "counter:1")
	assert.Equal(t, []int{20, 20}, []int{total, events})
}

// Two processes write one hot stream: none is refused, none lost, the limit holds.
func TestContentionRefusesNobodyAndLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	loops := []*commands.Loop{s.loop(t), s.loop(t)}
	start := make(chan struct{})
	var group sync.WaitGroup
	var mutex sync.Mutex
	accepted, full := 0, 0
	for i := range 2 * 550 {
		group.Go(func() {
			<-start
			_, err := loops[i%2].Submit(t.Context(), submission(add{counter: "counter:hot", amount: 1}))
			mutex.Lock()
			defer mutex.Unlock()
			switch {
			case err == nil:
				accepted++
			case problem.Of(err).Code == "full":
				full++
			default:
				assert.NoError(t, err)
			}
		})
	}
	close(start)
	group.Wait()
	total, events := s.total(t, "counter:hot")
	assert.Equal(t, limit, total)
	assert.Equal(t, limit, events)
	assert.Equal(t, limit, accepted)
	assert.Equal(t, 100, full)
}

// stopped is a loop that nobody runs, for turns put together by hand.
func (s system) stopped() *commands.Loop {
	return commands.New(commands.Options{
		Store: s.store, Codec: eventstore.NewCodec(domain.Kind[added]()), Folds: domain.Folds{"counter": counter{}},
		Log: slog.New(slog.DiscardHandler),
	})
}

func TestCommandsOfOneTurnSeeEachOther(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	for range 2 { // with an empty cache and with a filled one
		answers := l.Turn(t.Context(),
			submission(add{counter: "counter:1", amount: limit - 1}),
			submission(add{counter: "counter:1", amount: 2}),
			submission(add{counter: "counter:1", amount: 1}),
			submission(add{counter: "counter:1", amount: -limit}),
		)
		require.NoError(t, answers[0].Err)
		require.Equal(t, "full", problem.Of(answers[1].Err).Code)
		require.NoError(t, answers[2].Err)
		require.NoError(t, answers[3].Err)
		assert.Equal(t, answers[0].Receipt.Position+1, answers[2].Receipt.Position)
		assert.Equal(t, answers[0].Receipt.Version+1, answers[2].Receipt.Version)
	}
}

// A boundary that an event of the turn carries, and that is read only afterwards,
// shows that event.
func TestATurnSeesWhatItWroteToABoundaryItHadNotRead(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	_, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:other", amount: 1}))
	require.NoError(t, err)
	answers := l.Turn(t.Context(),
		submission(add{counter: "counter:1", amount: limit, also: []domain.Tag{"counter:late"}}),
		// This names counter:late only because of the effect of the first.
		submission(late{after: "counter:1", counter: "counter:late"}),
	)
	require.NoError(t, answers[0].Err)
	assert.Equal(t, "full", problem.Of(answers[1].Err).Code)
	// And what is cached of it afterwards is right.
	assert.Equal(t, "full", problem.Of(l.Turn(t.Context(), submission(add{counter: "counter:late", amount: 1}))[0].Err).Code)
}

// late adds one to a counter that it names when another is not empty.
type late struct{ after, counter domain.Tag }

func (c late) Boundaries(r domain.Reader) []domain.Tag {
	if domain.Read[counter](r, c.after).total == 0 {
		return []domain.Tag{c.after}
	}
	return []domain.Tag{c.after, c.counter}
}

func (c late) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	return add{counter: c.counter, amount: 1}.Decide(r, m)
}

// Under the lock a command may come to name a boundary that the cache has from long ago.
func TestASecondAttemptDoesNotTrustTheCache(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, other := s.stopped(), s.loop(t)
	require.NoError(t, l.Turn(t.Context(), submission(add{counter: "counter:late", amount: 1}))[0].Err)
	require.NoError(t, l.Turn(t.Context(), submission(add{counter: "counter:1"}))[0].Err)
	for _, tag := range []domain.Tag{"counter:late", "counter:1"} {
		_, err := other.Submit(t.Context(), submission(add{counter: tag, amount: 1}))
		require.NoError(t, err)
	}
	answer := l.Turn(t.Context(), submission(late{after: "counter:1", counter: "counter:late"}))[0]
	require.NoError(t, answer.Err)
	assert.Equal(t, int64(3), answer.Receipt.Version)
}

// A hub that stays up while its database is put back still has the states of events
// that are lost, at positions that other events may have by then.
func TestNothingIsDecidedOnEventsThatTheLogHasLost(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]int{"a shorter log": 0, "a log that has grown again": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			l := s.loop(t)
			submit := func(l *commands.Loop, amount int) (commands.Receipt, error) {
				for {
					r, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: amount}))
					// The connections of before are found broken, one by one.
					if p := problem.Of(err); p == nil || p.Kind != problem.Unavailable {
						return r, err
					}
				}
			}
			_, err := submit(l, 900)
			require.NoError(t, err)
			backup := hubtest.TakeBackup(t, s.url)
			r, err := submit(l, 90)
			require.NoError(t, err)
			require.EqualValues(t, 2, r.Version)

			backup.Restore(t)
			other := s.loop(t)
			for range meanwhile {
				_, err := submit(other, 10)
				require.NoError(t, err)
			}
			// Both on what was lost and on what is there, only the latter counts.
			r, err = submit(l, 50)
			require.NoError(t, err)
			require.EqualValues(t, 2+meanwhile, r.Version)
			_, err = submit(l, 60)
			require.Equal(t, "full", problem.Of(err).Code)
			s.store = eventstore.New(hubtest.Pool(t, s.url, string(eventstore.RoleCommand)))
			total, events := s.total(t, "counter:1")
			require.Equal(t, []int{950 + 10*meanwhile, 2 + meanwhile}, []int{total, events})
		})
	}
}

func TestIfMatchWinsOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	zero := int64(0)
	start := make(chan struct{})
	results := make(chan error, 16)
	for range cap(results) {
		go func() {
			<-start
			sub := submission(add{counter: "counter:1", amount: 1})
			sub.Meta.IfMatch = &zero
			_, err := l.Submit(t.Context(), sub)
			results <- err
		}()
	}
	close(start)
	won := 0
	for range cap(results) {
		if err := <-results; err == nil {
			won++
		} else {
			assert.Equal(t, map[string]any{"version": int64(1)}, problem.Of(err).Extra)
		}
	}
	assert.Equal(t, 1, won)
}

func TestAFaultOfOneCommandIsItsOwn(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1", panics: true}))
	require.Error(t, err)
	assert.Nil(t, problem.Of(err), "a fault of ours is not a problem of the caller's")
	_, err = l.Submit(t.Context(), submission(add{counter: "unknown:1", amount: 1}))
	require.ErrorContains(t, err, "no fold reads")
	_, err = l.Submit(t.Context(), submission(add{counter: "subject:1", amount: 1}))
	require.ErrorContains(t, err, "no fold reads")
	_, err = l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
}

func TestAnUnknownEventInABoundaryIsUnavailable(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	_, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	old := s.loop(t, []domain.EventKind{}...)
	_, err = old.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	assert.Equal(t, "unknown_event", problem.Of(err).Code)
	_, err = old.Submit(t.Context(), submission(add{counter: "counter:2"}))
	assert.NoError(t, err, "other boundaries are not affected")
}

// raw writes events of counters past the loop, each adding amount.
func (s system) raw(t *testing.T, counter domain.Tag, amount, events int) {
	t.Helper()
	_, err := hubtest.Pool(t, s.url, "").Exec(t.Context(), `
		WITH written AS (
		  INSERT INTO events
		  SELECT head + n, n, epoch, gen_random_uuid(), 'acme', $1, n, 'counter.added', 1, ARRAY[$1], '{}',
		         convert_to(json_build_object('amount', $2::int)::text, 'UTF8'), '{}', NULL,
		         NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('')
		    FROM log_head(), generate_series(1, $3) n RETURNING position)
		INSERT INTO event_tags SELECT 'acme', $1, position FROM written`, string(counter), amount, events)
	require.NoError(t, err)
}

// A boundary that cannot be decided on fails those who decide on it, on the first
// attempt and under the lock, and none of the others in their turn.
func TestABoundaryThatCannotBeReadFailsOnlyItsOwnCommands(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		amount, events int
		want           string
	}{
		"too long":    {0, 100_001, "more than 100000 events"},
		"no fold fit": {unfoldable, 1, "no fold should meet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			l := s.stopped()
			require.NoError(t, l.Turn(t.Context(), submission(add{counter: "counter:fine", amount: 1}))[0].Err)
			s.raw(t, "counter:bad", c.amount, c.events)
			for attempt := range 2 {
				answers := l.Turn(t.Context(),
					submission(add{counter: "counter:fine", amount: 1, linked: []domain.Tag{"counter:bad"}}),
					submission(add{counter: "counter:bad", amount: 1}),
					submission(add{counter: "counter:fine", amount: 1, also: []domain.Tag{"counter:bad"}}),
				)
				require.ErrorContains(t, answers[0].Err, c.want)
				require.ErrorContains(t, answers[1].Err, c.want)
				require.NoError(t, answers[2].Err)
				// Now the cache is behind, so that the next attempt ends under the lock.
				_, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:fine", amount: 1}))
				require.NoError(t, err, "attempt %d", attempt)
			}
			total, _ := s.total(t, "counter:fine")
			assert.Equal(t, 5, total)
		})
	}
}

func TestABoundaryIsReadInAsManyTripsAsItNeeds(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	const events = 4999
	s.raw(t, "counter:long", 0, events)
	r, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:long", amount: 1}))
	require.NoError(t, err)
	assert.EqualValues(t, events+1, r.Version)
}

// What PostgreSQL refuses of one command must not cost its neighbours.
func TestDataThatTheLogRefusesFailsOnlyItsOwnCommand(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	bad := submission(add{counter: "counter:1", amount: 1})
	bad.Meta.Reason = "a null\x00byte"
	answers := s.stopped().Turn(t.Context(),
		submission(add{counter: "counter:1", amount: 1}), bad, submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, answers[0].Err)
	require.Error(t, answers[1].Err)
	assert.Nil(t, problem.Of(answers[1].Err), "sending it again would not help")
	require.NoError(t, answers[2].Err)
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 2, total)
}

func TestASubjectNamedTwiceIsOneTag(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	require.NoError(t, s.stopped().Turn(t.Context(), submission(add{counter: "counter:1", amount: 1, subjects: []string{"p", "p"}}))[0].Err)
}

// The key was used long ago; a stranger's request with it comes first in the turn.
func TestReplaysBehindAReusedKey(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.stopped()
	first := l.Turn(t.Context(), keyed(add{counter: "counter:1", amount: 1}, "k", "ours"))[0]
	require.NoError(t, first.Err)
	answers := l.Turn(t.Context(),
		keyed(add{counter: "counter:1", amount: 2}, "k", "other"), keyed(add{counter: "counter:1", amount: 1}, "k", "ours"),
		keyed(add{counter: "counter:1", amount: 3}, "k", "third"), keyed(add{counter: "counter:1", amount: 1}, "k", "ours"))
	for i, reused := range []bool{true, false, true, false} {
		if reused {
			assert.Equal(t, "idempotency_key_reused", problem.Of(answers[i].Err).Code)
			continue
		}
		require.NoError(t, answers[i].Err)
		assert.True(t, answers[i].Receipt.Replayed)
		assert.Equal(t, first.Receipt.Position, answers[i].Receipt.Position)
	}
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 1, total)
}

func TestOneCommandTwiceInATurnIsDoneOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	sub := submission(add{counter: "counter:1", amount: 1})
	sub.Meta.CommandID = uuid.Must(uuid.NewV7())
	answers := s.stopped().Turn(t.Context(), sub, sub)
	require.NoError(t, answers[0].Err)
	require.NoError(t, answers[1].Err)
	assert.Equal(t, answers[0].Receipt.Position, answers[1].Receipt.Position)
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 1, total)
}

func TestAFreshBoundaryThatIsTakenIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	r, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: 1, fresh: true}))
	require.NoError(t, err)
	assert.Equal(t, int64(2), r.Version)
}

func TestResubmittingACommandAnswersItOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	sub := submission(add{counter: "counter:1", amount: 1})
	sub.Meta.CommandID = uuid.Must(uuid.NewV7())
	first, err := s.loop(t).Submit(t.Context(), sub)
	require.NoError(t, err)
	second, err := s.loop(t).Submit(t.Context(), sub)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	_, events := s.total(t, "counter:1")
	assert.Equal(t, 1, events)
}

func TestAnEventThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	sub := submission(add{counter: "counter:1", amount: 1})
	sub.Meta.Reason = strings.Repeat("x", eventstore.MaxEventBytes)
	_, err := l.Submit(t.Context(), sub)
	assert.Equal(t, "event_too_large", problem.Of(err).Code)
	_, events := s.total(t, "counter:1")
	assert.Zero(t, events)
}

func TestAStoppedLoopSaysSo(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := commands.New(commands.Options{Store: s.store, Codec: eventstore.NewCodec(), Folds: domain.Folds{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(ctx)
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1"}))
	assert.Equal(t, "shutting_down", problem.Of(err).Code)
}

func TestAQueueThatIsFullRefusesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	// Nobody runs this loop, so what is submitted stays queued.
	l := commands.New(commands.Options{Store: s.store, Codec: eventstore.NewCodec(), Folds: domain.Folds{}, Log: slog.New(slog.DiscardHandler)})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 4096 {
		_, err := l.Submit(gone, submission(add{counter: "counter:1"}))
		require.Equal(t, "outcome_unknown", problem.Of(err).Code)
	}
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1"}))
	assert.Equal(t, "overloaded", problem.Of(err).Code)
	assert.Positive(t, problem.Of(err).RetryAfter)
}
