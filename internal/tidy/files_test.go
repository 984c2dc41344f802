package tidy_test

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxLines bounds a Go file outside of tests. 70 to 300 is the usual size; at this
// one it is about two things.
const maxLines = 400

// longFiles are the exceptions, each with its reason.
var longFiles = map[string]string{}

func TestFilesAreAboutOneThing(t *testing.T) {
	for _, s := range sources(t) {
		lines := strings.Count(s.text, "\n")
		if reason := longFiles[s.path]; !s.test && lines > maxLines && reason == "" {
			t.Errorf("%s has %d lines, more than %d: move its second subject to a file of its own, or add it to longFiles with the reason.", s.path, lines, maxLines)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	described := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			described[s.dir] = described[s.dir] || s.syntax.Doc != nil
		}
	}
	for dir, ok := range described {
		if !ok {
			t.Errorf("%s has no package comment: say what the package is for and how it fits the flow, above `package` in its main file.", dir)
		}
	}
}

func TestNamesSayWhatIsInside(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "manager", "misc", "shared", "base"}
	for _, s := range sources(t) {
		for _, name := range []string{s.syntax.Name.Name, strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")} {
			if slices.Contains(vague, name) {
				t.Errorf("%s: %q says nothing. Name it after what it holds, as in eventstore or strictjson.", s.path, name)
			}
		}
	}
}

func TestNothingHappensOnImport(t *testing.T) {
	for _, s := range sources(t) {
		for _, declaration := range s.syntax.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: list explicitly what it registers, and call it from cmd/hub.", s.path)
			}
		}
	}
}

// forbidden are words that have no place in some files.
var forbidden = []struct {
	pattern *regexp.Regexp
	in      func(name string) bool
	instead string
}{
	{
		regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`), everywhere,
		"finish it, or open an issue; what is unfinished is not in the tree",
	},
	{
		regexp.MustCompile(`\b(t|tb|b|f)\.Skip(f|Now)?\(`), isTest,
		"a test that does not run proves nothing: have the test kit start what it needs",
	},
	{
		regexp.MustCompile(`\btime\.Sleep\(`), isTest,
		"wait for a signal (hubtest.Wait), so that the test is neither slow nor flaky",
	},
	{
		regexp.MustCompile(`(^|[^\w.~-])/(root|work|workspace|Users|home/[a-km-z]\w*)/`), everywhere,
		"this path exists on one machine only: make it relative, or take it from the environment",
	},
	{
		regexp.MustCompile(`(?i)\b(registry\.npmjs|proxy\.golang|sum\.golang|pypi\.org|index\.docker|ghcr\.io)`), everywhere,
		"where packages come from is the machine's business: go, apt and npm know it from their own settings",
	},
}

func everywhere(string) bool { return true }

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func TestForbiddenWords(t *testing.T) {
	for _, name := range files(t) {
		if !isText(name) {
			continue
		}
		text := read(t, name)
		for _, rule := range forbidden {
			if !rule.in(name) {
				continue
			}
			number := 0
			for line := range strings.Lines(text) {
				number++
				if found := rule.pattern.FindString(line); found != "" {
					t.Errorf("%s:%d has %q: %s.", name, number, strings.TrimSpace(found), rule.instead)
				}
			}
		}
	}
}

// isText tells what people of this project write from data and other people's files.
func isText(name string) bool {
	if within(path.Dir(name), "internal/httpapi/assets") || name == "go.sum" {
		return false
	}
	return slices.Contains([]string{"", ".go", ".sql", ".md", ".yml", ".yaml", ".mod", ".json", ".sh", ".html", ".ts"}, path.Ext(name))
}

func TestMigrationsGoBothWays(t *testing.T) {
	pattern := regexp.MustCompile(`^migrations/(\w+)/(\d{4})_(\w+)\.(up|down)\.sql$`)
	ways := map[string][]string{}
	highest := map[string]int{}
	count := map[string]int{}
	for _, name := range files(t) {
		if !strings.HasPrefix(name, "migrations/") || path.Ext(name) != ".sql" {
			continue
		}
		m := pattern.FindStringSubmatch(name)
		if m == nil {
			t.Errorf("%s: name migrations <set>/<four digits>_<what>.up.sql and .down.sql.", name)
			continue
		}
		ways[m[1]+"/"+m[2]+"_"+m[3]] = append(ways[m[1]+"/"+m[2]+"_"+m[3]], m[4])
		number, _ := strconv.Atoi(m[2]) // four digits
		highest[m[1]] = max(highest[m[1]], number)
		if m[4] == "up" {
			count[m[1]]++
		}
	}
	for name, both := range ways {
		if len(both) != 2 {
			t.Errorf("migrations/%s goes only %s: write the other way too; a down that would destroy history refuses.", name, both[0])
		}
	}
	for set, n := range highest {
		if count[set] != n {
			t.Errorf("migrations/%s has %d steps and the highest is %d: number them from 1 without gaps.", set, count[set], n)
		}
	}
}
