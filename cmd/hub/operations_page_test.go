package main

import (
	"bufio"
	"context"
	"fmt"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// operationsPage runs what docs/operations.md says, from its first command to its last, on
// a deployment of the test's own.
type operationsPage struct {
	*hub
	admin string // the URL of a superuser
	files *strings.Replacer
	// restoring says that the log has been backed up: what comes is for a new one.
	restoring bool
}

// Whoever follows the page from its beginning to its end gets a hub that serves, and one
// that was restored from the backup of the first.
func TestTheCommandsOfOperationsWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &operationsPage{
		hub: newWhole(t, newIssuer(t), ""), admin: hubtest.Database(t, hubtest.Migration{}),
		files: strings.NewReplacer("/backups/", dir+"/", "/keys/", dir+"/"),
	}
	p.administer()
	ran := 0
	for _, b := range blocksOf(t, "docs/operations.md") {
		switch b.language {
		case "sql":
			p.grant(b.text)
		case "sh":
			for command := range strings.Lines(b.text) {
				p.follow(strings.TrimSpace(command))
				ran++
			}
		}
	}
	assert.GreaterOrEqual(t, ran, 15)
	require.True(t, p.restoring)
	p.process = nil
	p.start()
	assert.Contains(t, p.command("events", "replay", "--type", "entity.created"), "entity.created")
}

// administer makes the following commands act on the database as a superuser.
func (p *operationsPage) administer() {
	for i, entry := range p.env {
		if strings.HasPrefix(entry, "DATABASE_URL=") {
			p.env[i] = "DATABASE_URL=" + p.admin
		}
	}
}

// grant runs the SQL for the login of the services, under a name of the test's own, and
// starts them by that.
func (p *operationsPage) grant(sql string) {
	p.t.Helper()
	pool, login := hubtest.Pool(p.t, p.admin, ""), fmt.Sprintf("page_%d", time.Now().UnixNano())
	sql = regexp.MustCompile(`\b(ROLE|TO) hub\b`).ReplaceAllString(sql, "${1} "+login)
	_, err := pool.Exec(p.t.Context(), sql)
	require.NoError(p.t, err, sql)
	p.t.Cleanup(func() {
		_, err := pool.Exec(context.WithoutCancel(p.t.Context()), "DROP ROLE "+login)
		assert.NoError(p.t, err)
	})
	url, err := neturl.Parse(p.admin)
	require.NoError(p.t, err)
	url.User = neturl.UserPassword(login, "…")
	for i, entry := range p.env {
		if strings.HasPrefix(entry, "DATABASE_URL=") {
			p.env[i] = "DATABASE_URL=" + url.String()
		}
	}
	p.env = append(p.env, "MIGRATE_DATABASE_URL="+p.admin)
	p.start()
	token := p.token("acme", "admin")
	patient := p.admit(token, "DE1")
	p.get("/api/v1/entities/"+patient, token, nil, nil)
}

// follow runs one line of the page.
func (p *operationsPage) follow(line string) {
	p.t.Helper()
	arguments, ours := strings.CutPrefix(p.files.Replace(line), "hub ")
	switch args := strings.Fields(arguments); {
	case line == "docker compose -f docker-compose.local.yml up -d main-db main-redis backend":
		// TestTheComposeFileIsThatOfTheContract starts these.
	case !ours:
		p.t.Fatalf("nobody knows how to try %q", line)
	case strings.HasPrefix(arguments, "events tail"):
		p.tails(args)
	case strings.Contains(arguments, "NAME"):
		code, said := p.tries(args...)
		assert.Equal(p.t, exitFailed, code, line)
		assert.Contains(p.t, said, "there is no reaction", line)
	case arguments == "migrate up" && p.process != nil:
		// A new database, for what was backed up.
		p.terminate()
		p.restoring, p.admin = true, hubtest.Database(p.t, hubtest.Migration{})
		p.env = append(p.env, "MIGRATE_DATABASE_URL="+p.admin)
		p.administer()
		p.command(args...)
	default:
		p.command(args...)
	}
}

// tails follows the log until an event has come, and stops as an operator does.
func (p *operationsPage) tails(args []string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), hubtest.Binary(p.t), args...)
	cmd.Env, cmd.Stderr = p.environ(), p.t.Output()
	out, err := cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, cmd.Start())
	lines := make(chan string, 1)
	go func() {
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			default:
			}
		}
	}()
	token := p.token("acme", "admin")
	for n := 0; ; n++ {
		p.admit(token, fmt.Sprint("tail-", n))
		select {
		case line := <-lines:
			assert.Contains(p.t, line, "position")
		case <-time.After(time.Second): // it may not have begun; no matter how slow, one comes
			require.Less(p.t, n, 60)
			continue
		}
		break
	}
	require.NoError(p.t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait() // the exit code is looked at
	assert.Zero(p.t, cmd.ProcessState.ExitCode())
}

// Every command, and every flag of it, that a page names in its text is there.
func TestCommandsThatPagesNameExist(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	runbooks, err := filepath.Glob("../../docs/runbooks/*.md")
	require.NoError(t, err)
	named := 0
	for _, page := range append(append(pages, runbooks...), "../../README.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile("`(?:\\./bin/)?hub ([a-z][^`]*)`").FindAllStringSubmatch(string(text), -1) {
			named++
			for words := range strings.SplitSeq(m[1], "|") { // as `retry|drop`
				if words != m[1] && !strings.HasPrefix(m[1], words) {
					before, _ := splitLast(strings.Split(m[1], "|")[0])
					words = before + " " + words
				}
				requireCommand(t, filepath.Base(page), strings.Fields(words))
			}
		}
	}
	assert.GreaterOrEqual(t, named, 40)
}

func splitLast(words string) (before, last string) {
	at := strings.LastIndex(words, " ")
	return words[:max(at, 0)], words[at+1:]
}

func requireCommand(t *testing.T, page string, words []string) {
	t.Helper()
	command, rest, err := newRoot().Find(words)
	if !assert.NoError(t, err, "%s: hub %v", page, words) {
		return
	}
	isGroup := command.HasSubCommands()
	for _, word := range rest {
		flag, isFlag := strings.CutPrefix(word, "--")
		flag, _, _ = strings.Cut(flag, "=")
		switch {
		case isFlag:
			assert.NotNil(t, command.Flags().Lookup(flag), "%s: hub %v", page, words)
		case isGroup:
			assert.Fail(t, "no such command", "%s: hub %v, of %v", page, words, names(command))
		}
	}
}

func names(of *cobra.Command) (found []string) {
	for _, command := range of.Commands() {
		found = append(found, command.Name())
	}
	return found
}
