package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// source is a package, parsed and type-checked.
type source struct {
	Dir        string
	Name       string
	ImportPath string
	GoFiles    []string

	set   *token.FileSet
	files []*ast.File
	texts [][]byte
	info  types.Info
}

// load reads a package. What it imports comes from the export data of the build.
func load(ctx context.Context, pkg string) (*source, error) {
	list := exec.CommandContext(ctx, "go", "list", "-json=Dir,Name,ImportPath,GoFiles,Export", "-export", "-deps", pkg)
	list.Stderr = os.Stderr
	listed, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", pkg, err)
	}
	exports := map[string]string{}
	p := &source{set: token.NewFileSet()}
	for decoder := json.NewDecoder(bytes.NewReader(listed)); decoder.More(); {
		var one struct {
			source
			Export string
		}
		if err := decoder.Decode(&one); err != nil {
			return nil, err
		}
		exports[one.ImportPath] = one.Export
		p.Dir, p.Name, p.ImportPath, p.GoFiles = one.Dir, one.Name, one.ImportPath, one.GoFiles // the last is the package itself
	}
	for _, name := range p.GoFiles {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(p.set, name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.files, p.texts = append(p.files, file), append(p.texts, text)
	}
	p.info = types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	checker := types.Config{Importer: importer.ForCompiler(p.set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	_, err = checker.Check(p.ImportPath, p.set, p.files, &p.info)
	return p, err
}

// typeOf names the type of an expression as the package writes it.
func (p *source) typeOf(e ast.Expr) string {
	return types.TypeString(p.info.TypeOf(e), func(other *types.Package) string {
		if other.Path() == p.ImportPath {
			return ""
		}
		return other.Name()
	})
}

// constant reports whether an expression has its value already when it is compiled.
func (p *source) constant(e ast.Expr) bool { return p.info.Types[e].Value != nil }

// numeric reports whether an expression is a number.
func (p *source) numeric(e ast.Expr) bool {
	basic, ok := p.info.TypeOf(e).Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsNumeric != 0
}

// plant writes the package with all changes in it, and the overlay that has it built so.
func (p *source) plant(work string) ([]mutant, error) {
	var all []mutant
	replaced := map[string]string{}
	for i, file := range p.files {
		planter := &planter{source: p, file: p.GoFiles[i], text: p.texts[i], base: p.set.File(file.Pos()).Base(), mutants: all}
		planter.find(file)
		all = planter.mutants
		name := filepath.Join(work, p.GoFiles[i])
		if err := os.WriteFile(name, []byte(planter.changed(0, len(planter.text))), 0o600); err != nil {
			return nil, err
		}
		replaced[filepath.Join(p.Dir, p.GoFiles[i])] = name
	}
	chosen := strings.NewReplacer("PACKAGE", p.Name, "VARIABLE", variable).Replace(chooser)
	name := filepath.Join(work, "mutated.go")
	if err := os.WriteFile(name, []byte(chosen), 0o600); err != nil {
		return nil, err
	}
	replaced[filepath.Join(p.Dir, "mutated.go")] = name
	return all, writeOverlay(work, replaced)
}

// chooser is what a changed package asks whether it is to be a change.
const chooser = `package PACKAGE

import (
	"os"
	"strconv"
)

var chosenMutant, _ = strconv.Atoi(os.Getenv("VARIABLE"))

func mutated(number int) bool { return number == chosenMutant }
`
