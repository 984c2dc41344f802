package commands_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// program is a loop of a program with this fingerprint that has just started.
type program struct {
	*commands.Loop
	registry *telemetry.Registry
}

func (s system) program(fingerprint string) program {
	registry := telemetry.New("test")
	p := program{commands.New(commands.Options{
		Store: s.store, Codec: eventstore.NewCodec(domain.Kind[added]()), Folds: domain.Folds{"counter": counter{}},
		Log: slog.New(slog.DiscardHandler), Metrics: registry, Fingerprint: func() []byte { return []byte(fingerprint) },
	}), registry}
	p.SettleWithin(time.Minute) // thousands of events, on a slow machine
	return p
}

// expect checks a metric of the program's snapshots.
func (p program) expect(t *testing.T, result string, count int) {
	t.Helper()
	recorder := httptest.NewRecorder()
	p.registry.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	name := fmt.Sprintf("\nhub_loop_snapshots_total{result=%q} ", result)
	_, after, found := strings.Cut(recorder.Body.String(), name)
	value, _, _ := strings.Cut(after, "\n")
	require.True(t, found)
	assert.Equal(t, fmt.Sprint(count), value, "snapshots %s", result)
}

// snapshot has a program make one of counter:long.
func (s system) snapshot(t *testing.T, fingerprint string) {
	t.Helper()
	p := s.program(fingerprint)
	require.NoError(t, p.Turn(t.Context(), submission(add{counter: "counter:long", amount: -1}))[0].Err)
	require.NoError(t, p.SaveSnapshots(t.Context()))
	p.expect(t, "saved", 1)
}

// Whatever becomes of a snapshot, what is decided is the same.
func TestSnapshotsChangeNothingButSpeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm          string
		program       string
		used, ignored int
	}{
		"as it was":             {`SELECT 1`, "one", 1, 0},
		"of another program":    {`SELECT 1`, "two", 0, 0},
		"all deleted":           {`TRUNCATE boundary_snapshots`, "one", 0, 0},
		"the table dropped":     {`DROP TABLE boundary_snapshots CASCADE`, "one", 0, 0},
		"garbage":               {`UPDATE boundary_snapshots SET data = 'garbage'`, "one", 0, 1},
		"cut off":               {`UPDATE boundary_snapshots SET data = substr(data, 1, length(data) - 1)`, "one", 0, 1},
		"a byte changed":        {`UPDATE boundary_snapshots SET data = set_byte(data, length(data) - 2, get_byte(data, length(data) - 2) # 1)`, "one", 0, 1},
		"of another position":   {`UPDATE boundary_snapshots SET position = 2100, event_id = (SELECT id FROM events WHERE position = 2100)`, "one", 0, 1},
		"of an event that went": {`UPDATE boundary_snapshots SET event_id = gen_random_uuid()`, "one", 0, 0},
		"ahead of the log":      {`UPDATE boundary_snapshots SET position = position + 1000000`, "one", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			s.raw(t, "counter:long", -2, 2500)
			s.snapshot(t, "one")
			_, err := hubtest.Pool(t, s.url, "").Exec(t.Context(), c.harm)
			require.NoError(t, err)

			p := s.program(c.program)
			answer := p.Turn(t.Context(), by("eve", add{counter: "counter:long", amount: -1}))[0]
			require.NoError(t, answer.Err)
			r := answer.Receipt
			assert.Equal(t, int64(2502), r.Version)
			assert.Equal(t, counter{-5002}, r.Resource.State)
			assert.Equal(t, "eve", r.Resource.Updated.By)
			assert.Equal(t, s.times(t, "counter:long")[0], r.Resource.Created.At)
			p.expect(t, "used", c.used)
			p.expect(t, "ignored", c.ignored)
		})
	}
}

// A database is put back without its snapshots, or theirs are of another: the log has
// other events at their positions.
func TestASnapshotOfAnotherHistory(t *testing.T) {
	t.Parallel()
	first, second := newSystem(t), newSystem(t)
	first.raw(t, "counter:long", -2, 2500)
	first.snapshot(t, "one")
	var position int64
	var id uuid.UUID
	var data []byte
	require.NoError(t, hubtest.Pool(t, first.url, "").QueryRow(t.Context(), `SELECT position, event_id, data FROM boundary_snapshots`).Scan(&position, &id, &data))
	require.EqualValues(t, 2501, position)
	second.raw(t, "counter:long", -1, 3000)
	require.NoError(t, second.store.SaveSnapshots(t.Context(), []byte("one"), []eventstore.Snapshot{{
		Boundary: eventstore.Boundary{Org: "acme", Tag: "counter:long"}, Position: position, EventID: id, Data: data,
	}}))
	p := second.program("one")
	answer := p.Turn(t.Context(), by("eve", add{counter: "counter:long", amount: -1}))[0]
	require.NoError(t, answer.Err)
	assert.Equal(t, counter{-3001}, answer.Receipt.Resource.State)
	p.expect(t, "used", 0)
}

// A boundary that grows in the cache is kept, too, each time that it has got enough to
// fill most of a trip; and from what a loop that runs has kept, another goes on.
func TestABoundaryThatGrowsIsKept(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	p := s.program("one")
	turn := slices.Repeat([]commands.Submission{submission(add{counter: "counter:long", amount: -1})}, 250)
	for n := range 12 {
		for i := range turn {
			turn[i].Meta.CommandID = uuid.Must(uuid.NewV7())
		}
		for _, answer := range p.Turn(t.Context(), turn...) {
			require.NoError(t, answer.Err)
		}
		require.NoError(t, p.SaveSnapshots(t.Context()))
		p.expect(t, "saved", (n+1)/4)
	}
	other := s.program("one")
	answer := other.Turn(t.Context(), by("eve", add{counter: "counter:long", amount: -1}))[0]
	require.NoError(t, answer.Err)
	assert.Equal(t, counter{-3001}, answer.Receipt.Resource.State)
	other.expect(t, "used", 1)
}
