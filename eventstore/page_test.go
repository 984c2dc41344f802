package eventstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// Whatever is asked for and however small the pages: going on after the last event of a
// page that was cut brings each event that matches once and in order, and nothing else.
func TestPagesBringEachEventOnce(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	query := eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleQuery)))
	var all []domain.Event
	for i := range 60 {
		e := event(domain.Tag(fmt.Sprintf("a:%d", i)), 1, domain.Tag(fmt.Sprintf("key:%d", i%3)))
		e.Type = []string{"thing.happened", "thing.ended", "other.began"}[i%7%3]
		e.Data = []byte(`{"x":"` + strings.Repeat("y", i%5*4000) + `"}`)
		turn := one(nil, e)
		turn.Outcomes[0].Meta.Org = []string{"acme", "acme", "other"}[i%4%3]
		l.append(t, turn)
		all = append(all, domain.Event{Position: int64(i + 1), Org: turn.Outcomes[0].Meta.Org, Type: e.Type, Tags: e.Tags, Data: e.Data})
	}
	rapid.Check(t, func(rt *rapid.T) {
		q := eventstore.Query{
			Types: rapid.SliceOfN(rapid.SampledFrom([]string{"thing.happened", "thing.ended", "other.began", "none.such"}), 0, 3).Draw(rt, "types"),
			Tag:   rapid.SampledFrom([]domain.Tag{"", "", "key:0", "key:1", "key:9"}).Draw(rt, "tag"),
			After: rapid.Int64Range(0, 61).Draw(rt, "after"), Limit: rapid.IntRange(1, 70).Draw(rt, "limit"),
		}
		maxBytes := rapid.SampledFrom([]int{1, 9000, 1 << 20}).Draw(rt, "bytes")
		var want, got []int64
		for _, e := range all {
			if e.Org == "acme" && e.Position > q.After && (len(q.Types) == 0 || slices.Contains(q.Types, e.Type)) && (q.Tag == "" || slices.Contains(e.Tags, q.Tag)) {
				want = append(want, e.Position)
			}
		}
		for more := true; more; {
			page, err := query.Page(t.Context(), "acme", q, maxBytes)
			require.NoError(rt, err)
			require.LessOrEqual(rt, len(page.Events), q.Limit)
			require.Equal(rt, int64(len(all)), page.Head)
			size := 0
			for _, e := range page.Events {
				require.Less(rt, size, maxBytes, "only the last event goes beyond the bound")
				require.Equal(rt, all[e.Position-1].Data, e.Data)
				size += len(e.Data)
				got = append(got, e.Position)
				q.After = e.Position
			}
			more = page.More
			require.True(rt, !more || len(page.Events) > 0, "a page that was cut has something to go on from")
		}
		require.Equal(rt, want, got)
	})
}

// The database looks a type or a tag up in an index of its own: whoever asks for one that
// is rare does not have all events of the organisation read.
func TestRareEventsAreFoundWithoutReadingTheRest(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	admin := l.admin(t)
	setup := l.admin(t) // what it has read itself is told when it ends
	for _, statement := range []string{
		`INSERT INTO events
		SELECT n, n, epoch, gen_random_uuid(), 'acme', 'a:' || n, 1, CASE WHEN n = 15000 THEN 'thing.ended' ELSE 'thing.happened' END, 1, '{a:0}', '{}', '{}', '{}', NULL,
		       NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('') FROM log_head(), generate_series(1, 20000) n`,
		`ANALYZE events`,
	} {
		_, err := setup.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	require.NoError(t, setup.Close(t.Context()))
	var backends int
	require.Eventually(t, func() bool { // a backend tells before it is gone
		require.NoError(t, admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, setup.PgConn().PID()).Scan(&backends))
		return backends == 0
	}, 30*time.Second, 10*time.Millisecond, "the setup's backend ends")
	_, err := admin.Exec(t.Context(), `SELECT pg_stat_reset()`)
	require.NoError(t, err)
	// One connection, which tells what it has read when it ends.
	pool, err := eventstore.OpenPool(t.Context(), l.url, eventstore.RoleQuery, 1)
	require.NoError(t, err)
	page, err := eventstore.New(pool).Page(t.Context(), "acme", eventstore.Query{Types: []string{"thing.ended", "none.such"}}, 1<<20)
	pool.Close()
	require.NoError(t, err)
	require.Len(t, page.Events, 1)
	var read int64
	require.Eventually(t, func() bool {
		require.NoError(t, admin.QueryRow(t.Context(), `SELECT coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) FROM pg_stat_user_tables WHERE relname = 'events_p0'`).Scan(&read))
		return read > 0
	}, 30*time.Second, 50*time.Millisecond, "the server tells what was read")
	assert.Less(t, read, int64(100))
}
