package tidy_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// pure is what the domain may use of the standard library. context is not pure:
// it carries deadlines, which are a clock.
var pure = []string{
	"bytes", "cmp", "encoding/base64", "encoding/json", "errors", "fmt", "iter", "maps", "math", "math/big",
	"net/url", "reflect", "regexp", "regexp/syntax", "slices", "sort", "strconv", "strings", "sync", "time", "unicode", "unicode/utf16", "unicode/utf8",
}

// impure are functions of otherwise pure packages that read the clock or invent
// something.
var impure = map[string][]string{
	"time": {"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "Local", "LoadLocation"},
	"uuid": {"New", "NewString", "NewRandom", "NewUUID", "NewV6", "NewV7"},
}

// Law 7. Tests of the domain may use what they like.
func TestTheDomainIsPure(t *testing.T) {
	for _, s := range sources(t) {
		if !within(s.dir, "domain") || s.test || s.dir == "domain/domaintest" {
			continue
		}
		for _, imported := range s.imports() {
			standard := !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
			if standard && !slices.Contains(pure, imported) {
				t.Errorf("%s imports %s: the domain does no I/O and has no clock, randomness or context. Let the command read it and pass the value in; if the package is pure, add it to the list in this test.", s.path, imported)
			}
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, ok := selector.X.(*ast.Ident); ok && slices.Contains(impure[of.Name], selector.Sel.Name) {
				t.Errorf("%s uses %s.%s: the same command on the same state must decide the same. Take the time from Meta.Now, and ids from the command.", s.path, of.Name, selector.Sel.Name)
			}
			return true
		})
	}
}
