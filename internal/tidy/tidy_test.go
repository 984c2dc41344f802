package tidy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is the path of this module; what follows is a folder of the tree.
const module = "github.com/reactdjango-hub/backend"

// root is the top of the tree, seen from this package's folder.
const root = "../.."

// source is one Go file, parsed.
type source struct {
	// path is from the root, with slashes; dir is its folder.
	path, dir string
	text      string
	syntax    *ast.File
	test      bool
}

// imports lists what the file imports.
func (s source) imports() []string {
	var all []string
	for _, spec := range s.syntax.Imports {
		all = append(all, strings.Trim(spec.Path.Value, `"`))
	}
	return all
}

// sources are all Go files of the tree.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, name := range files(t) {
		if path.Ext(name) != ".go" {
			continue
		}
		text := read(t, name)
		syntax, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{
			path: name, dir: path.Dir(name), text: text, syntax: syntax, test: strings.HasSuffix(name, "_test.go"),
		})
	}
	if len(all) == 0 {
		t.Fatal("no Go files found: is the root of the tree still where this test looks for it?")
	}
	return all
}

// files are the paths of all files of the tree, folders with a dot and what is
// built left out.
func files(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil || relative == "." {
			return err
		}
		if entry.IsDir() {
			hidden := strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".ci"
			if hidden || relative == "bin" || entry.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		all = append(all, filepath.ToSlash(relative))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// within reports whether dir is one of the folders or below one.
func within(dir string, folders ...string) bool {
	for _, folder := range folders {
		if dir == folder || strings.HasPrefix(dir, folder+"/") {
			return true
		}
	}
	return false
}
