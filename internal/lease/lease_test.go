package lease_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/lease"
	"github.com/reactdjango-hub/backend/internal/local"
	"github.com/reactdjango-hub/backend/migrations"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// patience ends tests that have failed; the others never wait for it.
const patience = time.Minute

// holder is a lease of a test, and what it went through.
type holder struct {
	*lease.Lease
	// terms has the token of each term as it begins, ends its cause as it ends.
	terms chan int64
	ends  chan error
	stop  func()
}

// hold runs a lease until the test's end or stop.
func hold(t *testing.T, options lease.Options) *holder {
	t.Helper()
	h := &holder{Lease: lease.New(options), terms: make(chan int64, 100), ends: make(chan error, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		h.Run(ctx, func(ctx context.Context, token int64) {
			h.terms <- token
			<-ctx.Done()
			h.ends <- context.Cause(ctx)
		})
	}()
	h.stop = func() {
		cancel()
		hubtest.Wait(t, patience, "the end of the lease", over)
	}
	t.Cleanup(h.stop)
	return h
}

func (h *holder) began(t *testing.T) int64 {
	t.Helper()
	return hubtest.Wait(t, patience, "the lease", h.terms)
}

// zoned is a pool in which every session has the time zone.
func zoned(t *testing.T, url, role, zone string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.ConnConfig.RuntimeParams["timezone"] = zone
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET ROLE "+role)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// options are those of the relay's role, and an administrator's way to the row.
func options(t *testing.T, ttl time.Duration) (relay lease.Options, admin *pgxpool.Pool) {
	t.Helper()
	url := hubtest.Database(t, hubtest.Log())
	return lease.Options{Pool: hubtest.Pool(t, url, "hub_relay"), Table: lease.LogTable, Name: "relay", TTL: ttl}, hubtest.Pool(t, url, "")
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func TestOneHoldsAndTheNextFollows(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.LogAndViews())
	for table, role := range map[lease.Table]string{lease.LogTable: "hub_relay", lease.ViewTable: "hub_projector"} {
		t.Run(string(table), func(t *testing.T) {
			t.Parallel()
			// The least and the greatest time there is on Earth: clocks play no part.
			holders := []*holder{}
			for _, zone := range []string{"Etc/GMT+12", "Pacific/Kiritimati"} {
				holders = append(holders, hold(t, lease.Options{Pool: zoned(t, url, role, zone), Table: table, Name: "work", TTL: time.Minute}))
			}
			first, second := holders[0], holders[1]
			var token int64
			select {
			case token = <-first.terms:
			case token = <-second.terms:
				first, second = second, first
			case <-time.After(patience):
				t.Fatal("nobody has the lease")
			}
			assert.Equal(t, lease.State{Held: true, Token: token, Since: first.State().Since}, first.State())
			// With this TTL the second could not have it in time if it were not set free.
			first.stop()
			require.ErrorIs(t, <-first.ends, context.Canceled)
			assert.False(t, first.State().Held)
			third := hold(t, lease.Options{Pool: hubtest.Pool(t, url, role), Table: table, Name: "work", TTL: time.Minute})
			select {
			case next := <-second.terms:
				assert.Greater(t, next, token)
			case next := <-third.terms:
				assert.Greater(t, next, token)
			case <-time.After(patience):
				t.Fatal("nobody has the lease after its release")
			}
		})
	}
}

func TestNeverTwoAtOnce(t *testing.T) {
	t.Parallel()
	o, _ := options(t, 30*time.Second)
	inside, seen := make(chan struct{}, 1), make(chan int64, 64)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan struct{}, 8)
	for range cap(over) {
		go func() {
			// Each holds it once, for a moment; the next that asks has it.
			lease.New(o).Run(ctx, func(_ context.Context, token int64) {
				select {
				case inside <- struct{}{}:
					seen <- token
					<-inside
				default:
					seen <- -1
				}
			})
			over <- struct{}{}
		}()
	}
	last := int64(0)
	for range 3 {
		token := hubtest.Wait(t, patience, "a term", seen)
		require.Greater(t, token, last)
		last = token
	}
	cancel()
	for range cap(over) {
		hubtest.Wait(t, patience, "the end", over)
	}
}

// What a paused process looks like to the others: its row is not renewed.
func TestADeadHolderIsReplacedWhenItsRowExpires(t *testing.T) {
	t.Parallel()
	o, admin := options(t, 2*time.Second)
	exec(t, admin, `INSERT INTO log_leases VALUES ('relay', $1, 41, clock_timestamp() + interval '1 second')`, uuid.New())
	var before, expires time.Time
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT expires_at FROM log_leases`).Scan(&expires))
	h := hold(t, o)
	require.EqualValues(t, 42, h.began(t))
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&before))
	require.True(t, before.After(expires), "taken before it had expired")
}

// The database's clock was set back while somebody held the lease.
func TestARowFromTheFutureIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	o, admin := options(t, 10*time.Second)
	exec(t, admin, `INSERT INTO log_leases VALUES ('relay', $1, 7, clock_timestamp() + interval '1 hour')`, uuid.New())
	require.EqualValues(t, 8, hold(t, o).began(t))
}

// A holder that was paused past its lease learns at its next renewal that it has lost it.
func TestAHolderWhoseLeaseWasTakenIsTold(t *testing.T) {
	t.Parallel()
	o, admin := options(t, 3*time.Second)
	h := hold(t, o)
	token := h.began(t)
	exec(t, admin, `UPDATE log_leases SET holder = $1, token = token + 1, expires_at = clock_timestamp() + interval '1 second'`, uuid.New())
	require.ErrorIs(t, hubtest.Wait(t, patience, "the loss", h.ends), lease.ErrLost)
	// It does not set free what is another's, and has its turn after that.
	require.Equal(t, token+2, h.began(t))
}

// It must end by its own clock where the database does not answer at all.
func TestAHolderThatCannotRenewStopsInTime(t *testing.T) {
	t.Parallel()
	o, admin := options(t, time.Second)
	h := hold(t, o)
	token := h.began(t)
	tx, err := admin.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE log_leases IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	require.ErrorIs(t, hubtest.Wait(t, patience, "the loss", h.ends), lease.ErrLost)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Greater(t, h.began(t), token)
	require.NoError(t, h.State().Err)
}

func TestALeadThatReturnsLeavesTheLeaseToOthers(t *testing.T) {
	t.Parallel()
	o, admin := options(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	returned, over := make(chan struct{}), make(chan struct{})
	free := make(chan lease.State, 10)
	o.Changed = func(s lease.State) {
		if !s.Held {
			free <- s
		}
	}
	go func() {
		defer close(over)
		lease.New(o).Run(ctx, func(context.Context, int64) { close(returned) })
	}()
	hubtest.Wait(t, patience, "the return", returned)
	hubtest.Wait(t, patience, "the release", free)
	var expired bool
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT expires_at < clock_timestamp() FROM log_leases`).Scan(&expired))
	require.True(t, expired)
	cancel()
	hubtest.Wait(t, patience, "the end", over)
}

func TestLeasesAreBounded(t *testing.T) {
	t.Parallel()
	o, admin := options(t, time.Minute)
	exec(t, admin, `INSERT INTO log_leases SELECT 'other-' || n, gen_random_uuid(), 1, '-infinity' FROM generate_series(1, 255) n`)
	hold(t, o).began(t)
	refused := make(chan error, 10)
	o.Name = "one-too-many"
	o.Changed = func(s lease.State) { refused <- s.Err }
	hold(t, o)
	require.ErrorContains(t, hubtest.Wait(t, patience, "the refusal", refused), "256 leases")
	o.Name, o.Changed = "other-255", nil
	hold(t, o).began(t)
}

func TestALeaseOutlivesARestartOfItsDatabase(t *testing.T) {
	t.Parallel()
	server := local.PostgresOptions{DataDir: filepath.Join(hubtest.TempDir(t), "postgres"), Durable: true}
	start := func() *local.Postgres {
		postgres, err := local.StartPostgres(t.Context(), server)
		require.NoError(t, err)
		return postgres
	}
	postgres := start()
	url := postgres.URL("postgres")
	require.NoError(t, migrations.Projections.Up(t.Context(), url))
	pool := hubtest.Pool(t, url, "hub_projector")
	failing := make(chan error, 100)
	h := hold(t, lease.Options{Pool: pool, Table: lease.ViewTable, Name: "work", TTL: 2 * time.Second, Changed: func(s lease.State) {
		if s.Err != nil {
			failing <- s.Err
		}
	}})
	token := h.began(t)
	postgres.Kill()
	require.Error(t, hubtest.Wait(t, patience, "the failure", failing))
	require.ErrorIs(t, hubtest.Wait(t, patience, "the loss", h.ends), lease.ErrLost)
	postgres = start()
	t.Cleanup(func() { assert.NoError(t, postgres.Stop(context.WithoutCancel(t.Context()))) })
	require.Greater(t, h.began(t), token)
	h.stop()
}

// What the package comment says a row and its rights are for.
func TestServicesMayNotDeleteLeases(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.LogAndViews())
	for table, role := range map[lease.Table]string{lease.LogTable: "hub_relay", lease.ViewTable: "hub_projector"} {
		pool := hubtest.Pool(t, url, role)
		_, err := pool.Exec(t.Context(), fmt.Sprintf(`DELETE FROM %s`, table))
		assert.ErrorContains(t, err, "permission denied")
		for _, other := range []string{"hub_command", "hub_query"} {
			_, err := hubtest.Pool(t, url, other).Exec(t.Context(), fmt.Sprintf(`UPDATE %s SET token = 1`, table))
			assert.ErrorContains(t, err, "permission denied")
		}
	}
}
