package commands_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// The connection breaks between commit and answer. The loop asks again and finds what
// it did, on the first attempt and on one that held the lock; a retry with the key
// finds it too, and one without is another command.
func TestAnAnswerLostAfterTheCommit(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	proxy := hubtest.PostgresProxy(t, s.url)
	l, other := s.loopAt(t, proxy.Through(t, s.url)), s.loop(t)
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	for round, loses := range []string{"append_events(", "commit", "append_events(", "commit"} {
		if loses == "commit" {
			// What the loop has cached is behind, so that it decides again under the lock.
			_, err := other.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
			require.NoError(t, err)
		}
		_, before := s.total(t, "counter:1")
		lost := proxy.LoseReply(hubtest.Executes(loses))
		key := fmt.Sprint(round)
		first, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 1}, key, "h"))
		require.NoError(t, err)
		<-lost
		assert.False(t, first.Replayed, "the caller has not been answered before")
		_, after := s.total(t, "counter:1")
		assert.Equal(t, before+1, after, "done once, after losing %s", loses)

		again, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 1}, key, "h"))
		require.NoError(t, err)
		assert.True(t, again.Replayed)
		again.Replayed = false
		assert.Equal(t, first, again)
		another, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
		require.NoError(t, err)
		assert.Equal(t, first.Version+1, another.Version)
	}
}

// The answer is lost and the log does not come back in time: nobody can say. Later the
// key tells, and what the loop had cached is not trusted.
func TestAnOutcomeThatCannotBeSettled(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	proxy := hubtest.PostgresProxy(t, s.url)
	l := s.loopAt(t, proxy.Through(t, s.url))
	_, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: limit - 1}))
	require.NoError(t, err)
	l.SettleWithin(5 * time.Second) // time for an append on a slow machine
	reply := proxy.CatchReply(hubtest.Executes("append_events("))
	answered := make(chan error, 2)
	go func() {
		_, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 1}, "k", "h"))
		answered <- err
	}()
	hubtest.Wait(t, 30*time.Second, "the append", reply.Arrived())
	proxy.Refuse()
	reply.Cut()
	assert.Equal(t, "outcome_unknown", problem.Of(<-answered).Code)
	l.SettleWithin(time.Minute)
	would := dry(submission(add{counter: "counter:1"}))
	_, err = l.Submit(t.Context(), would)
	assert.Equal(t, "log_unavailable", problem.Of(err).Code, "while the log is away nothing is done")
	proxy.Accept()

	r, err := l.Submit(t.Context(), keyed(add{counter: "counter:1", amount: 1}, "k", "h"))
	require.NoError(t, err)
	assert.True(t, r.Replayed)
	assert.Equal(t, int64(2), r.Version)
	_, err = l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	assert.Equal(t, "full", problem.Of(err).Code)
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, limit, total)
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

// Somebody's long transaction, here or in another database of the server, holds up
// neither writers nor readers.
func TestALongTransactionDelaysNobody(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	for _, url := range []string{s.url, hubtest.Database(t, hubtest.Log())} {
		tx, err := hubtest.Pool(t, url, "").Begin(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
		_, err = tx.Exec(t.Context(), `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`)
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `CREATE TABLE long_ago AS SELECT txid_current()`)
		require.NoError(t, err)
	}
	l := s.loop(t)
	for n := int64(1); n <= 50; n++ {
		r, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
		require.NoError(t, err)
		require.Equal(t, n, r.Position)
		_, events := s.total(t, "counter:1")
		require.EqualValues(t, n, events, "what is acknowledged can be read")
	}
}

// A caller who goes away before its turn has done nothing; one who goes away during it
// cannot know.
func TestACallerWhoGoesAway(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	deciding, proceed := make(chan struct{}), make(chan struct{})
	answered := make(chan error, 2)
	during, leave := context.WithCancel(t.Context())
	go func() {
		_, err := l.Submit(during, submission(waiting{add{counter: "counter:1", amount: 1}, deciding, proceed}))
		answered <- err
	}()
	<-deciding
	before, gone := context.WithCancelCause(t.Context())
	go func() {
		_, err := l.Submit(before, submission(add{counter: "counter:2", amount: 1}))
		answered <- err
	}()
	gone(context.DeadlineExceeded)
	err := <-answered
	assert.Equal(t, "cancelled", problem.Of(err).Code)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	leave()
	assert.Equal(t, "outcome_unknown", problem.Of(<-answered).Code)
	close(proceed)
	r, err := l.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	assert.Equal(t, int64(2), r.Version)
	assert.Equal(t, int64(2), r.Position, "the other was never taken up")
}

// waiting is decided when it is let.
type waiting struct {
	add
	deciding, proceed chan struct{}
}

func (w waiting) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	select {
	case <-w.proceed: // a second attempt, too
	default:
		close(w.deciding)
		<-w.proceed
	}
	return w.add.Decide(r, m)
}
