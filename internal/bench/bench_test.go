package main

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

func TestReadsALineOfProcesses(t *testing.T) {
	t.Parallel()
	// The name holds brackets and spaces; then state, parent … utime, stime, cutime, cstime.
	p, ok := parseProcess("42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 100 0 0")
	require.True(t, ok)
	assert.Equal(t, process{pid: 42, parent: 7, name: "a) b (c", cpu: 2, inherited: 0.5}, p)
	_, ok = parseProcess("42 (cut off) S 7")
	assert.False(t, ok)
}

func TestTreeIsAProcessAndItsDescendants(t *testing.T) {
	t.Parallel()
	all := []process{{pid: 1}, {pid: 2, parent: 1}, {pid: 3, parent: 2, name: "postgres"}, {pid: 4, parent: 9}}
	var pids []int
	for _, p := range tree(all, 1) {
		pids = append(pids, p.pid)
	}
	assert.Equal(t, []int{1, 2, 3}, pids)
	assert.Equal(t, 3, postgresOf(all, 2))
	assert.Zero(t, postgresOf(all, 1))
}

func TestLagIsTheAgeOfTheOldestReceiptNotShown(t *testing.T) {
	t.Parallel()
	var r receipts
	began := time.Now()
	r.stamps = []stamp{{began, 10}, {began.Add(time.Second), 20}}
	now := began.Add(3 * time.Second)
	assert.Equal(t, 3*time.Second, r.behind(9, now))
	assert.Equal(t, 2*time.Second, r.behind(10, now))
	assert.Zero(t, r.behind(20, now))
}

func TestQuantilesAreNearestRanks(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for i := range 101 {
		times = append(times, time.Duration(100-i))
	}
	p50, p99, longest := quantiles(times)
	assert.Equal(t, []time.Duration{50, 99, 100}, []time.Duration{p50, p99, longest})
	p50, p99, longest = quantiles(nil)
	assert.Equal(t, []time.Duration{0, 0, 0}, []time.Duration{p50, p99, longest})
}

func TestWhatAScenarioIsSetAgainstRunsToo(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range choose(regexp.MustCompile("^visible$")) {
		names = append(names, s.name)
	}
	assert.Equal(t, []string{"B", "C", "commands", "visible"}, names)
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	t.Parallel()
	round := func(operations int) sample {
		return sample{loadResult: loadResult{Operations: operations, Duration: time.Second}}
	}
	runs := map[string][]sample{"B": {round(1000), round(2000), round(4000)}, "commands": {round(2000), round(3000), round(4000)}}
	cells := row(scenario{name: "commands", against: "B", atLeast: 1.5}, runs)
	assert.Equal(t, []string{"1.50 × B", "1.5 × B", "yes"}, cells[len(cells)-3:])
	assert.Equal(t, "3,000", cells[2])

	runs["C"] = []sample{round(4000), round(6000), round(8000)}
	cells = row(scenario{name: "commands", against: "B", atLeast: 1.5, also: []goal{{"C", 0.6}}}, runs)
	assert.Equal(t, []string{"1.50 × B", "1.5 × B, 0.6 × C", "no"}, cells[len(cells)-3:])
}

func TestCPUIsComparedByTheOperation(t *testing.T) {
	t.Parallel()
	costs := func(postgres, client float64) []sample {
		return []sample{{loadResult: loadResult{Operations: 1, Duration: time.Second}, postgres: postgres, client: client}}
	}
	runs := map[string][]sample{"store": costs(60, 40), "store-grown": costs(70, 50)}
	s := scenario{name: "store-grown", against: "store", cpuWithin: 1.3}
	cells := row(s, runs)
	assert.Equal(t, []string{"CPU at most 1.3 × store (was 1.20)", "yes"}, cells[len(cells)-2:])
	runs["store-grown"] = costs(100, 50)
	cells = row(s, runs)
	assert.Equal(t, []string{"CPU at most 1.3 × store (was 1.50)", "no"}, cells[len(cells)-2:])
}

func TestTwoClientsOfOnePostgreSQLAreOneSample(t *testing.T) {
	t.Parallel()
	client := func(operations int, postgres float64) sample {
		return sample{
			loadResult: loadResult{Operations: operations, Duration: 2 * time.Second, CPUSeconds: 1, P50: time.Duration(operations)},
			postgres:   postgres, foreign: 0.75,
		}
	}
	// Each sees all of the second of CPU that PostgreSQL used.
	all := together(client(10_000, 100), client(30_000, 100.0/3))
	assert.Equal(t, 40_000, all.Operations)
	assert.InDelta(t, 25, all.postgres, 0.001)
	assert.InDelta(t, 50, all.client, 0.001)
	assert.InDelta(t, 0.25, all.foreign, 0.001)
	assert.Equal(t, time.Duration(30_000), all.P50)
}

// A log that was filled past its functions is one that they take for their own.
func TestAFilledLogIsAppendedTo(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	require.NoError(t, fill(t.Context(), url, 10, "event ", ""))
	for _, work := range []string{"store", "store-hot", "turns"} {
		w, err := openWriter(t.Context(), loadSpec{Work: work, Database: url, Run: work}, [][]byte{[]byte(`{"iata":"X","name":"N","country":"C"}`)})
		require.NoError(t, err)
		do, err := w.operation(t.Context())
		require.NoError(t, err)
		_, err = do()
		require.NoError(t, err)
		w.stop()
	}
	head, _, err := eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))).Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(10+2+1+1+turnSize), head, "type and hot entity, one created, one changed, one turn")
}
