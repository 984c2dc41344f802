package readmodels

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A list by attributes or a tag is read in one of two ways. What many entities have is soon
// met when they are walked in the order of the list; what few have is found by an index, and
// then sorted. Which it is, two samples tell, of the oldest and of the newest:
//
//	some of both match ──▶ a walk until the page is full
//	else ──▶ the index: ┬─ no more than some thousand ──▶ these, looked up and sorted
//	                    └─ more ──▶ the walk, which meets them soon
//
// So what few have is not looked for among all, and what many have costs little more than
// the walk. See projections/entity_terms.go for the index.

const (
	// sampled is the size of a sample: some 60 µs. Of what one in fifty has, four are in each.
	sampled = 200
	// commonFrom is how many of both samples make a value a common one. By chance there are as
	// many in one of a thousand cases where one in two thousand has it.
	commonFrom = 3
	// maxHolders are looked up and sorted: some 5 ms.
	maxHolders = 2000
)

// wantedTerms is a filter as the function holders takes it.
type wantedTerms struct {
	Tag    string            `json:"tag,omitempty"`
	Path   []string          `json:"path,omitempty"`
	Values []json.RawMessage `json:"values,omitempty"`
	Hashes []string          `json:"hashes,omitempty"`
}

// wanted are the filters of the plan that the index of terms can answer; of those that ask
// for a key or ids none, which have indexes of their own.
func (p *entityPlan) wanted() []wantedTerms {
	q := p.query
	if q.AsOf != nil || q.Search != "" || q.Key != "" || q.IDs != nil {
		return nil
	}
	var all []wantedTerms
	if q.Tag != "" {
		all = append(all, wantedTerms{Tag: q.Tag})
	}
	for _, f := range p.filters {
		if f.column != nil || f.Operator != "eq" && f.Operator != "in" || throughLists(f.path) {
			continue
		}
		one := wantedTerms{Path: f.path, Hashes: p.hashes(f)}
		for _, value := range f.values {
			for _, candidate := range candidates(value) {
				one.Values = append(one.Values, json.RawMessage(candidate))
			}
		}
		all = append(all, one)
	}
	return all
}

// throughLists reports whether the path may lead to a member of a list, by what PostgreSQL
// takes for a number: those have no terms.
func throughLists(path []string) bool {
	for _, name := range path[1:] {
		if strings.Trim(name, "+-0123456789 \t\n\v\f\r") == "" {
			return true
		}
	}
	return false
}

// planned reports whether one plan fits the statement whatever its values are: it walks in
// the order of an index, and all that it looks up is by key. Making a plan would cost a
// third of a page.
func (p *entityPlan) planned() bool {
	q := p.query
	for _, f := range p.filters {
		if f.column != nil {
			return false
		}
	}
	return q.AsOf == nil && q.Search == "" && q.Key == "" && q.IDs == nil && q.Offset == 0 && (q.Type != "" || !p.order.nullable)
}

// holding is what a statement begins with that uses the index of terms, the count, and the
// rows of the page.
func (p *entityPlan) holding(schema string, wanted []wantedTerms, args *arguments) (with, count, rows string) {
	text, _ := json.Marshal(wanted) // candidates are JSON
	now := source{rows: schema + ".entities e", fixed: "e"}
	where := p.where(schema, now, args)
	sample := p.sample(now, args)
	with = fmt.Sprintf(`WITH few AS MATERIALIZED (
		SELECT CASE WHEN old.seen = %d AND (old.found = 0 OR new.found = 0 OR old.found + new.found < %d) THEN %s.holders(%s, %s::text::jsonb, %d) END AS ids
		  FROM %s old, %s new) `,
		sampled, commonFrom, schema, args.add(p.query.Type), args.add(string(text)), maxHolders, sample("ASC"), sample("DESC"))
	held := source{
		rows: "(SELECT unnest(ids) AS id FROM few) h CROSS JOIN LATERAL (SELECT * FROM " + schema + ".entities n WHERE n.org = " + args.add(p.by.Org) +
			" AND n.id BETWEEN h.id AND h.id ORDER BY n.id LIMIT 1) e",
		fixed: "e",
	}
	count = "NULL::bigint"
	if p.query.Count {
		count = "(SELECT CASE WHEN ids IS NULL THEN (SELECT count(*) FROM " + now.rows + " WHERE " + where + ") ELSE (SELECT count(*) FROM " + held.rows + " WHERE " + where + ") END FROM few)"
	}
	rows = "SELECT * FROM ((" + p.rows(held, where, args) + ") UNION ALL (" + p.rows(now, "(SELECT ids IS NULL FROM few) AND "+where, args) + ")) e ORDER BY " +
		p.orderBy() + " LIMIT " + p.most(args)
	return with, count, rows
}

// sample makes samples from either end: how many entities were seen, and how many match.
func (p *entityPlan) sample(now source, args *arguments) func(direction string) string {
	within, matching := p.within(now, args), p.matching(now, args)
	return func(direction string) string {
		return fmt.Sprintf("(SELECT count(*) AS seen, count(*) FILTER (WHERE e.matches) AS found FROM (SELECT %s AS matches FROM %s WHERE %s ORDER BY e.created_at %[4]s, e.id %[4]s LIMIT %d) e)",
			matching, now.rows, within, direction, sampled)
	}
}
