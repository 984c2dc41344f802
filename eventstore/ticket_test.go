package eventstore_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestATicketIsUsedOnceByWhoeverIsFirst(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	stores := []*eventstore.Store{
		eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleQuery))), eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleQuery))),
	}
	for range 20 {
		id, until := uuid.New(), time.Now().Add(30*time.Second)
		var first atomic.Int64
		var racers sync.WaitGroup
		for i := range 6 {
			racers.Go(func() {
				used, err := stores[i%2].UseTicket(t.Context(), id, until)
				assert.NoError(t, err)
				if used {
					first.Add(1)
				}
			})
		}
		racers.Wait()
		require.EqualValues(t, 1, first.Load())
	}
}

// What is forgotten cannot be used: a ticket counts as used from when it may have been
// forgotten on.
func TestUsedTicketsAreForgottenOnlyWhenTheyAreOfNoUse(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	query := eventstore.New(hubtest.Pool(t, l.url, string(eventstore.RoleQuery)))
	admin := l.admin(t)
	old, slow := uuid.New(), uuid.New()
	_, err := admin.Exec(t.Context(), `INSERT INTO stream_tickets VALUES ($1, now() - interval '61 seconds'), ($2, now() - interval '50 seconds')`, old, slow)
	require.NoError(t, err)
	used, err := query.UseTicket(t.Context(), uuid.New(), time.Now().Add(30*time.Second))
	require.NoError(t, err)
	require.True(t, used)
	var left int
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT count(*) FROM stream_tickets WHERE ticket = ANY ($1)`, []uuid.UUID{old, slow}).Scan(&left))
	require.Equal(t, 1, left, "the old one is gone")
	for _, id := range []uuid.UUID{old, uuid.New()} {
		used, err = query.UseTicket(t.Context(), id, time.Now().Add(-61*time.Second))
		require.NoError(t, err)
		require.False(t, used)
	}
	used, err = query.UseTicket(t.Context(), slow, time.Now().Add(-50*time.Second))
	require.NoError(t, err)
	require.False(t, used)
	for _, sql := range []string{`SELECT * FROM stream_tickets`, `DELETE FROM stream_tickets`, `INSERT INTO stream_tickets VALUES (gen_random_uuid(), now())`} {
		for _, role := range []string{"hub_query", "hub_command", "hub_projector", "hub_relay"} {
			_, err := hubtest.Pool(t, l.url, role).Exec(t.Context(), sql)
			require.Error(t, err, "%s as %s", sql, role)
		}
	}
	_, err = hubtest.Pool(t, l.url, "hub_command").Exec(t.Context(), `SELECT use_stream_ticket(gen_random_uuid(), now())`)
	require.Error(t, err)
}
