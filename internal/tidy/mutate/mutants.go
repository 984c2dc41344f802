package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"slices"
	"strings"
)

// mutant is one change of the package.
type mutant struct {
	number int
	file   string
	line   int
	// before is what stands there, after what the change makes of it; "" when it is left out.
	before, after string
}

// change says what is changed, on one line.
func (m mutant) change() string {
	if m.after == "" {
		return shortened(m.before) + " → (nothing)"
	}
	return shortened(m.before) + " → " + shortened(m.after)
}

// planter finds what can be changed in a file.
type planter struct {
	*source
	file    string
	text    []byte
	base    int
	mutants []mutant
	edits   []edit
	// roughly says that numbers are estimates here.
	roughly bool
}

// edit puts something around a part of the file, in which further edits may be.
type edit struct {
	from, to int
	around   func(inner string) string
}

// others are the comparisons and operators that a comparison or operator could be instead.
var others = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL}, token.REM: {token.MUL},
}

// find finds all changes in a part of the file.
func (p *planter) find(part ast.Node) {
	ast.Inspect(part, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok == token.VAR
		case *ast.FuncDecl:
			p.roughly = strings.EqualFold(n.Name.Name, "size") // which one more is nothing to
		case *ast.BinaryExpr:
			p.operator(n)
		case *ast.UnaryExpr:
			p.sign(n)
		case *ast.Ident:
			p.truth(n)
		case *ast.IfStmt:
			p.condition(n.Cond)
		case *ast.BlockStmt:
			p.statements(n.List)
		case *ast.CaseClause:
			p.statements(n.Body)
		case *ast.SwitchStmt:
			p.cases(n)
		case *ast.AssignStmt:
			p.added(n)
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "make" && len(n.Args) > 2 {
				p.find(n.Args[1]) // the capacity is an estimate
				return false
			}
			p.numbers(n, n.Args...)
		case *ast.SliceExpr:
			p.numbers(n, n.Low, n.High)
		case *ast.IndexExpr:
			p.numbers(n, n.Index)
		}
		return true
	})
}

// cases are conditions where the switch is on none.
func (p *planter) cases(n *ast.SwitchStmt) {
	for _, clause := range n.Body.List {
		for _, e := range clause.(*ast.CaseClause).List {
			if n.Tag == nil {
				p.condition(e)
			}
		}
	}
}

// operator puts another operator in the place of one.
func (p *planter) operator(n *ast.BinaryExpr) {
	if n.Op == token.LAND || n.Op == token.LOR {
		p.condition(n.X)
		p.condition(n.Y)
	}
	p.numbers(n, n.X, n.Y)
	arithmetic := n.Op.Precedence() > token.EQL.Precedence()
	if p.constant(n) || arithmetic && !p.numeric(n) {
		return
	}
	var variants []string
	for _, other := range others[n.Op] {
		variants = append(variants, p.written(n.Pos(), n.OpPos)+other.String()+p.written(n.OpPos+token.Pos(len(n.Op.String())), n.End()))
	}
	p.instead(n, variants...)
}

// condition turns a condition round, unless its operator is changed anyway.
func (p *planter) condition(e ast.Expr) {
	if _, operator := e.(*ast.BinaryExpr); !operator && !p.constant(e) {
		if _, inParentheses := e.(*ast.ParenExpr); !inParentheses {
			p.instead(e, "!("+p.written(e.Pos(), e.End())+")")
		}
	}
}

// numbers makes whole numbers that are written, or named by constants, one more.
func (p *planter) numbers(in ast.Expr, all ...ast.Expr) {
	for _, e := range all {
		if p.roughly || e == nil || p.constant(in) || !p.constant(e) || !p.numeric(e) || p.info.Types[e].Value.Kind() != constant.Int {
			continue
		}
		more := p.written(e.Pos(), e.End()) + " + 1"
		number := p.add(in, p.written(in.Pos(), e.Pos())+more+p.written(e.End(), in.End()))
		p.choose(e, p.typeOf(e), fmt.Sprintf("if mutated(%d) { return %s }; ", number, more))
	}
}

// sign takes a minus away, and a not that is no condition's.
func (p *planter) sign(n *ast.UnaryExpr) {
	if n.Op == token.SUB && !p.constant(n) {
		p.instead(n, p.written(n.X.Pos(), n.X.End()))
	}
}

// truth makes true false, and false true.
func (p *planter) truth(n *ast.Ident) {
	if object := p.info.Uses[n]; object == nil || object.Parent() == nil || object.Pkg() != nil {
		return
	}
	switch n.Name {
	case "true":
		p.instead(n, "false")
	case "false":
		p.instead(n, "true")
	}
}

// added takes away what is added, and adds what is taken away.
func (p *planter) added(n *ast.AssignStmt) {
	if (n.Tok == token.ADD_ASSIGN || n.Tok == token.SUB_ASSIGN) && p.numeric(n.Rhs[0]) {
		p.typed(n.Rhs[0], p.typeOf(n.Lhs[0]), "-("+p.written(n.Rhs[0].Pos(), n.Rhs[0].End())+")")
	}
}

// statements leaves out what a list of statements does.
func (p *planter) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt, *ast.IncDecStmt:
			p.leftOut(s)
		case *ast.AssignStmt:
			blank := slices.ContainsFunc(s.Lhs, func(e ast.Expr) bool { name, ok := e.(*ast.Ident); return ok && name.Name == "_" })
			if s.Tok != token.DEFINE && (!blank || len(s.Lhs) > 1) {
				p.leftOut(s)
			}
		}
	}
}

func (p *planter) leftOut(s ast.Stmt) {
	m := p.add(s, "")
	p.around(s, func(inner string) string { return fmt.Sprintf("if !mutated(%d) { %s }", m, inner) })
}

// instead has an expression be something else.
func (p *planter) instead(e ast.Expr, variants ...string) { p.typed(e, p.typeOf(e), variants...) }

func (p *planter) typed(e ast.Expr, of string, variants ...string) {
	if len(variants) == 0 {
		return
	}
	var choice strings.Builder
	for _, variant := range variants {
		fmt.Fprintf(&choice, "if mutated(%d) { return %s }; ", p.add(e, variant), variant)
	}
	p.choose(e, of, choice.String())
}

// choose puts a choice of other values before an expression.
func (p *planter) choose(e ast.Expr, of, choice string) {
	of = strings.TrimPrefix(of, "untyped ")
	p.around(e, func(inner string) string { return "func() " + of + " { " + choice + "return " + inner + " }()" })
}

func (p *planter) add(n ast.Node, after string) int {
	number := len(p.mutants) + 1
	p.mutants = append(p.mutants, mutant{number, p.file, p.set.Position(n.Pos()).Line, p.written(n.Pos(), n.End()), after})
	return number
}

func (p *planter) around(n ast.Node, around func(string) string) {
	p.edits = append(p.edits, edit{int(n.Pos()) - p.base, int(n.End()) - p.base, around})
}

// written is a part of the file as it is written.
func (p *planter) written(from, to token.Pos) string {
	return string(p.text[int(from)-p.base : int(to)-p.base])
}

// changed is a part of the file with all edits in it.
func (p *planter) changed(from, to int) string {
	var within []edit
	for _, e := range p.edits {
		if from <= e.from && e.to <= to {
			within = append(within, e)
		}
	}
	slices.SortStableFunc(within, func(a, b edit) int { return cmp.Or(a.from-b.from, b.to-a.to) })
	return rewritten(p.text, from, to, within)
}

// rewritten is text between two places with edits in it, the outer ones before the inner.
func rewritten(text []byte, from, to int, edits []edit) string {
	var out strings.Builder
	for len(edits) > 0 {
		e := edits[0]
		inner := 1
		for inner < len(edits) && edits[inner].from < e.to {
			inner++
		}
		out.Write(text[from:e.from])
		out.WriteString(e.around(rewritten(text, e.from, e.to, edits[1:inner])))
		from, edits = e.to, edits[inner:]
	}
	out.Write(text[from:to])
	return out.String()
}
