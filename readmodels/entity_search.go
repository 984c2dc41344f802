package readmodels

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// A search asks the function search of the view's schema, which looks at the texts of one
// organisation's entities by an index that row-level security would keep PostgreSQL from
// using. What it finds is then read, filtered and sorted as every list is, by the caller's
// own rights. See projections/entity_search.go.

const (
	// maxSearch bounds what is searched for, in characters: more than anybody types.
	maxSearch = 200
	// maxMatches are ranked of what matches: some 25 ms. Who finds more has to say more.
	maxMatches = 5000
)

// byRank is the order of a search.
var byRank = order{column: "rank", ranked: true, descending: true, cast: "integer", value: func(e Entity) *string {
	text := strconv.FormatInt(e.rank, 10)
	return &text
}}

// checkSearch refuses what cannot be searched for. Problem: invalid_search.
func (p *entityPlan) checkSearch() error {
	q := p.query.Search
	var fault string
	switch {
	case q == "":
		return nil
	case p.query.AsOf != nil:
		fault = "must not come with as_of: what is searched is the present"
	case !storable(q):
		fault = "must be UTF-8 without NUL characters"
	case utf8.RuneCountInString(q) > maxSearch:
		fault = fmt.Sprintf("must have at most %d characters", maxSearch)
	case !strings.ContainsFunc(q, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }):
		fault = "must have a letter or a digit"
	default:
		return nil
	}
	return problem.New(problem.Invalid, "invalid_search", "This cannot be searched for.").
		With(problem.Field{Location: "query.q", Message: fault})
}

// searching is what a statement with a search begins with, and its columns after the
// count: how many match, whether there is anything to search in, whether that is complete,
// and the rank of the row.
func (p *entityPlan) searching(schema string, args *arguments) (with, columns string) {
	if p.query.Search == "" {
		return "", ""
	}
	q, kind, org := args.add(p.query.Search), args.add(p.query.Type), args.add(p.by.Org)
	// With the status, because what is not to be shown must not stand for what is.
	status, most := args.add(p.query.Status), args.add(maxMatches+1)
	with = "WITH hits AS MATERIALIZED (SELECT * FROM " + schema + ".search(" + q + ", " + kind + ", " + status + ", " + most + "::integer, " +
		args.add(entity.SeesAll(p.by.Principals)) + "::boolean, " + args.add(p.by.Principals) + "::text[])) "
	return with, `, (SELECT count(*) FROM hits),
		EXISTS (SELECT FROM ` + schema + `.entity_types t WHERE t.org = ` + org + ` AND t.search <> '{}' AND (` + kind + ` = '' OR t.name = ` + kind + `)),
		NOT EXISTS (SELECT FROM ` + schema + `.search_backlog b WHERE b.org = ` + org + ` AND (` + kind + ` = '' OR b.type = ` + kind + `)), e.rank`
}

// foundSource are the entities that were found.
func (p *entityPlan) foundSource(schema string, args *arguments) source {
	return source{
		rows: "hits h CROSS JOIN LATERAL (SELECT * FROM " + schema + ".entities n WHERE n.org = " + args.add(p.by.Org) +
			" AND n.id BETWEEN h.id AND h.id ORDER BY n.id LIMIT 1) e",
		fixed: "e", columns: ", h.rank",
	}
}

// searchRow is what a row says of the search.
type searchRow struct {
	matches            int64
	somewhere, settled bool
	rank               *int64
}

// searchColumns are what it is scanned into.
func (p *entityPlan) searchColumns(r *searchRow) []any {
	if p.query.Search == "" {
		return nil
	}
	return []any{&r.matches, &r.somewhere, &r.settled, &r.rank}
}

func (r *searchRow) rankOf() int64 {
	if r.rank == nil {
		return 0
	}
	return *r.rank
}

// outcome reports whether matches may be missing. Problem: not_searchable.
func (r *searchRow) outcome() (truncated bool, err error) {
	if !r.somewhere {
		return false, problem.New(problem.Invalid, "not_searchable", "Nothing of these entities is searched: no type of theirs names attributes in search.").
			With(problem.Field{Location: "query.q", Message: "needs a type that names attributes in search"})
	}
	return !r.settled || r.matches > maxMatches, nil
}
