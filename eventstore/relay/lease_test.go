package relay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/lease"
)

// leased makes a relay that works only while it has the lease.
func leased(t *testing.T, broker *hubtest.Broker, log *eventLog, ttl time.Duration) *running {
	t.Helper()
	pool := hubtest.Pool(t, log.address, string(eventstore.RoleRelay))
	made, err := relay.New(broker.Connect(), eventstore.New(pool), nil, relay.Options{
		Lease: lease.New(lease.Options{Pool: pool, Table: lease.LogTable, Name: "relay", TTL: ttl}),
	})
	require.NoError(t, err)
	r := &running{Relay: made, ended: make(chan error, 1)}
	made.OnStatus(r.notice)
	r.run(t)
	return r
}

func (r *running) waitLeading(t *testing.T) {
	t.Helper()
	hubtest.Wait(t, patience, "the lease", r.when(func(s relay.Status) bool { return s.Leading }))
}

func TestOneRelayWorksAndTheNextTakesOver(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	first := leased(t, broker, log, time.Minute)
	first.waitLeading(t)
	second := leased(t, broker, log, time.Minute)
	log.appendFrom(t, 1, 10, 10)
	first.waitPublished(t, 100)
	// Who waits can still tell how far the copy is.
	second.waitPublished(t, 100)
	require.False(t, second.Status().Leading)

	first.stop(t)
	require.False(t, first.Status().Leading)
	log.appendFrom(t, 1, 10, 10)
	second.waitLeading(t)
	second.waitPublished(t, 200)
	log.requireCopied(t, broker.JetStream)
}

// It loses its lease while it works, as one does that was paused, and never minds: the
// stream takes nothing twice.
func TestARelayThatLosesItsLeaseDoesNoHarm(t *testing.T) {
	t.Parallel()
	log, broker := newLog(t), hubtest.NATS(t)
	admin := hubtest.Pool(t, log.address, "")
	first := leased(t, broker, log, 2*time.Second)
	first.waitLeading(t)
	second := leased(t, broker, log, 2*time.Second)
	for range 3 {
		lost := first.when(func(s relay.Status) bool { return !s.Leading })
		if second.Status().Leading {
			lost = second.when(func(s relay.Status) bool { return !s.Leading })
		}
		log.appendFrom(t, 1, 20, 10)
		_, err := admin.Exec(t.Context(), `UPDATE log_leases SET holder = gen_random_uuid(), token = token + 1, expires_at = clock_timestamp()`)
		require.NoError(t, err)
		log.appendFrom(t, 1, 20, 10)
		hubtest.Wait(t, patience, "the loss", lost)
	}
	first.waitPublished(t, 1200)
	log.requireCopied(t, broker.JetStream)
}
