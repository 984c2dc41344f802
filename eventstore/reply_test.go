package eventstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// The server commits and the connection breaks before it can say so: the error must not
// claim that nothing was written, whatever the driver makes of it.
func TestALostReplyIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	proxy := hubtest.PostgresProxy(t, l.url)
	store := eventstore.New(hubtest.Pool(t, proxy.Through(t, l.url), string(eventstore.RoleCommand)))
	atOnce := func(turn eventstore.Turn) error {
		_, err := store.Append(t.Context(), turn)
		return err
	}
	locked := func(turn eventstore.Turn) error {
		return store.Locked(t.Context(), func(log *eventstore.LockedLog) error {
			_, err := log.Append(t.Context(), turn)
			return err
		})
	}
	require.NoError(t, atOnce(one(nil, event("a:1", 1))))
	lost := proxy.LoseReply(hubtest.Executes("append_events("))
	require.ErrorIs(t, atOnce(one(nil, event("a:1", 2))), eventstore.ErrUnknownOutcome)
	hubtest.Wait(t, time.Minute, "the reply", lost)

	require.NoError(t, locked(one(nil, event("a:1", 3))), "the one before was written")
	lost = proxy.LoseReply(hubtest.Executes("commit"))
	require.ErrorIs(t, locked(one(nil, event("a:1", 4))), eventstore.ErrUnknownOutcome)
	hubtest.Wait(t, time.Minute, "the reply", lost)
	require.NoError(t, locked(one(nil, event("a:1", 5))), "the one before was written")
}
