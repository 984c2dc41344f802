package tidy_test

import (
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for each part of the tree, the other parts that it may import.
// A part is the longest entry that a package's folder is within; packages of one
// part may import each other unless areas forbids it. Tests are bound only by the
// rule that nothing imports cmd: they put parts together.
var mayImport = map[string][]string{
	"domain":                  {},
	"eventstore":              {"domain", "internal/telemetry"},
	"eventstore/archive":      {},
	"eventstore/relay":        {"eventstore", "domain", "internal/lease", "internal/telemetry"},
	"eventstore/subscription": {"eventstore", "eventstore/relay", "domain", "internal/telemetry"},
	"commands":                {"eventstore", "domain", "internal/keyring", "internal/telemetry"},
	"projections":             {"eventstore", "eventstore/subscription", "domain", "internal/keyring", "internal/lease", "internal/telemetry"},
	"reactions":               {"commands", "eventstore", "eventstore/relay", "eventstore/subscription", "domain", "internal/lease", "internal/telemetry"},
	"readmodels":              {"domain", "eventstore", "internal/telemetry"},
	"migrations":              {},

	"internal/httpapi":    {"commands", "readmodels", "eventstore/subscription", "domain", "internal/identity", "internal/ratelimit", "internal/strictjson", "internal/telemetry"},
	"internal/identity":   {"domain", "internal/secretfile", "internal/strictjson", "internal/telemetry"},
	"internal/config":     {"internal/secretfile"},
	"internal/secretfile": {},
	"internal/ratelimit":  {"internal/telemetry"},
	"internal/strictjson": {"domain"},
	"internal/keyring":    {"domain", "internal/telemetry"},
	"internal/lease":      {},
	"internal/telemetry":  {},
	"internal/local":      {},
	"internal/hubtest":    {"internal/local", "migrations"},
	"internal/tidy":       {"domain"},
	"internal/torture":    {},

	// Measures the program from outside, so it may use what tests use.
	"internal/bench": {"internal/hubtest", "internal/local", "eventstore", "eventstore/relay", "migrations", "domain", "commands", "projections", "internal/identity"},
}

func TestImportsPointOneWay(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.imports() {
			to, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			if within(to, "cmd") {
				t.Errorf("%s imports %s: nothing imports cmd. Move what both need into a package of its own.", s.path, to)
			}
			if s.test || within(s.dir, "cmd") {
				continue
			}
			from, target := part(s.dir), part(to)
			switch {
			case from == "":
				t.Errorf("%s is in no known part of the tree. Add its folder to mayImport with what it may import, or put the file into a package that exists.", s.path)
			case from != target && !allowed(from, to):
				t.Errorf("%s imports %s, which %s may not. Imports point one way: cmd → internal/httpapi → commands, readmodels → eventstore → domain. Pass what is needed as a value or a function from cmd/hub.", s.path, to, from)
			}
		}
	}
}

// part is the longest entry of mayImport that dir is within.
func part(dir string) string {
	longest := ""
	for name := range mayImport {
		if within(dir, name) && len(name) > len(longest) {
			longest = name
		}
	}
	return longest
}

func allowed(from, to string) bool { return slices.Contains(mayImport[from], part(to)) }

// An area of the domain knows only the packages that all areas share.
func TestDomainAreasDoNotImportEachOther(t *testing.T) {
	shared := []string{"domain", "domain/problem"}
	for _, s := range sources(t) {
		if !within(s.dir, "domain") || s.test || s.dir == "domain/domaintest" {
			continue
		}
		for _, imported := range s.imports() {
			to, ours := strings.CutPrefix(imported, module+"/")
			if ours && to != s.dir && !slices.Contains(shared, to) {
				t.Errorf("%s imports %s: areas never import each other. A command in commands/ may read the boundaries of both and pass plain values.", s.path, to)
			}
		}
	}
}

// homes says where each third-party package is used outside of tests. One home
// means one place to read, to wrap and to replace. The key is a prefix.
var homes = map[string][]string{
	"github.com/ThreeDotsLabs/watermill":       {"reactions"},
	"github.com/danielgtaylor/huma/v2":         {"internal/httpapi"},
	"github.com/gorilla/mux":                   {"internal/httpapi"},
	"github.com/rs/cors":                       {"internal/httpapi"},
	"github.com/golang-migrate/migrate/v4":     {"migrations"},
	"github.com/lestrrat-go/jwx/v3":            {"internal/identity"},
	"github.com/santhosh-tekuri/jsonschema/v6": {"domain/entity"},
	"github.com/prometheus/client_golang":      {"internal/telemetry"},
	"go.opentelemetry.io/otel":                 {"internal/telemetry"},
	"go.opentelemetry.io/proto/otlp":           {"internal/telemetry", "internal/hubtest"},
	"google.golang.org/protobuf":               {"internal/telemetry", "internal/hubtest"},
	"github.com/spf13/cobra":                   {"cmd/hub"},
	"github.com/tink-crypto/tink-go/v2":        {"internal/keyring"},
	"github.com/nats-io/nats-server/v2":        {"internal/local"},
	"github.com/nats-io/nkeys":                 {"internal/local"},
	// JSON that refuses what encoding/json lets through: duplicate names, bad UTF-8. Events are
	// read by it because it is faster.
	"github.com/go-json-experiment/json": {"internal/strictjson", "internal/identity", "domain"},
	// cmd/hub opens the pools and hands them on.
	"github.com/jackc/pgx/v5":          {"eventstore", "projections", "reactions", "readmodels", "migrations", "internal/keyring", "internal/lease", "internal/hubtest", "internal/bench", "cmd/hub"},
	"github.com/nats-io/nats.go":       {"eventstore/relay", "eventstore/subscription", "projections", "reactions", "internal/local", "internal/hubtest", "internal/bench", "cmd/hub"},
	"golang.org/x/sync":                {"eventstore/subscription", "reactions", "cmd/hub"},
	"github.com/redis/go-redis/v9":     {"internal/ratelimit"},
	"github.com/alicebob/miniredis/v2": {"internal/hubtest"},
	"golang.org/x/text":                {"internal/strictjson"},
	// An identifier is a plain value, used wherever there are any.
	"github.com/google/uuid": {"."},
}

// testHomes are for tests alone.
var testHomes = []string{"github.com/stretchr/testify", "github.com/prometheus/prometheus", "go.yaml.in/yaml/v3", "pgregory.net/rapid"}

func TestEachDependencyHasAHome(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		for _, imported := range s.imports() {
			if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") || within(imported, module) {
				continue
			}
			if s.test {
				if dependency := prefixOf(imported); dependency != "" {
					used[dependency] = true
				}
				if prefixOf(imported) == "" && !within(imported, testHomes...) {
					t.Errorf("%s imports %s, which has no home. Use what is there already; otherwise add it to homes or testHomes here and a line to docs/dependencies.md.", s.path, imported)
				}
				continue
			}
			dependency := prefixOf(imported)
			switch {
			case dependency == "":
				t.Errorf("%s imports %s, which has no home. Use what is there already; otherwise give it one package in homes and a line in docs/dependencies.md.", s.path, imported)
			case homes[dependency][0] != "." && !within(s.dir, homes[dependency]...):
				t.Errorf("%s imports %s, whose home is %v. Call that package instead, or move the code there.", s.path, imported, homes[dependency])
			}
			used[dependency] = true
		}
	}
	for dependency := range homes {
		if !used[dependency] {
			t.Errorf("nobody uses %s: remove it from homes here, from go.mod and from docs/dependencies.md.", dependency)
		}
	}
}

// prefixOf is the entry of homes that a package belongs to, "" for none.
func prefixOf(imported string) string {
	for dependency := range homes {
		if within(imported, dependency) {
			return dependency
		}
	}
	return ""
}

// docs/dependencies.md has a line for each module that go.mod requires directly,
// and for nothing else.
func TestDependenciesAreDocumented(t *testing.T) {
	const page = "docs/dependencies.md"
	text := read(t, page)
	direct := map[string]bool{}
	for line := range strings.Lines(read(t, "go.mod")) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.Contains(fields[0], ".") || strings.HasSuffix(strings.TrimSpace(line), "// indirect") {
			continue
		}
		direct[fields[0]] = true
		if !strings.Contains(text, "`"+fields[0]+"`") {
			t.Errorf("%s does not mention `%s`: add a line saying what it is for and why this one.", page, fields[0])
		}
	}
	for line := range strings.Lines(text) {
		if _, after, found := strings.Cut(line, "| `"); found && strings.Contains(after, "`") {
			name, _, _ := strings.Cut(after, "`")
			if strings.Contains(name, "/") && !direct[name] {
				t.Errorf("%s mentions `%s`, which go.mod does not require directly: remove the line.", page, name)
			}
		}
	}
}
