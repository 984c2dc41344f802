package eventstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestReadSelectsAndBounds(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	special := event("a:2", 1, "key:x")
	special.Type = "thing.ended"
	l.append(t, one(nil, event("a:1", 1, "key:x"), special, event("a:1", 2)))
	other := one(nil, event("a:1", 1, "key:x"))
	other.Outcomes[0].Meta.Org = "other"
	l.append(t, other)

	for name, c := range map[string]struct {
		query eventstore.Query
		want  []int64
	}{
		"all of the organisation": {eventstore.Query{}, []int64{1, 2, 3}},
		"stream":                  {eventstore.Query{Stream: "a:1"}, []int64{1, 3}},
		"tag":                     {eventstore.Query{Tag: "key:x"}, []int64{1, 2}},
		"type":                    {eventstore.Query{Types: []string{"thing.ended", "none"}}, []int64{2}},
		"types backwards":         {eventstore.Query{Types: []string{"thing.ended", "thing.happened"}, Backwards: true, Before: 3}, []int64{2, 1}},
		"stream and tag and type": {eventstore.Query{Stream: "a:1", Tag: "key:x", Types: []string{"thing.happened"}}, []int64{1}},
		"range":                   {eventstore.Query{After: 1, Before: 3}, []int64{2}},
		"backwards":               {eventstore.Query{Backwards: true, Limit: 2}, []int64{3, 2}},
		"tag and type":            {eventstore.Query{Tag: "key:x", Types: []string{"thing.happened"}}, []int64{1}},
		"nothing":                 {eventstore.Query{Stream: "a:9"}, nil},
	} {
		events, err := l.command.Read(t.Context(), "acme", c.query)
		require.NoError(t, err, name)
		var got []int64
		for _, e := range events {
			got = append(got, e.Position)
		}
		assert.Equal(t, c.want, got, name)
	}
}

func TestLoadReturnsWhatEachBoundaryHasAfterItsMark(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.append(t, one(nil, event("a:1", 1, "key:x"), event("a:2", 1, "key:x"), event("a:1", 2)))
	loaded, more, err := l.command.Load(t.Context(), []eventstore.Mark{mark("a:1", 1), mark("key:x", 0), mark("b:9", 0)})
	require.NoError(t, err)
	assert.False(t, more)
	type hit struct {
		mark     int
		position int64
	}
	var got []hit
	for _, b := range loaded {
		got = append(got, hit{b.Mark, b.Event.Position})
	}
	assert.Equal(t, []hit{{1, 1}, {1, 2}, {0, 3}}, got)
}

// What docs/leaf.md promises: an auditor recomputes every hash in plain SQL.
func TestLeafHashIsReproducibleInSQL(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	text := rapid.StringMatching(`[^\x00]{0,40}`)
	var events []eventstore.NewEvent
	rapid.Check(t, func(r *rapid.T) {
		e := event("a:1", int64(len(events)+1))
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zü"\\{},. ]{1,9}`), 0, 4, rapid.ID).Draw(r, "tags") {
			e.Tags = append(e.Tags, domain.NewTag("t", name))
		}
		e.Subjects = rapid.SliceOfN(rapid.StringMatching(`[a-z0-9-]{1,9}`), 0, 2).Draw(r, "subjects")
		e.Data = []byte(text.Draw(r, "data"))
		events = append(events, e)
	})
	turn := one(nil, events...)
	turn.Outcomes[0].Events[0].Reason = "ünïcödé"
	turn.Outcomes[0].Meta.OnBehalfOf = &domain.Actor{Sub: "bo", Person: "bo"}
	l.append(t, turn)
	l.append(t, one(nil, event("a:2", 1)))

	const recompute = `SELECT count(*), count(*) FILTER (WHERE leaf_hash = sha256('\x00'::bytea || record_send(ROW(
		'hub.event.1'::text, position, org_position, epoch, id, org, stream, version, type, schema_version, tags,
		subjects, data, actor::text, on_behalf_of::text, reason, request_id, correlation_id, causation_id, command_id,
		(extract(epoch FROM occurred_at) * 1000000)::bigint, (extract(epoch FROM recorded_at) * 1000000)::bigint)))) FROM events`
	var all, equal int
	require.NoError(t, l.admin(t).QueryRow(t.Context(), recompute).Scan(&all, &equal))
	assert.Equal(t, len(events)+1, all)
	assert.Equal(t, all, equal)

	const byFunction = `SELECT count(*) FROM events e WHERE leaf_hash <> sha256('\x00'::bytea || event_leaf(e))`
	var different int
	require.NoError(t, l.admin(t).QueryRow(t.Context(), byFunction).Scan(&different))
	assert.Zero(t, different)
}

// A server that is told to stop may have committed before: only asking again tells.
func TestAServerThatStopsLeavesTheOutcomeOpen(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	admin := l.admin(t)
	_, err := admin.Exec(t.Context(), `BEGIN; SELECT lock_log()`)
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() {
		_, err := l.command.Append(t.Context(), one(nil, event("a:1", 1)))
		result <- err
	}()
	// A session of its own: within a transaction pg_stat_activity stays as first seen.
	watcher := l.admin(t)
	for stopped := 0; stopped == 0; {
		require.NoError(t, watcher.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&stopped))
	}
	require.ErrorIs(t, hubtest.Wait(t, time.Minute, "the append to fail", result), eventstore.ErrUnknownOutcome)
}

// What is more than fits one answer comes in several, and none of them cuts through
// an event that two boundaries have.
func TestLoadComesInPagesThatLoseNothing(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	const events = 2500
	var all []eventstore.NewEvent
	for n := range events {
		all = append(all, event("a:1", int64(n+1), "key:x"))
	}
	all[0].Tags = all[0].Tags[:1] // an odd number of rows before the first page's end
	l.append(t, one(nil, all...))
	got := map[int][]int64{}
	var calls int
	for through, more := int64(0), true; more; calls++ {
		var loaded []eventstore.BoundaryEvent
		var err error
		loaded, more, err = l.command.Load(t.Context(), []eventstore.Mark{mark("a:1", through), mark("key:x", through)})
		require.NoError(t, err)
		for _, b := range loaded {
			through = b.Event.Position
			got[b.Mark] = append(got[b.Mark], through)
		}
	}
	assert.Equal(t, 3, calls)
	for boundary, first := range map[int]int64{0: 1, 1: 2} {
		require.Len(t, got[boundary], int(events-first+1))
		for i, position := range got[boundary] {
			require.Equal(t, first+int64(i), position)
		}
	}
}

// Nothing was sent where nobody listens: the caller may send it again at once.
func TestAServerThatIsNotThereWroteNothing(t *testing.T) {
	t.Parallel()
	pool, err := eventstore.OpenPool(t.Context(), fmt.Sprintf("postgres://nobody@127.0.0.1:%d/none", hubtest.FreePort(t)), eventstore.RoleCommand, 1)
	require.NoError(t, err)
	defer pool.Close()
	store := eventstore.New(pool)
	_, err = store.Append(t.Context(), one(nil, event("a:1", 1)))
	require.Error(t, err)
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
	err = store.Locked(t.Context(), func(*eventstore.LockedLog) error { return nil })
	require.Error(t, err)
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
}
