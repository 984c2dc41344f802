package commands_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// The same key from many callers at once, on two loops: one effect, one answer.
func TestOneKeyArrivingTogether(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	loops := []*commands.Loop{s.loop(t), s.loop(t)}
	for round := range 150 {
		start := make(chan struct{})
		var group sync.WaitGroup
		receipts := make([]commands.Receipt, 8)
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
	assert.Equal(t, []int{150, 150}, []int{total, events})
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

// together calls do from n goroutines at once, released before any of them has begun.
func together(n int, do func(i int)) {
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	group.Wait()
}

// exclusive adds one to a counter if another is empty.
type exclusive struct{ counter, other domain.Tag }

func (x exclusive) Boundaries(domain.Reader) []domain.Tag { return []domain.Tag{x.counter, x.other} }

func (x exclusive) Decide(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
	if domain.Read[counter](r, x.other).total > 0 {
		return domain.Decision{}, problem.New(problem.Conflict, "excluded", "The other counter is not empty.")
	}
	return domain.Decision{ResourceID: x.counter.Name(), Stream: x.counter, Facts: []domain.Fact{{Stream: x.counter, Payload: added{1}}}}, nil
}

// claim makes a counter of its own that has a name, if nobody has the name.
type claim struct{ counter, name domain.Tag }

func (c claim) Boundaries(domain.Reader) []domain.Tag { return []domain.Tag{c.counter, c.name} }

func (c claim) Decide(r domain.Reader, _ domain.Meta) (domain.Decision, error) {
	if domain.Read[counter](r, c.name).total > 0 {
		return domain.Decision{}, problem.New(problem.Conflict, "taken", "The name is taken.")
	}
	return domain.Decision{ResourceID: c.counter.Name(), Stream: c.counter, Facts: []domain.Fact{{Stream: c.counter, Tags: []domain.Tag{c.name}, Payload: added{1}}}}, nil
}

// Racers on two loops, released before anybody has read anything, hundreds of times:
// whatever they decide on, the outcome is one of some order of them.
func TestRacersOnTwoLoops(t *testing.T) {
	t.Parallel()
	const rounds, racers = 200, 6
	zero := int64(0)
	for name, c := range map[string]struct {
		racer func(round, i int) commands.Submission
		// accepted is how many of a round must win; the others must have this code.
		accepted int
		code     string
	}{
		"one stream": {func(round, _ int) commands.Submission {
			return submission(add{counter: domain.NewTag("counter", fmt.Sprint(round)), amount: 1})
		}, racers, ""},
		"one stream with If-Match": {func(round, _ int) commands.Submission {
			s := submission(add{counter: domain.NewTag("counter", fmt.Sprint(round)), amount: 1})
			s.Meta.IfMatch = &zero
			return s
		}, 1, "version_conflict"},
		"an empty boundary": {func(round, i int) commands.Submission {
			return submission(claim{domain.NewTag("counter", fmt.Sprint(round, "-", i)), domain.NewTag("counter", fmt.Sprint("name", round))})
		}, 1, "taken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			loops := []*commands.Loop{s.loop(t), s.loop(t)}
			for round := range rounds {
				receipts, errs := make([]commands.Receipt, racers), make([]error, racers)
				together(racers, func(i int) { receipts[i], errs[i] = loops[i%2].Submit(t.Context(), c.racer(round, i)) })
				accepted, versions := 0, map[int64]bool{}
				for i, err := range errs {
					if err == nil {
						accepted++
						versions[receipts[i].Version] = true
						continue
					}
					p := problem.Of(err)
					require.NotNil(t, p, "%v", err)
					require.Equal(t, c.code, p.Code)
				}
				require.Equal(t, c.accepted, accepted, "round %d", round)
				for version := range int64(accepted) {
					require.True(t, versions[version+1], "round %d: version %d", round, version+1)
				}
			}
			position, _, err := s.store.Head(t.Context())
			require.NoError(t, err)
			assert.EqualValues(t, rounds*c.accepted, position)
		})
	}
}

// Three counters in a ring, each of which may be filled only while the next is empty:
// every racer decides on two of them, no two on the same two. Whoever is second among
// neighbours must have seen the first.
func TestRacersOnOverlappingBoundaries(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	loops := []*commands.Loop{s.loop(t), s.loop(t)}
	for round := range 200 {
		counters := make([]domain.Tag, 3)
		for i := range counters {
			counters[i] = domain.NewTag("counter", fmt.Sprint(round, "-", i))
		}
		receipts, errs := make([]commands.Receipt, 3), make([]error, 3)
		together(3, func(i int) {
			receipts[i], errs[i] = loops[(round+i)%2].Submit(t.Context(), submission(exclusive{counters[i], counters[(i+1)%3]}))
		})
		for i, err := range errs {
			next := (i + 1) % 3
			if err != nil {
				require.Equal(t, "excluded", problem.Of(err).Code)
				require.NoError(t, errs[next], "round %d: %d was refused for one that never was", round, i)
				continue
			}
			// Its neighbour was filled afterwards, if at all.
			require.False(t, errs[next] == nil && receipts[next].Position < receipts[i].Position, "round %d", round)
		}
	}
}

// One key for two different requests, on two loops: one of them is done.
func TestOneKeyForTwoRequestsArrivingTogether(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	loops := []*commands.Loop{s.loop(t), s.loop(t)}
	for round := range 150 {
		errs := make([]error, 2)
		together(2, func(i int) {
			_, errs[i] = loops[i].Submit(t.Context(), keyed(add{counter: "counter:1", amount: 1}, fmt.Sprint(round), fmt.Sprint(i)))
		})
		if errs[0] == nil {
			errs[0], errs[1] = errs[1], errs[0]
		}
		require.NoError(t, errs[1])
		require.Equal(t, "idempotency_key_reused", problem.Of(errs[0]).Code, "round %d", round)
	}
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, 150, total)
}

// The second of a turn is refused for what the first would have done; the first turns
// out to be too late. The refusal is decided again.
func TestARefusalForAnEffectThatNeverWas(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	l, one := s.stopped(), int64(1)
	require.NoError(t, l.Turn(t.Context(), submission(add{counter: "counter:1", amount: limit - 10}))[0].Err)
	_, err := s.loop(t).Submit(t.Context(), submission(add{counter: "counter:1", amount: 1}))
	require.NoError(t, err)
	first := submission(add{counter: "counter:1", amount: 10})
	first.Meta.IfMatch = &one
	answers := l.Turn(t.Context(), first, submission(add{counter: "counter:1", amount: 9}), keyed(add{counter: "counter:1", amount: 1}, "k", "h"))
	assert.Equal(t, "version_conflict", problem.Of(answers[0].Err).Code)
	require.NoError(t, answers[1].Err, "it fits now that the first is not done")
	assert.Equal(t, "full", problem.Of(answers[2].Err).Code)
	again := l.Turn(t.Context(), keyed(add{counter: "counter:1", amount: 1}, "k", "h"))[0]
	assert.Equal(t, answers[2].Err, again.Err, "what is kept is what was decided last")
	total, _ := s.total(t, "counter:1")
	assert.Equal(t, limit, total)
}

// The log goes from its first partition into the second while two loops write it.
func TestTheLogCrossesAPartitionUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	const last = 1<<24 - 40
	_, err := hubtest.Pool(t, s.url, "").Exec(t.Context(), `INSERT INTO events
		SELECT $1, 1, epoch, gen_random_uuid(), 'acme', 'counter:0', 1, 'counter.added', 1, '{counter:0}', '{}', '{}', '{}', NULL,
		       NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('') FROM log_head()`, last)
	require.NoError(t, err)
	loops := []*commands.Loop{s.loop(t), s.loop(t)}
	together(8, func(i int) {
		for n := range 10 {
			_, err := loops[i%2].Submit(t.Context(), keyed(add{counter: domain.NewTag("counter", fmt.Sprint(1+i%3)), amount: 1}, fmt.Sprint(i, "-", n), "h"))
			assert.NoError(t, err)
		}
	})
	events, err := s.store.Read(t.Context(), "acme", eventstore.Query{After: last})
	require.NoError(t, err)
	require.Len(t, events, 80)
	for i, e := range events {
		require.EqualValues(t, last+1+i, e.Position)
		require.EqualValues(t, 2+i, e.OrgPosition)
	}
}
