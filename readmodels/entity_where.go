package readmodels

import "strings"

// where selects the rows of a source. All that restricts what a list shows, counts or
// finds is said here and in what it is made of, and nowhere else.
func (p *entityPlan) where(schema string, from source, args *arguments) string {
	return p.within(from, args) + from.where + " AND " + p.by.sees(schema, from.fixed+".org", from.fixed+".id", args) + " AND " + p.matching(from, args)
}

// within selects by what indexes begin with.
func (p *entityPlan) within(from source, args *arguments) string {
	// Row-level security asks the same again; said here it also serves the planner.
	where := from.fixed + ".org = " + args.add(p.by.Org)
	if p.query.Type != "" {
		where += " AND " + from.fixed + ".type = " + args.add(p.query.Type)
	}
	return where
}

// matching selects by what a row says of itself.
func (p *entityPlan) matching(from source, args *arguments) string {
	where := []string{"true"}
	q := p.query
	if q.Status != "all" {
		where = append(where, "e.status = "+args.add(q.Status))
	}
	if q.Key != "" {
		where = append(where, from.fixed+".key = "+args.add(q.Key))
	}
	if q.Tag != "" {
		where = append(where, args.add(q.Tag)+" = ANY (e.tags)")
	}
	if q.IDs != nil {
		where = append(where, from.fixed+".id = ANY ("+args.add(q.IDs)+"::uuid[])")
	}
	for _, filter := range p.filters {
		where = append(where, p.orHashed(filter, filter.where(args, from.fixed), args))
	}
	return strings.Join(where, " AND ")
}
