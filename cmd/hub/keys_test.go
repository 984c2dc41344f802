package main

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// A key that was wrapped under one SECRET_KEY is rotated to another by the command line;
// a service that has neither is refused, and says what to do.
func TestKeysAreRotatedByTheCommandLine(t *testing.T) {
	t.Parallel()
	const older, newer = "the-older-secret-of-a-test-0123456789", "the-newer-secret-of-a-test-0123456789"
	url := hubtest.Database(t, hubtest.LogAndViews())
	masters, err := mastersOf(config.Config{}, []byte(older))
	require.NoError(t, err)
	pool := hubtest.Pool(t, url, "hub_command")
	key, err := keyring.New(keyring.Options{Pool: pool, Masters: masters}).New(keyring.Ref{Org: "acme", Subject: "ana"})
	require.NoError(t, err)
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('hub.appended', 'yes', true)`)
	keyring.Keep([]*keyring.Key{key}, nil)(batch)
	require.NoError(t, pool.SendBatch(t.Context(), batch).Close())

	keys := func(exit int, secrets []string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), hubtest.Binary(t), append([]string{"keys"}, args...)...)
		cmd.Env = append(hubtest.HubEnvironment(nil), append(secrets, "MIGRATE_DATABASE_URL="+url, "HUB_DATA_DIR="+hubtest.TempDir(t))...)
		output, _ := cmd.CombinedOutput() // the exit code is looked at below
		require.Equal(t, exit, cmd.ProcessState.ExitCode(), "%s", output)
		return string(output)
	}
	assert.Contains(t, refused(t, []string{"DATABASE_URL=" + url, "SECRET_KEY=" + newer}, "command-api"), "SECRET_KEY_PREVIOUS")
	assert.Contains(t, keys(exitFailed, nil, "rotate"), "set SECRET_KEY")
	assert.Contains(t, keys(exitFailed, []string{"SECRET_KEY=" + newer}, "rotate"), "SECRET_KEY_PREVIOUS")
	assert.Contains(t, keys(0, []string{"SECRET_KEY=" + newer, "SECRET_KEY_PREVIOUS=" + older}, "rotate"), "Wrapped anew: 1 keys")
	assert.Contains(t, keys(0, []string{"SECRET_KEY=" + newer}, "rotate"), "Wrapped anew: 0 keys")
	assert.Contains(t, refused(t, []string{"DATABASE_URL=" + url, "SECRET_KEY=" + older}, "command-api"), "SECRET_KEY_PREVIOUS")

	var listed []keyring.Listing
	require.NoError(t, json.Unmarshal([]byte(keys(0, []string{"SECRET_KEY=" + newer}, "list", "--output", "json")), &listed))
	require.Len(t, listed, 1)
	assert.True(t, listed[0].Current)
	assert.Equal(t, int64(1), listed[0].Keys)
	assert.Equal(t, "acme", listed[0].Org)
}
