package tidy_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/internal/tidy/events/catalogue"
)

// pages are the documents that people read.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, name := range files(t) {
		if path.Ext(name) == ".md" && !within(path.Dir(name), "internal/httpapi/assets") {
			all = append(all, name)
		}
	}
	return all
}

func TestDocumentedMakeTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	mention := regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z-]*)")
	for _, name := range pages(t) {
		for _, m := range mention.FindAllStringSubmatch(read(t, name), -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s says `make %s`, which the Makefile does not have: correct the page or add the target.", name, m[1])
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):`).FindAllStringSubmatch(makefile, -1) {
		if !strings.Contains(read(t, "README.md"), "make "+m[1]) && m[1] != "help" {
			t.Errorf("README.md does not mention `make %s`: add it to the table of commands.", m[1])
		}
	}
}

// A law and the test that holds it are named together, so a renamed test is found.
func TestDocumentedTestsExist(t *testing.T) {
	tests := map[string]bool{}
	for _, s := range sources(t) {
		for _, declaration := range s.syntax.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && s.test && f.Recv == nil {
				tests[f.Name.Name] = true
			}
		}
	}
	for _, name := range pages(t) {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz|Example)[A-Z]\\w*)`").FindAllStringSubmatch(read(t, name), -1) {
			if !tests[m[1]] {
				t.Errorf("%s names the test %s, which does not exist: name the one that holds this now.", name, m[1])
			}
		}
	}
}

func TestDocumentedFilesExist(t *testing.T) {
	code := regexp.MustCompile("(?s)```.*?```")
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	file := regexp.MustCompile("`((?:cmd|commands|docs|domain|eventstore|internal|migrations|projections|readmodels)/[\\w./-]*)`")
	for _, name := range pages(t) {
		text := read(t, name)
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			requireExists(t, name, path.Join(path.Dir(name), m[1]))
		}
		for _, m := range file.FindAllStringSubmatch(text, -1) {
			requireExists(t, name, m[1])
		}
	}
}

func requireExists(t *testing.T, page, name string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
		t.Errorf("%s points to %s, which does not exist: correct it.", page, name)
	}
}

func TestTheEventCatalogueIsCurrent(t *testing.T) {
	want, err := catalogue.Pages(filepath.Join(root, "domain"))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "docs", "events")
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(got) != text {
			t.Errorf("docs/events/%s is not what the events in domain/ say: run `make docs`.", name)
		}
	}
	there, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range there {
		if want[entry.Name()] == "" {
			t.Errorf("docs/events/%s is of no event: run `make docs`.", entry.Name())
		}
	}
}
