package entity

import (
	"errors"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// maxPatterns bounds the patterns of a schema together, in instructions and parts
	// of tables. RE2 has no catastrophic patterns, but a{1000} is a thousand of them, and
	// a schema has room for thousands of such texts. Large ones have a few hundred.
	maxPatterns = 20_000
	// patternSpeed is how many instructions take a byte of text as long as one step of a
	// validation takes, roughly.
	patternSpeed = 20
)

// expressionWish is what is asked of a regular expression.
const expressionWish = "must be a regular expression in RE2 syntax, which has no look-around, no back-references and at most 1,000 repetitions"

var errPatternsTooLarge = errors.New("the patterns are too large")

// patterns compile the regular expressions of one schema, each once, and count what
// they match as work.
type patterns struct {
	work *work
	left int
	// sealed says that the schema is compiled: from then on an expression is a value
	// that shall be one (format regex), and it is only read.
	sealed   bool
	tooLarge bool
	compiled map[string]jsonschema.Regexp
}

// compile implements jsonschema.RegexpEngine.
func (p *patterns) compile(text string) (jsonschema.Regexp, error) {
	if known, found := p.compiled[text]; found {
		return known, nil
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if p.sealed {
		return nil, nil //nolint:nilnil // the library asks only whether it is one
	}
	size := patternSize(tree)
	if p.left -= size; p.left < 0 {
		p.tooLarge = true
		return nil, errPatternsTooLarge
	}
	known := &countedPattern{regexp.MustCompile(text), size, p.work} // it parses, so it compiles
	p.compiled[text] = known
	return known, nil
}

// patternSize is about how many instructions an expression has when repetitions are
// written out, with a share for the tables of its classes, which repetitions share.
func patternSize(tree *syntax.Regexp) int {
	instructions, tables := measured(tree)
	return instructions + tables
}

func measured(tree *syntax.Regexp) (instructions, tables int) {
	for _, part := range tree.Sub {
		of, with := measured(part)
		instructions, tables = instructions+of, tables+with
	}
	switch tree.Op {
	case syntax.OpLiteral:
		instructions += len(tree.Rune)
	case syntax.OpCharClass:
		instructions, tables = instructions+1, tables+len(tree.Rune)/8
	case syntax.OpRepeat:
		instructions = max(tree.Min, tree.Max, 1) * (instructions + 1)
	default:
		instructions++
	}
	return instructions, tables
}

// countedPattern is an expression that counts its work before it does it.
type countedPattern struct {
	*regexp.Regexp
	size int
	work *work
}

// MatchString reports whether the text holds a match.
func (c *countedPattern) MatchString(text string) bool {
	c.work.spend(c.size * len(text) / patternSpeed)
	return c.Regexp.MatchString(text)
}
