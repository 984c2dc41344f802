package main

import (
	"context"
	"encoding/json"
	"fmt"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// refused runs `hub serve roles…`, which must end by itself, and returns what it says.
func refused(t *testing.T, env []string, roles ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), hubtest.Binary(t), append([]string{"serve"}, roles...)...)
	cmd.Env = append([]string{
		"NATS_URL=nats://127.0.0.1:1", "IDENTITY_SERVICE_URL=http://127.0.0.1:1", "HUB_DATA_DIR=" + t.TempDir(),
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone",
	}, env...)
	output, _ := cmd.CombinedOutput() // the exit code is looked at below
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), "%s", output)
	return string(output)
}

func TestServeRefusesASchemaThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	roles := map[string][]string{"log_migrations": {"command-api", "relay", "projector"}, "projection_migrations": {"query-api", "projector"}}
	for table, of := range roles {
		for version, advice := range map[string]string{"0": "run `hub migrate up` with this version of hub", "99": "use the version of hub that migrated it, or a later one"} {
			url := hubtest.Database(t, hubtest.LogAndViews())
			_, err := hubtest.Pool(t, url, "").Exec(t.Context(), fmt.Sprintf("COMMENT ON TABLE %s IS '%s'", table, version))
			require.NoError(t, err)
			for _, role := range of {
				assert.Contains(t, refused(t, []string{"DATABASE_URL=" + url}, role), advice, "%s, %s at %s", role, table, version)
			}
		}
	}
	assert.Contains(t, refused(t, []string{"DATABASE_URL=" + hubtest.Database(t, hubtest.Migration{})}, "relay"), "run `hub migrate up`", "an empty database")
}

// A login that is no superuser serves once it has been granted the roles, and is told
// what it lacks before.
func TestServeActsAsTheRolesWhateverItsLogin(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.LogAndViews())
	admin := hubtest.Pool(t, url, "")
	login := fmt.Sprintf("login_%d", time.Now().UnixNano())
	_, err := admin.Exec(t.Context(), "CREATE ROLE "+login+" LOGIN PASSWORD 'canary-4711'")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(context.WithoutCancel(t.Context()), "DROP ROLE "+login)
		assert.NoError(t, err)
	})
	as, err := neturl.Parse(url)
	require.NoError(t, err)
	as.User = neturl.UserPassword(login, "canary-4711")
	env := []string{"DATABASE_URL=" + as.String()}
	for role, advice := range map[string]string{
		"command-api": "GRANT hub_command TO", "relay": "GRANT hub_relay TO", "projector": "GRANT hub_projector TO", "query-api": "GRANT hub_query TO",
	} {
		said := refused(t, env, role)
		assert.Contains(t, said, advice)
		assert.NotContains(t, said, "canary", "a password is shown")
	}
	_, err = admin.Exec(t.Context(), "GRANT hub_command, hub_relay, hub_projector, hub_query TO "+login)
	require.NoError(t, err)
	h := newServeHub(t, append(env, "NATS_URL=nats://127.0.0.1:1", "IDENTITY_SERVICE_URL=http://127.0.0.1:1",
		"HUB_DATA_DIR="+t.TempDir(), "SECRET_KEY=of-a-test-and-long-enough-for-anyone", fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t))), "all")
	h.launch()
	assert.Zero(t, h.terminate())
}

// Every fault of the environment is named at once, and no secret is shown.
func TestServeNamesEveryFaultOfTheEnvironmentAtOnce(t *testing.T) {
	t.Parallel()
	said := refused(t, []string{
		"DATABASE_URL=mysql://hub:canary-1@db/hub", "NATS_URL=http://canary-2@nats", "SECRET_KEY=canary-3-change-me",
		"HUB_HTTP_ADR=127.0.0.1:1", "HUB_LOG_LEVEL=loud", "REDIS_URL_FILE=/nowhere",
	}, "all")
	for _, name := range []string{"DATABASE_URL", "NATS_URL", "SECRET_KEY", "HUB_HTTP_ADR", "HUB_LOG_LEVEL", "REDIS_URL_FILE"} {
		assert.Contains(t, said, "\n  "+name+" ")
	}
	assert.NotContains(t, said, "canary", "a secret is shown")
}

// What a newer program has made is left alone by every command, and what an older one has
// made by all but the migration: each says what to run.
func TestCommandsRefuseASchemaThatIsNotTheirOwn(t *testing.T) {
	t.Parallel()
	const newer, older = "use the version of hub that migrated it, or a later one", "run `hub migrate up` with this version of hub"
	file := filepath.Join(t.TempDir(), "file")
	onLog := [][]string{
		{"backup", file}, {"restore", file}, {"keys", "list"}, {"keys", "rotate"}, {"keys", "backup", file}, {"events", "replay"}, {"events", "tail"},
		{"projections", "verify"}, {"ledger", "verify"},
	}
	onViews := [][]string{{"projections", "list"}, {"projections", "rebuild", "entities"}, {"projections", "verify"}, {"reactions", "list"}}
	migrating := [][]string{{"migrate", "up"}, {"migrate", "down"}, {"dev"}}
	for _, c := range []struct {
		table, version, advice string
		commands               [][]string
	}{
		{"log_migrations", "99", newer, slices.Concat(onLog, migrating)},
		{"projection_migrations", "99", newer, slices.Concat(onViews, migrating)},
		{"log_migrations", "0", older, onLog},
		{"projection_migrations", "0", older, onViews},
	} {
		url := hubtest.Database(t, hubtest.LogAndViews())
		require.NoError(t, os.WriteFile(file, nil, 0o600)) // to be opened before it is read
		_, err := hubtest.Pool(t, url, "").Exec(t.Context(), fmt.Sprintf("COMMENT ON TABLE %s IS '%s'", c.table, c.version))
		require.NoError(t, err)
		for _, args := range c.commands {
			cmd := exec.CommandContext(t.Context(), hubtest.Binary(t), args...)
			cmd.Env = hubtest.HubEnvironment([]string{
				"DATABASE_URL=" + url, "NATS_URL=nats://127.0.0.1:1", "IDENTITY_SERVICE_URL=http://127.0.0.1:1",
				"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + hubtest.TempDir(t),
			})
			output, _ := cmd.CombinedOutput() // the exit code is looked at below
			assert.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), "hub %v: %s", args, output)
			assert.Contains(t, string(output), c.advice, "hub %v with %s at %s", args, c.table, c.version)
		}
	}
}

// The environment is looked at before anything is started: what is in force, or what is
// wrong, and no secret.
func TestConfigCheck(t *testing.T) {
	t.Parallel()
	check := func(exit int, env []string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), hubtest.Binary(t), append([]string{"config", "check"}, args...)...)
		cmd.Env = slices.Concat(env, []string{"GOCOVERDIR=" + os.Getenv("COVERAGE_OF_PROCESSES")})
		output, _ := cmd.CombinedOutput() // the exit code is looked at below
		require.Equal(t, exit, cmd.ProcessState.ExitCode(), "%v: %s", args, output)
		assert.NotContains(t, string(output), "canary")
		return string(output)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("canary-and-long-enough-for-anyone-4711\n"), 0o600))
	good := []string{"DATABASE_URL=postgres://hub:canary@db/hub", "NATS_URL=nats://nats:4222", "IDENTITY_SERVICE_URL=https://identity.example", "SECRET_KEY_FILE=" + secret}
	var settings []config.Setting
	require.NoError(t, json.Unmarshal([]byte(check(0, good, "command-api", "relay", "--output", "json")), &settings))
	found := map[string]config.Setting{}
	for _, s := range settings {
		assert.NotEmpty(t, s.Meaning, s.Name)
		found[s.Name] = s
	}
	assert.Equal(t, []string{"file", "environment", "default"}, []string{found["SECRET_KEY"].Source, found["DATABASE_URL"].Source, found["HUB_HTTP_ADDR"].Source})
	assert.Contains(t, check(0, []string{}), "HUB_DATA_DIR", "without a role it is of hub dev")
	said := check(exitFailed, []string{"DATABASE_URL=canary", "HUB_HTP_ADDR=:1"}, "all")
	for _, name := range []string{"DATABASE_URL", "NATS_URL", "IDENTITY_SERVICE_URL", "SECRET_KEY", "HUB_HTP_ADDR"} {
		assert.Contains(t, said, "\n  "+name+" ")
	}
	check(exitMisuse, []string{}, "nonsense")
}
