package projections

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// operating is a database and who operates in it.
type operating struct {
	*hub
	query *pgxpool.Pool
}

func newOperating(t *testing.T) *operating {
	t.Helper()
	h := newHub(t)
	return &operating{h, hubtest.Pool(t, h.url, string(eventstore.RoleQuery))}
}

// verify asks for a job on a view of its own each time, so that nothing is joined.
func (o *operating) verify(ctx context.Context, tx pgx.Tx) (Answer, error) {
	_, err := tx.Exec(ctx, `INSERT INTO view_jobs (view, version, kind, requested_by) VALUES (gen_random_uuid()::text, 1, 'verify', 'operator')`)
	return Answer{Answer: []byte(`{"done": true}`)}, err
}

func (o *operating) done(t *testing.T) (jobs int) {
	t.Helper()
	require.NoError(t, o.admin.QueryRow(t.Context(), `SELECT count(*) FROM view_jobs`).Scan(&jobs))
	return jobs
}

func (o *operating) operate(t *testing.T, asked Asked) (Answer, error) {
	t.Helper()
	return Operate(t.Context(), o.query, asked, func(tx pgx.Tx) (Answer, error) { return o.verify(t.Context(), tx) })
}

func TestOperationsAreDoneOnceForAKey(t *testing.T) {
	t.Parallel()
	o := newOperating(t)
	key := Asked{Org: "acme", Caller: "ana", Key: "k", Hash: []byte("h")}
	for _, replayed := range []bool{false, true, true} {
		answer, err := o.operate(t, key)
		require.NoError(t, err)
		require.Equal(t, Answer{Answer: []byte(`{"done": true}`), Replayed: replayed}, answer)
	}
	require.Equal(t, 1, o.done(t))

	other := key
	other.Hash = []byte("another request")
	_, err := o.operate(t, other)
	require.ErrorIs(t, err, ErrKeyReused)
	for i, asked := range []Asked{
		{Org: "acme", Caller: "bob", Key: "k", Hash: []byte("h")},
		{Org: "other", Caller: "ana", Key: "k", Hash: []byte("h")},
		{Org: "acme", Caller: "ana"}, {Org: "acme", Caller: "ana"}, // without a key
	} {
		answer, err := o.operate(t, asked)
		require.NoError(t, err)
		require.False(t, answer.Replayed)
		require.Equal(t, i+2, o.done(t))
	}
}

func TestRefusedOperationsAreRepeatedAndFailedOnesAreNot(t *testing.T) {
	t.Parallel()
	o := newOperating(t)
	key := Asked{Org: "acme", Caller: "ana", Key: "k", Hash: []byte("h")}
	failed := errors.New("nothing came of it")
	_, err := Operate(t.Context(), o.query, key, func(tx pgx.Tx) (Answer, error) {
		if _, err := o.verify(t.Context(), tx); err != nil {
			return Answer{}, err
		}
		return Answer{}, failed
	})
	require.ErrorIs(t, err, failed)
	require.Zero(t, o.done(t), "nothing is half done")
	for _, replayed := range []bool{false, true} {
		answer, err := Operate(t.Context(), o.query, key, func(pgx.Tx) (Answer, error) {
			return Answer{Refusal: []byte(`{"code": "no"}`)}, nil
		})
		require.NoError(t, err)
		require.Equal(t, Answer{Refusal: []byte(`{"code": "no"}`), Replayed: replayed}, answer)
	}
}

func TestADryRunOfAnOperationLeavesNothing(t *testing.T) {
	t.Parallel()
	o := newOperating(t)
	key := Asked{Org: "acme", Caller: "ana", Key: "k", Hash: []byte("h"), DryRun: true}
	for range 2 {
		answer, err := o.operate(t, key)
		require.NoError(t, err)
		require.Equal(t, Answer{Answer: []byte(`{"done": true}`)}, answer)
	}
	require.Zero(t, o.done(t))
	key.DryRun = false
	answer, err := o.operate(t, key)
	require.NoError(t, err)
	require.False(t, answer.Replayed, "a dry run keeps no key")
	require.Equal(t, 1, o.done(t))
}

// The second of two requests that arrive together waits for the first: then it answers as
// the first did, or does what that could not.
func TestTwoOperationsWithOneKeyAtOnce(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"the first is done": nil, "the first fails": errors.New("on purpose")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOperating(t)
			key := Asked{Org: "acme", Caller: "ana", Key: "k", Hash: []byte("h")}
			type outcome struct {
				answer Answer
				err    error
			}
			first, second := make(chan outcome, 1), make(chan outcome, 1)
			begun, goOn := make(chan struct{}), make(chan struct{})
			go func() {
				answer, err := Operate(context.Background(), o.query, key, func(tx pgx.Tx) (Answer, error) {
					answer, err := o.verify(context.Background(), tx)
					close(begun)
					<-goOn
					return answer, errors.Join(err, fault)
				})
				first <- outcome{answer, err}
			}()
			hubtest.Wait(t, patience, "the first to begin", begun)
			go func() {
				answer, err := Operate(context.Background(), o.query, key, func(tx pgx.Tx) (Answer, error) { return o.verify(context.Background(), tx) })
				second <- outcome{answer, err}
			}()
			o.until(t, "the second waits for the first", func() bool {
				var waiting int
				require.NoError(t, o.admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
					WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting))
				return waiting == 1
			})
			close(goOn)
			one, two := hubtest.Wait(t, patience, "the first to end", first), hubtest.Wait(t, patience, "the second to end", second)
			require.ErrorIs(t, one.err, fault)
			require.NoError(t, two.err)
			require.Equal(t, fault == nil, two.answer.Replayed)
			require.Equal(t, 1, o.done(t))
		})
	}
}

// What is kept is its organisation's, stays for 7 days whoever wants it gone, and not much
// longer.
func TestAnswersToOperationsAreKeptForAWeek(t *testing.T) {
	t.Parallel()
	o := newOperating(t)
	_, err := o.admin.Exec(t.Context(), `INSERT INTO operation_receipts (org, caller, idempotency_key, request_hash, answer, created_at)
		SELECT org, 'ana', days::text, '', '1', now() - make_interval(days => days) FROM unnest(ARRAY['acme', 'other']) org, generate_series(5, 9) days`)
	require.NoError(t, err)
	require.NoError(t, purgeOperations(t.Context(), o.options.Pool))
	_, err = o.options.Pool.Exec(t.Context(), `DELETE FROM operation_receipts`)
	require.NoError(t, err)
	var left []string
	require.NoError(t, o.admin.QueryRow(t.Context(), `SELECT array_agg(org || ' ' || idempotency_key ORDER BY org, idempotency_key) FROM operation_receipts`).Scan(&left))
	require.Equal(t, []string{"acme 5", "acme 6", "other 5", "other 6"}, left)

	err = pgx.BeginFunc(t.Context(), o.query, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT set_config('hub.org', 'acme', true)`); err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), `SELECT array_agg(DISTINCT org) FROM operation_receipts`).Scan(&left)
	})
	require.NoError(t, err)
	require.Equal(t, []string{"acme"}, left, "row-level security holds where a query forgets")
	for _, statement := range []string{
		`DELETE FROM operation_receipts`, `UPDATE operation_receipts SET request_hash = ''`,
		`INSERT INTO operation_receipts (org, caller, idempotency_key, request_hash, created_at) VALUES ('acme', 'ana', 'x', '', now())`,
	} {
		_, err = o.query.Exec(t.Context(), statement)
		require.ErrorContains(t, err, "permission denied", statement)
	}
}
