package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/reactdjango-hub/backend/internal/config"
)

// service is what of a service of the Compose file is looked at.
type service struct {
	Build       string
	Image       string
	Command     []string
	Environment map[string]string
	Ports       []string
	Profiles    []string
	ReadOnly    bool     `yaml:"read_only"`
	Stops       string   `yaml:"stop_grace_period"`
	CapDrop     []string `yaml:"cap_drop"`
	Restart     string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct {
		Test    []string
		Disable bool
	}
}

func composed(t *testing.T) map[string]service {
	t.Helper()
	text, err := os.ReadFile("../../docker-compose.local.yml")
	require.NoError(t, err)
	var file struct{ Services map[string]service }
	require.NoError(t, yaml.Unmarshal(text, &file))
	return file.Services
}

// instruction is one of a Dockerfile, lines continued by a backslash joined.
type instruction struct{ name, arguments string }

// image reads the Dockerfile into its stages.
func image(t *testing.T) [][]instruction {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	joined := strings.ReplaceAll(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(text), ""), "\\\n", " ")
	var stages [][]instruction
	for line := range strings.Lines(joined) {
		name, arguments, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		if name == "FROM" {
			stages = append(stages, nil)
		}
		require.NotEmpty(t, stages, "the first instruction is FROM")
		stages[len(stages)-1] = append(stages[len(stages)-1], instruction{name, arguments})
	}
	return stages
}

func all(stage []instruction, name string) []string {
	var found []string
	for _, i := range stage {
		if i.name == name {
			found = append(found, i.arguments)
		}
	}
	return found
}

// imageEnvironment is what the image sets for every service.
func imageEnvironment(t *testing.T) map[string]string {
	t.Helper()
	stages := image(t)
	environment := map[string]string{}
	for _, arguments := range all(stages[len(stages)-1], "ENV") {
		for pair := range strings.FieldsSeq(arguments) {
			name, value, found := strings.Cut(pair, "=")
			require.True(t, found, "ENV %s", pair)
			environment[name] = value
		}
	}
	return environment
}

func TestTheImageHoldsTheProgramAlone(t *testing.T) {
	t.Parallel()
	stages := image(t)
	require.Len(t, stages, 2)
	build, final := stages[0], stages[1]
	goMod, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(goMod))[1]
	assert.Equal(t, "golang:"+version+" AS build", build[0].arguments, "the Go of go.mod")
	assert.Contains(t, strings.Join(all(build, "RUN"), "\n"), "make build VERSION=$VERSION", "built as everywhere else")

	assert.Equal(t, "scratch", final[0].arguments)
	assert.Equal(t, []string{"65532:65532"}, all(final, "USER"), "not root, by number, so that an orchestrator can tell")
	assert.Equal(t, []string{`["/hub"]`}, all(final, "ENTRYPOINT"))
	health := all(final, "HEALTHCHECK")
	require.Len(t, health, 1)
	assert.Contains(t, health[0], `CMD ["/hub", "healthcheck"]`)
	assert.Empty(t, all(final, "RUN"), "there is nothing to run anything with")
	assert.Equal(t, ":8000", imageEnvironment(t)["HUB_HTTP_ADDR"])
	var exposed []string
	for _, name := range []string{"HUB_HTTP_ADDR", "HUB_QUERY_ADDR", "HUB_OPS_ADDR"} {
		exposed = append(exposed, strings.TrimPrefix(imageEnvironment(t)[name], ":"))
	}
	assert.Equal(t, []string{strings.Join(exposed, " ")}, all(final, "EXPOSE"))

	// What the builder is not sent cannot be in the program.
	ignored, err := os.ReadFile("../../.dockerignore")
	require.NoError(t, err)
	for _, folder := range folders(t) {
		assert.Contains(t, string(ignored), "\n!"+folder+"\n", "the builder needs %s", folder)
	}
}

// folders are those of the tree that hold packages of the program.
func folders(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("../..")
	require.NoError(t, err)
	var found []string
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() && !strings.HasPrefix(name, ".") && !slices.Contains([]string{"bin", "clients", "docs", "testdata", "node_modules"}, name) {
			found = append(found, name)
		}
	}
	return found
}

func TestTheComposeFileIsThatOfTheContract(t *testing.T) {
	t.Parallel()
	services := composed(t)
	published := map[string][]string{}
	for name, s := range services {
		if len(s.Ports) > 0 {
			published[name] = s.Ports
		}
		switch {
		case s.Healthcheck.Disable:
			assert.Equal(t, "migrate", name, "only what ends by itself has no health")
			assert.Equal(t, "no", s.Restart)
		default:
			assert.NotEmpty(t, s.Healthcheck.Test, "%s has no health check", name)
		}
		assert.NotContains(t, s.Image, ".", "%s names a registry", name)
	}
	assert.Equal(t, map[string][]string{
		"main-db": {"5437:5432"}, "main-redis": {"6384:6379"}, "main-nats": {"4224:4222"}, "backend": {"8000:8000"}, "identity-service": {"8001:8001"},
	}, published)
	assert.Equal(t, "postgres:17", services["main-db"].Image)
	assert.Equal(t, []string{"dev-identity"}, services["identity-service"].Profiles)

	// `up -d main-db main-redis backend` starts what these depend on, and nothing else.
	started := map[string]bool{}
	var start func(name string)
	start = func(name string) {
		require.Contains(t, services, name)
		if started[name] {
			return
		}
		started[name] = true
		for dependency, on := range services[name].DependsOn {
			want := "service_healthy"
			if dependency == "migrate" {
				want = "service_completed_successfully"
			}
			assert.Equal(t, want, on.Condition, "%s on %s", name, dependency)
			start(dependency)
		}
	}
	for _, name := range []string{"main-db", "main-redis", "backend"} {
		start(name)
	}
	for name, s := range services {
		assert.Equal(t, len(s.Profiles) == 0, started[name], "%s is started", name)
	}
}

// Each service's command exists, and its environment is whole for it: the image's, and
// the Compose file's over that.
func TestTheComposedEnvironmentsAreValid(t *testing.T) {
	t.Parallel()
	var roles []string
	for name, s := range composed(t) {
		if s.Build == "" {
			continue
		}
		assert.True(t, s.ReadOnly && slices.Contains(s.CapDrop, "ALL"), "%s may write or do what it need not", name)
		grace, err := time.ParseDuration(s.Stops)
		require.NoError(t, err, name)
		assert.Greater(t, grace, drainTimeout+10*time.Second, "%s is killed before it has stopped", name)
		if !s.Healthcheck.Disable {
			assert.Equal(t, []string{"CMD", "/hub", "healthcheck"}, s.Healthcheck.Test[:3], "%s: there is no shell in the image", name)
		}
		command, rest, err := newRoot().Find(s.Command)
		require.NoError(t, err, name)
		require.NoError(t, command.ValidateArgs(rest), name)
		environment := imageEnvironment(t)
		for variable, value := range s.Environment {
			environment[variable] = substituted(value)
		}
		var environ []string
		for variable, value := range environment {
			environ = append(environ, variable+"="+value)
		}
		mode := config.Tool()
		switch command.Name() {
		case "serve":
			roles = append(roles, rest...)
			parsed, err := config.ParseRoles(rest)
			require.NoError(t, err, name)
			mode = config.Serve(parsed...)
		case "dev-identity":
			mode = config.DevIdentity()
		case "up":
			mode = config.Migrate()
		}
		// Limits are of all processes that answer callers together.
		_, waits := s.DependsOn["main-redis"]
		assert.Equal(t, waits, environment["REDIS_URL"] == "redis://main-redis:6379/0", "%s and Redis", name)
		cfg, err := config.Load(mode, environ)
		require.NoError(t, err, name)
		if command.Name() == "serve" {
			assert.Equal(t, "http://localhost:9000/readyz", probeURL(cfg), "what the health check of %s asks", name)
		}
	}
	slices.Sort(roles)
	want := []string{}
	for _, role := range config.AllRoles() {
		want = append(want, string(role))
	}
	slices.Sort(want)
	assert.Equal(t, want, roles, "each role runs once")
}

// substituted is a value of a Compose file where the variables it names are unset.
func substituted(value string) string {
	return regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(value, "$1")
}
