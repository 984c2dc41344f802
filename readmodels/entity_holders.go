package readmodels

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A list by attributes or a tag is read in one of two ways. What many entities have is soon
// met when they are walked in the order of the list; what few have is found by an index, and
// then sorted. Which it is, two samples tell, of the oldest and of the newest:
//
//	some of both match ──▶ a walk until the page is full
//	else ──▶ the index: ┬─ no more than a thousand ──▶ these, looked up and sorted
//	                    └─ more ──▶ the walk, which meets them soon
//
// The walk and the samples of a type read its entities off the index of the order, each with
// a signature that tells most of those that do not match; only the rest is looked up. So what
// few have is not looked for among all, and what many have costs little more than the page
// itself. See projections/entity_terms.go for both.

const (
	// sampled is the size of a sample: some 30 µs. Of what one in fifty has, four are in each.
	sampled = 200
	// commonFrom is how many of both samples make a value a common one. By chance there are as
	// many in one of a thousand cases where one in two thousand has it.
	commonFrom = 3
	// maxHolders are looked up and sorted: some 3 ms, which is what a walk takes that meets so
	// few among some hundred thousand.
	maxHolders = 1000
	// maxMasks bounds the values of a filter that signatures are compared with; one with more
	// is only asked of what the others leave.
	maxMasks = 4
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
	walked := now
	if signed := p.signed(schema, wanted, args); signed != "" {
		walked = p.signedSource(schema, signed, args)
	}
	sample, seen := p.samples(schema, walked, args)
	with = fmt.Sprintf(`WITH few AS MATERIALIZED (
		SELECT CASE WHEN (old.found = 0 OR new.found = 0 OR old.found + new.found < %d) AND %s = %d THEN %s.holders(%s, %s::text::jsonb, %d) END AS ids
		  FROM %s old, %s new) `,
		commonFrom, seen, sampled, schema, args.add(p.query.Type), args.add(string(text)), maxHolders, sample("ASC"), sample("DESC"))
	held := source{
		rows:  "(SELECT unnest(ids) AS id FROM few) h CROSS JOIN LATERAL " + byID(schema, args.add(p.by.Org), "h.id") + " e",
		fixed: "e",
	}
	count = "NULL::bigint"
	if p.query.Count {
		count = "(SELECT CASE WHEN ids IS NULL THEN (SELECT count(*) FROM " + now.rows + " WHERE " + where + ") ELSE (SELECT count(*) FROM " + held.rows + " WHERE " + where + ") END FROM few)"
	}
	rows = "SELECT * FROM ((" + p.rows(held, where, args) + ") UNION ALL (" + p.rows(walked, "(SELECT ids IS NULL FROM few) AND "+where, args) + ")) e ORDER BY " +
		p.orderBy() + " LIMIT " + p.most(args)
	return with, count, rows
}

// byID looks an entity up by its key: as a range and sorted, so that no other index fits.
func byID(schema, org, id string) string {
	return "(SELECT * FROM " + schema + ".entities n WHERE n.org = " + org + " AND n.id BETWEEN " + id + " AND " + id + " ORDER BY n.id LIMIT 1)"
}

// signed is the condition on the signature of a row of the alias w that it may have what is
// wanted; empty where it would tell nothing, or where the plan is not one that walks.
func (p *entityPlan) signed(schema string, wanted []wantedTerms, args *arguments) string {
	if p.query.Type == "" || !p.planned() {
		return ""
	}
	seed := schema + ".seed(" + args.add(p.by.Org) + ", " + args.add(p.query.Type) + ")"
	var all []string
	for _, one := range wanted {
		path := seed
		for _, name := range one.Path {
			path = "hashtextextended(" + args.add(name) + ", " + path + ")"
		}
		var masks []string
		for _, value := range one.Values {
			masks = append(masks, schema+".value_bits("+path+", "+args.add(string(value))+"::text::jsonb)")
		}
		for _, text := range slices.Concat(one.Hashes, one.tags()) {
			masks = append(masks, schema+".text_bits("+path+", "+args.add(text)+")")
		}
		if len(masks) > maxMasks {
			continue
		}
		for i, mask := range masks { // a query of its own is made once, and not for each row
			masks[i] = "~w.signature & (SELECT " + mask + ") = 0"
		}
		all = append(all, "("+strings.Join(masks, " OR ")+")")
	}
	return strings.Join(all, " AND ")
}

// tags is the tag that is wanted, if one is.
func (w wantedTerms) tags() []string {
	if w.Tag == "" {
		return nil
	}
	return []string{w.Tag}
}

// signedSource reads entities off the index of the order, and looks up those whose signature
// lets them pass.
func (p *entityPlan) signedSource(schema, signed string, args *arguments) source {
	within, look := p.within(source{fixed: "w"}, args), byID(schema, "w.org", "w.id")
	return source{fixed: "e", signed: signed, walk: func(where, sorted string) string {
		return "(SELECT w.org, w.id, w." + p.order.column + " FROM " + schema + ".entities w WHERE " + within + " AND " + signed + where +
			" ORDER BY " + sorted + ") w CROSS JOIN LATERAL " + look + " e"
	}}
}

// samples are how many match of those at either end, and how many there are at one. By
// signatures no more than two are counted, for each is looked up.
func (p *entityPlan) samples(schema string, walked source, args *arguments) (sample func(direction string) string, seen string) {
	within, matching := p.within(source{fixed: "w"}, args), p.matching(source{fixed: "e"}, args)
	first := func(columns, direction string) string {
		return fmt.Sprintf("(SELECT %s FROM %s.entities w WHERE %s ORDER BY w.created_at %[4]s, w.id %[4]s LIMIT %d)", columns, schema, within, direction, sampled)
	}
	sample = func(direction string) string { // OFFSET 0: once, however often it is named
		if walked.signed == "" {
			return "(SELECT count(*) FILTER (WHERE " + matching + ") AS found FROM " + first("*", direction) + " e OFFSET 0)"
		}
		return "(SELECT count(*) AS found FROM (SELECT FROM " + first("w.org, w.id, w.signature", direction) + " w CROSS JOIN LATERAL " +
			byID(schema, "w.org", "w.id") + " e WHERE " + walked.signed + " AND " + matching + " LIMIT 2) e OFFSET 0)"
	}
	return sample, "(SELECT count(*) FROM " + first("", "ASC") + " w)"
}
