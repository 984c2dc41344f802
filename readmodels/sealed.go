package readmodels

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Sensitive attributes are masks in the attributes of every row; who may see them asks
// for the ciphertext beside it (Clear), and opens that elsewhere. They are found by
// equality only, through keyed hashes, and by nobody else.

// sealedColumn is what is read beside the entity's columns where it is asked for.
const sealedColumn = "e.sealed"

// sealedRow is what a row of a list says of sealed attributes.
type sealedRow struct {
	column []byte
	// hashed and blocked say that a filter names a sensitive attribute, in a way that the
	// hashes answer or in another.
	hashed, blocked bool
}

// columns are what it is scanned into.
func (p *entityPlan) sealedColumns(r *sealedRow) []any {
	var columns []any
	if p.guardsFilters() {
		columns = append(columns, &r.hashed, &r.blocked)
	}
	if p.showsClear() {
		columns = append(columns, &r.column)
	}
	return columns
}

func (p *entityPlan) showsClear() bool { return p.query.Clear != nil && p.query.AsOf == nil }

// guardsFilters reports whether it has to be looked whether what is filtered by is sealed.
func (p *entityPlan) guardsFilters() bool {
	return slices.ContainsFunc(p.filters, func(f checkedFilter) bool { return f.column == nil })
}

// sealing is the SQL of those columns.
func (p *entityPlan) sealing(schema string, args *arguments) string {
	sql := ""
	if p.guardsFilters() {
		var hashed, blocked []string
		for _, f := range p.filters {
			switch {
			case f.column != nil:
			case f.byHash():
				hashed = append(hashed, f.path[0])
			default:
				blocked = append(blocked, f.path[0])
			}
		}
		for _, names := range [][]string{hashed, blocked} {
			sql += ", EXISTS (SELECT FROM " + schema + ".entity_types t WHERE t.org = " + args.add(p.by.Org) +
				" AND t.sensitive && coalesce(" + args.add(names) + "::text[], '{}')"
			if p.query.Type != "" {
				sql += " AND t.name = " + args.add(p.query.Type)
			}
			sql += ")"
		}
	}
	if p.showsClear() {
		sql += ", " + sealedColumn
	}
	return sql
}

// byHash reports whether hashes can answer the filter.
func (f checkedFilter) byHash() bool {
	return (f.Operator == "eq" || f.Operator == "in") && len(f.path) == 1
}

// outcome refuses filters on sensitive attributes as they are named now: all but equality,
// that for whoever may not see them, and of the past, of which no hashes are kept. Problems:
// sealed_attribute, privacy_required.
func (p *entityPlan) outcome(r sealedRow) error {
	switch {
	case r.blocked:
		return problem.New(problem.Invalid, "sealed_attribute", "A sensitive attribute is stored as ciphertext: it can be compared for being equal, as a whole, and by nothing else.")
	case r.hashed && p.query.Clear == nil:
		return problem.New(problem.Forbidden, "privacy_required", "Finding entities by a sensitive attribute needs the role privacy.")
	case r.hashed && p.query.AsOf != nil:
		return problem.New(problem.Invalid, "sealed_attribute", "What a sensitive attribute was in the past cannot be compared. Leave out as_of, or the filter.")
	}
	return nil
}

// orHashed adds, for who may ask so, that the sealed attribute is equal.
func (p *entityPlan) orHashed(f checkedFilter, plain string, args *arguments) string {
	hashes := p.hashes(f)
	if len(hashes) == 0 {
		return plain
	}
	if slices.Contains(f.values, Hidden) { // of what is sealed the row has a mask, which is nobody's value
		plain += " AND NOT " + sealedColumn + " ? " + args.add(f.path[0]) + "::text"
	}
	path := args.add([]string{f.path[0], "hash"})
	return strings.Join([]string{"(", plain, " OR ", sealedColumn, " #>> ", path, "::text[] = ANY (", args.add(hashes), "::text[]))"}, "")
}

// hashes are those of what a sealed attribute may be, for who may ask so.
func (p *entityPlan) hashes(f checkedFilter) (hashes []string) {
	if !p.showsClear() || f.column != nil || !f.byHash() {
		return nil
	}
	for _, value := range f.values {
		for _, candidate := range candidates(value) {
			if text := domain.EqualityText(json.RawMessage(candidate)); text != "" {
				if hash := p.query.Clear("attribute", f.path[0], text); hash != nil {
					hashes = append(hashes, hex.EncodeToString(hash))
				}
			}
		}
	}
	return hashes
}
