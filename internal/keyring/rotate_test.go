package keyring_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

func admin(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func masters(t *testing.T, current []byte, others ...[]byte) *keyring.Masters {
	t.Helper()
	m, err := keyring.NewMasters(current, others...)
	require.NoError(t, err)
	return m
}

// many makes keys on disk and gives a value that the last of them has sealed.
func many(t *testing.T, r ring, n int) (last keyring.Ref, sealed string) {
	t.Helper()
	keys := make([]*keyring.Key, n)
	for i := range keys {
		last = keyring.Ref{Org: "acme", Subject: fmt.Sprintf("%06d", i)}
		key, err := r.New(last)
		require.NoError(t, err)
		keys[i] = key
	}
	require.NoError(t, r.keep(t, keys))
	sealed, err := keyring.Seal(place, []byte("7"), keys[n-1])
	require.NoError(t, err)
	return last, sealed
}

func TestRotation(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	before := open(t, url, "hub_command", first)
	require.NoError(t, before.Check(t.Context()))
	last, sealed := many(t, before, 1201)
	require.NoError(t, before.Erase(t.Context(), keyring.Ref{Org: "acme", Subject: "000000"}, nil))
	hasher, err := before.Hasher(t.Context(), "acme")
	require.NoError(t, err)

	conn := admin(t, url)
	_, err = keyring.Rotate(t.Context(), conn, masters(t, second), func(int64, int64) {})
	require.ErrorIs(t, err, keyring.ErrOtherMaster, "without the previous key nothing can be wrapped anew")

	// Broken off after the first part, and begun again.
	ctx, cancel := context.WithCancel(t.Context())
	_, err = keyring.Rotate(ctx, admin(t, url), masters(t, second, first), func(int64, int64) { cancel() })
	require.Error(t, err)
	both := open(t, url, "hub_command", second, first)
	require.NoError(t, both.Check(t.Context()))
	require.False(t, both.load(t, last).Erased(), "what is half rotated serves")
	other := keyring.Ref{Org: "other", Subject: "made meanwhile by who has the old key alone"}
	before.made(t, other)

	var steps []int64
	done, err := keyring.Rotate(t.Context(), conn, masters(t, second, first), func(done, total int64) {
		steps = append(steps, done)
		assert.LessOrEqual(t, done, total)
	})
	require.NoError(t, err)
	require.Equal(t, int64(700+1+1), done, "what the first try had left, the new one and the secret")
	require.IsIncreasing(t, steps[:2])
	again, err := keyring.Rotate(t.Context(), conn, masters(t, second, first), func(int64, int64) {})
	require.NoError(t, err)
	require.Zero(t, again)

	// The old key is of no use any more, and the keys are what they were.
	require.ErrorIs(t, open(t, url, "hub_command", first).Check(t.Context()), keyring.ErrOtherMaster)
	after := open(t, url, "hub_command", second)
	require.NoError(t, after.Check(t.Context()))
	plain, err := keyring.Open(place, sealed, after.load(t, last))
	require.NoError(t, err)
	assert.Equal(t, "7", string(plain))
	require.NotNil(t, after.load(t, other))
	rotatedHasher, err := after.Hasher(t.Context(), "acme")
	require.NoError(t, err)
	assert.Equal(t, hasher.Hash("x"), rotatedHasher.Hash("x"))

	listed, err := keyring.List(t.Context(), conn, masters(t, second))
	require.NoError(t, err)
	require.Len(t, listed, 3)
	assert.Equal(t, []int64{1200, 0, 1}, []int64{listed[0].Keys, listed[1].Keys, listed[2].Keys})
	assert.Equal(t, []int64{0, 1, 0}, []int64{listed[0].Erased, listed[1].Erased, listed[2].Erased})
	assert.True(t, listed[0].Current && !listed[1].Current && listed[2].Current)
}

// A process with another SECRET_KEY must not begin: what it wraps the others cannot read.
func TestAProcessWithAnotherMasterKeyIsRefused(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.Log())
	require.NoError(t, open(t, url, "hub_query", second).Check(t.Context()), "nothing is wrapped yet")
	open(t, url, "hub_command", first).made(t, keyring.Ref{Org: "acme", Subject: "ben"})
	for _, role := range []string{"hub_command", "hub_projector", "hub_query"} {
		require.ErrorIs(t, open(t, url, role, second).Check(t.Context()), keyring.ErrOtherMaster, role)
	}
	key := open(t, url, "hub_command", first).made(t, ana)
	require.NotNil(t, key)
	_, err := open(t, url, "hub_command", second).Load(t.Context(), []keyring.Ref{ana})
	require.ErrorIs(t, err, keyring.ErrOtherMaster)
}
