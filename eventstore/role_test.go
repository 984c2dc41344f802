package eventstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore"
)

func TestARoleThatEscapesRowLevelSecurityIsRefused(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	admin := l.admin(t)
	role := fmt.Sprintf("role_%d", time.Now().UnixNano())
	_, err := admin.Exec(t.Context(), "CREATE ROLE "+role)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(context.WithoutCancel(t.Context()), "DROP ROLE "+role)
		assert.NoError(t, err)
	})
	check := func(role string) error {
		pool, err := eventstore.OpenPool(t.Context(), l.url, eventstore.Role(role), 1)
		require.NoError(t, err)
		defer pool.Close()
		return eventstore.CheckRole(t.Context(), pool, eventstore.Role(role))
	}
	require.NoError(t, check(role))
	for _, attribute := range []string{"BYPASSRLS", "SUPERUSER"} {
		_, err = admin.Exec(t.Context(), "ALTER ROLE "+role+" "+attribute)
		require.NoError(t, err)
		require.ErrorIs(t, check(role), eventstore.ErrUnfitRole, attribute)
		_, err = admin.Exec(t.Context(), "ALTER ROLE "+role+" NO"+attribute)
		require.NoError(t, err)
		require.NoError(t, check(role), attribute)
	}
	err = check("no_such_role")
	require.ErrorIs(t, err, eventstore.ErrUnfitRole)
	require.ErrorContains(t, err, "hub migrate up")
}
