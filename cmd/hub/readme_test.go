package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// block is one fenced block of a page, with its language.
type block struct{ language, text string }

func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	text, err := os.ReadFile("../../" + page)
	require.NoError(t, err)
	var blocks []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	return blocks
}

// The README's commands, run one after the other in one shell as a reader would, on a
// hub of the test's own: each answers what is shown under it.
func TestTheCommandsOfTheREADMEWork(t *testing.T) {
	t.Parallel()
	blocks := blocksOf(t, "README.md")
	require.Equal(t, block{"sh", "make run\n"}, blocks[0], "the first command starts the hub")
	planned, err := exec.CommandContext(t.Context(), "make", "-C", "../..", "--dry-run", "run").CombinedOutput()
	require.NoError(t, err, "%s", planned)
	require.Contains(t, string(planned), "./bin/hub dev")
	requireBanner(t, blocks[1].text)

	requireExamples(t, blocks[2:])
}

// The examples of a page on entities, as those of the README.
func TestTheExamplesOfEntitiesWork(t *testing.T) {
	t.Parallel()
	requireExamples(t, blocksOf(t, "docs/entities.md"))
}

// The examples of the page on accounts and transactions, as those of the README.
func TestTheExamplesOfTheLedgerWork(t *testing.T) {
	t.Parallel()
	requireExamples(t, blocksOf(t, "docs/ledger.md"))
}

// requireExamples runs the commands of a page on a hub of their own: each answers what is
// shown under it.
func requireExamples(t *testing.T, blocks []block) {
	t.Helper()
	h := newDevHub(t).start()
	here := strings.NewReplacer("http://127.0.0.1:8000", h.base, "./bin/hub ", hubtest.Binary(t)+" ")
	var script strings.Builder
	var shown []string
	for i, b := range blocks {
		if b.language != "sh" {
			continue
		}
		// What a block prints ends in a line of its own, so that answers can be told apart.
		fmt.Fprintf(&script, "{\n%s\n} || exit 1\nprintf '\\n%s\\n'\n", here.Replace(b.text), endOfBlock)
		require.Less(t, i+1, len(blocks))
		require.Equal(t, "json", blocks[i+1].language, "after each command of the page comes what it answers")
		shown = append(shown, blocks[i+1].text)
	}
	require.GreaterOrEqual(t, len(shown), 3, "commands with answers")

	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script.String())
	cmd.Env, cmd.Dir = h.environ(), t.TempDir()
	cmd.Stderr = t.Output()
	output, err := cmd.Output()
	require.NoError(t, err, "%s", output)
	answers := strings.Split(string(output), "\n"+endOfBlock+"\n")
	for i, want := range shown {
		requireSameShape(t, want, answers[i])
	}
}

const endOfBlock = "--- end of block ---"

// requireBanner compares what the README shows with what hub dev prints.
func requireBanner(t *testing.T, shown string) {
	t.Helper()
	cfg, err := config.Load(config.Dev(), nil)
	require.NoError(t, err)
	cfg.IdentityServiceURL = "http://" + cfg.DevIdentityAddr
	stopped, cancel := context.WithCancel(t.Context())
	cancel() // so that no token is asked for
	var printed bytes.Buffer
	welcome(stopped, &printed, cfg, true)
	build := regexp.MustCompile(`Backend \S+ is`)
	require.Equal(t, build.ReplaceAllString(strings.TrimSpace(printed.String()), "Backend X is"), build.ReplaceAllString(strings.TrimSpace(shown), "Backend X is"))
}

// requireSameShape compares two JSON documents by names and kinds of values; numbers
// and what is not made up anew each time must be equal. Which position an event gets
// depends on when the directory notes the token.
func requireSameShape(t *testing.T, want, got string) {
	t.Helper()
	var wanted, found any
	require.NoError(t, json.Unmarshal([]byte(want), &wanted), "%s", want)
	require.NoError(t, json.Unmarshal([]byte(got), &found), "%s", got)
	assert.Equal(t, shape(wanted), shape(found), "shown:\n%s\nanswered:\n%s", want, got)
}

var madeUpAnew = regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z)$`)

func shape(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if _, number := member.(float64); number && name == "position" {
				member = "a position"
			}
			v[name] = shape(member)
		}
	case []any:
		for i, member := range v {
			v[i] = shape(member)
		}
	case string:
		if madeUpAnew.MatchString(v) {
			return "an id or a time"
		}
	}
	return value
}
