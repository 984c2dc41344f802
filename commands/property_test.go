package commands_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
)

// attempt is a command and how it went: what was known to be in the log when it was
// sent, and what was in it when it was answered.
type attempt struct {
	decider       domain.Decider
	meta          domain.Meta
	before, after int64
	receipt       commands.Receipt
	err           error
}

// Whatever clients do at the same time over several loops, the log and all answers are
// those of one order of the commands, in which each stands between its request and its
// answer.
func TestAnyInterleavingEqualsSomeOrder(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	loops := []*commands.Loop{s.loop(t), s.loop(t), s.loop(t)}
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		prefix := fmt.Sprint(run, "-")
		clients := rapid.SliceOfN(rapid.SliceOfN(attempts(prefix), 1, 6), 2, 6).Draw(r, "clients")
		start, _, err := s.store.Head(t.Context())
		require.NoError(r, err)
		var group sync.WaitGroup
		released := make(chan struct{})
		for i, script := range clients {
			group.Go(func() {
				<-released
				for n := range script {
					s.do(t, loops[(i+n)%len(loops)], &script[n])
				}
			})
		}
		close(released)
		group.Wait()
		if t.Failed() {
			return
		}
		log := s.history(t, start)
		for _, script := range clients {
			for _, a := range script {
				a.explain(r, log, start)
			}
		}
		log.isOfThem(r, clients)
	})
}

// attempts draws commands on three counters that refuse, change nothing, depend on one
// another and expect versions.
func attempts(prefix string) *rapid.Generator[attempt] {
	return rapid.Custom(func(t *rapid.T) attempt {
		tag := rapid.Map(rapid.IntRange(0, 2), func(i int) domain.Tag { return domain.NewTag("counter", fmt.Sprint(prefix, i)) })
		a := attempt{meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, CommandID: uuid.Must(uuid.NewV7())}}
		if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
			a.decider = exclusive{tag.Draw(t, "counter"), tag.Draw(t, "other")}
			return a
		}
		a.decider = add{
			counter: tag.Draw(t, "counter"), amount: rapid.SampledFrom([]int{0, 1, 400, 600, -500}).Draw(t, "amount"),
			linked: rapid.SliceOfN(tag, 0, 1).Draw(t, "linked"),
		}
		if rapid.Bool().Draw(t, "conditional") {
			version := rapid.Int64Range(0, 3).Draw(t, "version")
			a.meta.IfMatch = &version
		}
		return a
	})
}

func (s system) do(t *testing.T, l *commands.Loop, a *attempt) {
	t.Helper()
	var err error
	if a.before, _, err = s.store.Head(t.Context()); err != nil {
		t.Error(err)
	}
	a.receipt, a.err = l.Submit(t.Context(), commands.Submission{Decider: a.decider, Meta: a.meta})
	if a.after, _, err = s.store.Head(t.Context()); err != nil {
		t.Error(err)
	}
	if a.err != nil && problem.Of(a.err) == nil {
		t.Error(a.err)
	}
}

// history is the log from a position on, with the states after each event.
type history struct {
	events []domain.Event
	states []model
}

// model is the state of all counters, as a Reader.
type model struct {
	totals   map[domain.Tag]int
	versions map[domain.Tag]int64
}

func (m model) State(tag domain.Tag) domain.State { return counter{m.totals[tag]} }
func (m model) Version(tag domain.Tag) int64      { return m.versions[tag] }

// Counters have nothing that is sealed.
func (m model) Open(domain.Sealed) (json.RawMessage, error) { return nil, domain.ErrErased }
func (m model) Token(string, string) string                 { return "" }

func (s system) history(t *testing.T, start int64) history {
	t.Helper()
	now := model{map[domain.Tag]int{}, map[domain.Tag]int64{}}
	h := history{states: []model{now}}
	for after := start; ; {
		events, err := s.store.Read(t.Context(), "acme", eventstore.Query{After: after})
		require.NoError(t, err)
		if len(events) == 0 {
			return h
		}
		for _, e := range events {
			after++
			require.Equal(t, after, e.Position, "no gap")
			var data added
			require.NoError(t, json.Unmarshal(e.Data, &data))
			next := model{map[domain.Tag]int{}, map[domain.Tag]int64{}}
			for tag, total := range now.totals {
				next.totals[tag], next.versions[tag] = total, now.versions[tag]
			}
			next.totals[e.Stream] += data.Amount
			next.versions[e.Stream]++
			require.Equal(t, next.versions[e.Stream], e.Version)
			h.events, h.states, now = append(h.events, e), append(h.states, next), next
		}
	}
}

// explain finds a point of the history at which the answer is right: for events, the
// one before them; for all others, one between request and answer.
func (a attempt) explain(t *rapid.T, h history, start int64) {
	from, to := a.before-start, a.after-start
	if len(a.receipt.Events) > 0 {
		require.Len(t, a.receipt.Events, 1)
		require.Greater(t, a.receipt.Position, a.before)
		require.LessOrEqual(t, a.receipt.Position, a.after)
		require.Equal(t, a.meta.CommandID, h.events[a.receipt.Position-start-1].CommandID)
		from, to = a.receipt.Position-start-1, a.receipt.Position-start-1
	}
	for at := from; at <= to; at++ {
		decision, err := a.decider.Decide(h.states[at], a.meta)
		if (err == nil) != (a.err == nil) || len(decision.Facts) != len(a.receipt.Events) {
			continue
		}
		if err != nil && problem.Of(err).Code == problem.Of(a.err).Code {
			return
		}
		if err == nil && a.receipt.Version == h.states[at].Version(decision.Stream)+int64(len(decision.Facts)) {
			return
		}
	}
	t.Fatalf("nothing between %d and %d explains the answer %+v, %v to %+v", a.before, a.after, a.receipt, a.err, a.decider)
}

// isOfThem checks that the log has the accepted commands and nothing else.
func (h history) isOfThem(t *rapid.T, clients [][]attempt) {
	accepted := 0
	for _, script := range clients {
		for _, a := range script {
			accepted += len(a.receipt.Events)
		}
	}
	require.Len(t, h.events, accepted)
}
