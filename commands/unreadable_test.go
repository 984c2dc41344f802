package commands_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
)

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
			l.SettleWithin(2 * time.Minute) // a hundred thousand events, on a slow machine
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

func TestAnEventThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l := s.loop(t)
	large := submission(add{counter: "counter:1", amount: 1})
	large.Meta.Reason = strings.Repeat("x", eventstore.MaxEventBytes)
	wide := add{counter: "counter:1", amount: 1}
	for i := range 1000 {
		wide.also = append(wide.also, domain.NewTag("counter", fmt.Sprintf("0190aaaa-0000-7000-8000-%012d", i)))
	}
	for _, sub := range []commands.Submission{large, submission(wide)} {
		_, err := l.Submit(t.Context(), sub)
		assert.Equal(t, "event_too_large", problem.Of(err).Code)
	}
	_, events := s.total(t, "counter:1")
	assert.Zero(t, events)
}

// Events of an older schema version are read as the current one says; one of a newer
// version makes its boundary unavailable, and nothing else.
func TestSchemaVersionsWithinABoundary(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.raw(t, "counter:1", 3, 2)
	tenfold := func(data json.RawMessage) (json.RawMessage, error) {
		var old added
		err := json.Unmarshal(data, &old)
		return fmt.Appendf(nil, `{"amount":%d}`, 10*old.Amount), err
	}
	newer := s.loop(t, domain.Kind[added](tenfold))
	r, err := newer.Submit(t.Context(), by("ana", add{counter: "counter:1", amount: 5}))
	require.NoError(t, err)
	assert.Equal(t, counter{65}, r.Resource.State)

	older := s.loop(t)
	for range 2 { // on the first attempt and when it is known
		_, err = older.Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
		p := problem.Of(err)
		require.NotNil(t, p, "%v", err)
		assert.Equal(t, "unknown_event", p.Code)
		assert.Equal(t, problem.Unavailable, p.Kind)
		assert.Positive(t, p.RetryAfter)
		_, err = older.Submit(t.Context(), submission(add{counter: "counter:2", amount: 1}))
		require.NoError(t, err)
	}
}

// endless names one more boundary whenever it is asked.
type endless struct{ asked *int }

func (e endless) Boundaries(domain.Reader) (named []domain.Tag) {
	*e.asked++
	for n := range *e.asked {
		named = append(named, domain.NewTag("counter", fmt.Sprint("endless", n)))
	}
	return named
}

func (endless) Decide(domain.Reader, domain.Meta) (domain.Decision, error) {
	panic("nothing is decided before all boundaries are named")
}

// A command that never stops naming boundaries fails, and nobody else.
func TestBoundariesAreNamedInBoundedRounds(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	answers := s.stopped().Turn(t.Context(),
		submission(add{counter: "counter:1", amount: 1}), submission(endless{new(int)}), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, answers[0].Err)
	require.ErrorContains(t, answers[1].Err, "named further boundaries")
	require.NoError(t, answers[2].Err)
}
