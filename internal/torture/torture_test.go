package torture

import (
	"context"
	"flag"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	oneSeed = flag.Uint64("seed", 0, "torture with this seed alone; 0 takes the fixed ones")
	seconds = flag.Int("seconds", 8, "how long clients work in each round")
	rounds  = flag.Int("rounds", 1, "how many rounds each seed has, on one system")
)

// clients are enough to meet at every boundary, and few enough for a machine of two cores.
const clients = 6

// TestTorture has clients work on a system in which things break, and looks whether it
// kept its promises. docs/torture.md explains it.
func TestTorture(t *testing.T) {
	t.Parallel()
	seeds := []uint64{1, 2}
	if *oneSeed != 0 {
		seeds = []uint64{*oneSeed}
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { torture(t, seed) })
	}
}

func torture(t *testing.T, seed uint64) {
	t.Helper()
	s := newSystem(t)
	l := newLoad(s)
	l.defineTypes()
	consuming, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	consumed := s.consume(consuming)
	breaker := &saboteur{system: s, random: rand.New(rand.NewPCG(seed, 1<<32))}
	t.Cleanup(breaker.release)
	for round := range *rounds {
		l.round(seed, round, breaker)
		l.settle(seed)
		for _, n := range s.nodes {
			n.alive()
		}
		h := History{Operations: l.finished, Reads: l.reads, Log: s.readLog()}
		head := int64(len(h.Log))
		h.Delivered = consumed.upTo(head)
		h.Stream = s.stream(head)
		for i, n := range s.fronts() {
			h.Views = append(h.Views, l.view("the view at front "+strconv.Itoa(i), n, head))
		}
		s.command("projections", "verify")()
		t.Logf("round %d: %d operations, %d reads, %d events", round, len(h.Operations), len(h.Reads), head)
		report(t, seed, h)
	}
}

// defineTypes makes the types of all organisations.
func (l *load) defineTypes() {
	c := l.client(0, 0)
	for _, c.org = range organisations {
		for _, name := range types {
			o := Operation{ID: int(l.asked.Add(1)), Kind: Define, Org: c.org, Type: name}
			c.attempt(&o, l.system.nodes[0])
			l.finish(o)
		}
	}
}

// round has the clients work while one thing after the other breaks and is mended.
func (l *load) round(seed uint64, round int, breaker *saboteur) {
	t := l.system.t
	working, end := context.WithTimeout(t.Context(), time.Duration(*seconds)*time.Second)
	defer end()
	var group sync.WaitGroup
	for number := range uint64(clients) {
		c := l.client(seed+uint64(round)<<32, number)
		group.Go(func() { c.run(working) })
	}
	for working.Err() == nil {
		l.progress(working, 10+breaker.random.Int64N(60), 0)
		for range breaker.random.IntN(3) {
			what, _ := traps()[breaker.random.IntN(len(traps()))](breaker)
			t.Logf("after %d operations: %s", l.asked.Load(), what)
		}
		breaker.lasting = 0
		what, mend := faults()[breaker.random.IntN(len(faults()))](breaker)
		t.Logf("after %d operations: %s", l.asked.Load(), what)
		l.progress(working, 10+breaker.random.Int64N(60), breaker.lasting)
		mend()
	}
	for _, n := range l.system.nodes {
		n.proxy.Calm()
	}
	group.Wait()
}

// progress waits until the clients have begun some more operations and so much time has
// passed, or for long enough.
func (l *load) progress(ctx context.Context, operations int64, least time.Duration) {
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	over := time.After(max(least, longestFault))
	began := time.Now()
	for until := l.asked.Load() + operations; l.asked.Load() < until || time.Since(began) < least; {
		select {
		case <-ticker.C:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// settle asks again for what is open until it is answered.
func (l *load) settle(seed uint64) {
	t := l.system.t
	t.Helper()
	c := l.client(seed, clients)
	deadline := time.Now().Add(settleTime)
	for i := range l.finished {
		o := &l.finished[i]
		c.org = o.Org
		for o.Keyed && !settled(*o) {
			require.True(t, time.Now().Before(deadline), "operation %d has no outcome: %+v", o.ID, o)
			c.attempt(o, c.node())
			if !settled(*o) {
				pause(t.Context())
			}
		}
	}
}

// report fails the test with the first broken promise and the shortest history of it.
func report(t *testing.T, seed uint64, h History) {
	t.Helper()
	violations := Check(h)
	if len(violations) == 0 {
		return
	}
	for _, v := range violations[:min(len(violations), 10)] {
		t.Errorf("broken: %s: %s", v.Rule, v.Detail)
	}
	var history strings.Builder
	Shrink(h, violations[0].Rule).Print(&history)
	t.Fatalf("%d promises broken with seed %d. The shortest history found that breaks the first:\n%s", len(violations), seed, history.String())
}

// stream reads the copy as it is at the end.
func (s *system) stream(head int64) []Message {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	return s.consume(ctx).upTo(head)
}
