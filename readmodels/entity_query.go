package readmodels

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxAttributeFilters and maxPathSegments bound the work that one row can make.
	maxAttributeFilters = 20
	maxPathSegments     = 16
)

// EntityQuery selects entities; fields left zero do not restrict.
type EntityQuery struct {
	Type string
	Key  string
	Tag  string
	// Status is "active" (also when empty), "archived" or "all".
	Status string
	// Attributes must all have these values, compared as text of the JSON scalar; a
	// value that reads as a number or as true or false matches that too. A dotted
	// name reaches into nested objects: "address.city".
	Attributes map[string]string
	// Sort is created_at, updated_at or key, with - before it for descending;
	// -created_at when empty. Entities without a key come last in either order.
	Sort   string
	Limit  int
	Cursor string
	// Count asks for the number of all matches too, which takes longer the more
	// there are.
	Count bool
}

// order is one way to sort entities.
type order struct {
	column     string
	descending bool
	// nullable columns sort their nulls last.
	nullable bool
	// cast is the type that the cursor's text is turned into.
	cast  string
	value func(Entity) *string
}

var orders = map[string]order{
	"created_at":  byTime("created_at", false, func(e Entity) time.Time { return e.CreatedAt }),
	"-created_at": byTime("created_at", true, func(e Entity) time.Time { return e.CreatedAt }),
	"updated_at":  byTime("updated_at", false, func(e Entity) time.Time { return e.UpdatedAt }),
	"-updated_at": byTime("updated_at", true, func(e Entity) time.Time { return e.UpdatedAt }),
	"key":         {column: "key", nullable: true, cast: "text", value: func(e Entity) *string { return e.Key }},
	"-key":        {column: "key", nullable: true, cast: "text", value: func(e Entity) *string { return e.Key }, descending: true},
}

func byTime(column string, descending bool, of func(Entity) time.Time) order {
	return order{column: column, descending: descending, cast: "timestamptz", value: func(e Entity) *string {
		text := of(e).UTC().Format(time.RFC3339Nano)
		return &text
	}}
}

// entityPlan is a query that has been checked.
type entityPlan struct {
	org   string
	query EntityQuery
	order order
	limit int
	after *cursor
	scope cursorScope
	// attributes are the filters by attribute, in the order of their names.
	attributes []attributeFilter
}

type attributeFilter struct {
	path []string
	// candidates are the JSON values that match.
	candidates []string
}

func (s *Store) plan(org string, q EntityQuery) (*entityPlan, error) {
	if q.Status == "" {
		q.Status = "active"
	}
	if q.Sort == "" {
		q.Sort = "-created_at"
	}
	p := &entityPlan{org: org, query: q}
	var known bool
	if p.order, known = orders[q.Sort]; !known {
		return nil, problem.New(problem.Invalid, "invalid_sort", "Entities cannot be sorted like this.").
			With(problem.Field{Location: "query.sort", Message: "must be created_at, updated_at or key, with - before it for descending"})
	}
	var err error
	if p.limit, err = (Page{Limit: q.Limit}).limit(); err != nil {
		return nil, err
	}
	if err := p.checkFilters(); err != nil {
		return nil, err
	}
	p.scope = cursorScope{org: org, route: "entities", sort: q.Sort, filters: p.filterTexts()}
	if q.Cursor == "" {
		return p, nil
	}
	after, err := s.open(q.Cursor, p.scope)
	if err != nil {
		return nil, err
	}
	if after.Value == nil && !p.order.nullable {
		return nil, invalidCursor()
	}
	p.after = &after
	return p, nil
}

func (p *entityPlan) checkFilters() error {
	q := p.query
	if q.Status != "active" && q.Status != "archived" && q.Status != "all" {
		return invalidFilter("status", "must be active, archived or all")
	}
	for name, value := range map[string]string{"type": q.Type, "key": q.Key, "tag": q.Tag} {
		if !storable(value) {
			return invalidFilter(name, "must be UTF-8 without NUL characters")
		}
	}
	if len(q.Attributes) > maxAttributeFilters {
		return invalidFilter("attr", fmt.Sprintf("must be at most %d", maxAttributeFilters))
	}
	for _, name := range slices.Sorted(maps.Keys(q.Attributes)) {
		value := q.Attributes[name]
		path := strings.Split(name, ".")
		switch {
		case !storable(name) || !storable(value):
			return invalidFilter("attr", "must be UTF-8 without NUL characters")
		case len(path) > maxPathSegments || slices.Contains(path, ""):
			return invalidFilter("attr", fmt.Sprintf("must be a name, or up to %d of them with dots between", maxPathSegments))
		}
		p.attributes = append(p.attributes, attributeFilter{path: path, candidates: candidates(value)})
	}
	return nil
}

// storable reports whether PostgreSQL takes the text; what it does not take is in no
// row either.
func storable(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

func invalidFilter(parameter, message string) error {
	return problem.New(problem.Invalid, "invalid_filter", "A filter cannot be used; errors says which.").
		With(problem.Field{Location: "query." + parameter, Message: message})
}

// candidates are the JSON scalars that are written like the value.
func candidates(value string) []string {
	text, _ := json.Marshal(value) // a string always can be
	found := []string{string(text)}
	if value == "true" || value == "false" || isNumber(value) {
		found = append(found, value)
	}
	return found
}

// isNumber reports whether the text is a JSON number of those that can be stored.
func isNumber(text string) bool {
	// Of all JSON only numbers end with a digit, apart from what is around them.
	return text != "" && (text[0] == '-' || digit(text[0])) && digit(text[len(text)-1]) &&
		json.Valid([]byte(text)) && domain.NumberFits(text)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// filterTexts name all that decides which entities are listed.
func (p *entityPlan) filterTexts() []string {
	q := p.query
	texts := []string{q.Type, q.Key, q.Tag, q.Status}
	for _, name := range slices.Sorted(maps.Keys(q.Attributes)) {
		texts = append(texts, name, q.Attributes[name])
	}
	return texts
}

// cursorAt begins the page after an entity.
func (p *entityPlan) cursorAt(last Entity, at Snapshot) cursor {
	return cursor{Epoch: at.Epoch, Value: p.order.value(last), ID: last.ID}
}

// sql is the statement: the pointer, and joined to it the rows of the page, one more
// than asked for to know whether there is a next. $1 is the view's name.
func (p *entityPlan) sql(schema string) (string, []any) {
	args := arguments{entitiesView}
	where := p.where(&args)
	count := "NULL::bigint"
	if p.query.Count {
		count = "(SELECT count(*) FROM " + schema + ".entities e WHERE " + where + ")"
	}
	return `SELECT ` + heads + `, ` + count + `, ` + entityColumns + `
		FROM ` + pointed + ` LEFT JOIN LATERAL (` + p.rows(schema, where, &args) + `) e ON true ORDER BY ` + p.orderBy(), args
}

// rows select the page's rows. What may be null is asked for in two parts, each of
// which can be read off an index: the values in their order, then the nulls by id.
func (p *entityPlan) rows(schema, where string, args *arguments) string {
	column := "e." + p.order.column
	limit := " LIMIT " + args.add(p.limit+1)
	part := func(where, sorted string) string {
		return "(SELECT " + entityColumns + " FROM " + schema + ".entities e WHERE " + where +
			" ORDER BY " + sorted + limit + ")"
	}
	byValue, byID := column+p.direction()+", e.id"+p.direction(), "e.id"+p.direction()
	if !p.order.nullable {
		return part(where+p.beyond(args), byValue)
	}
	nulls := where + " AND " + column + " IS NULL"
	if p.after != nil && p.after.Value == nil {
		return part(nulls+" AND e.id"+p.operator()+args.add(p.after.ID), byID)
	}
	return "SELECT * FROM (" + part(where+" AND "+column+" IS NOT NULL"+p.beyond(args), byValue) +
		" UNION ALL " + part(nulls, byID) + ") e ORDER BY " + p.orderBy() + limit
}

// arguments are a statement's parameters; add gives the name of one more.
type arguments []any

func (a *arguments) add(value any) string {
	*a = append(*a, value)
	return fmt.Sprintf("$%d", len(*a))
}

func (p *entityPlan) where(args *arguments) string {
	// Row-level security asks the same again; said here it also serves the planner.
	where := []string{"e.org = " + args.add(p.org)}
	q := p.query
	if q.Status != "all" {
		where = append(where, "e.status = "+args.add(q.Status))
	}
	if q.Type != "" {
		where = append(where, "e.type = "+args.add(q.Type))
	}
	if q.Key != "" {
		where = append(where, "e.key = "+args.add(q.Key))
	}
	if q.Tag != "" {
		where = append(where, args.add(q.Tag)+" = ANY (e.tags)")
	}
	for _, filter := range p.attributes {
		// jsonb compares numbers by value: 1.0 is 1.
		where = append(where, "e.attributes #> "+args.add(filter.path)+"::text[] = ANY ("+args.add(filter.candidates)+"::text[]::jsonb[])")
	}
	return strings.Join(where, " AND ")
}

// beyond adds that a row with a value comes after the cursor.
func (p *entityPlan) beyond(args *arguments) string {
	if p.after == nil {
		return ""
	}
	// As text first: in a cursor everything is, and the driver would otherwise want
	// the column's own type.
	value := args.add(*p.after.Value) + "::text::" + p.order.cast
	return fmt.Sprintf(" AND (e.%s, e.id)%s(%s, %s)", p.order.column, p.operator(), value, args.add(p.after.ID))
}

func (p *entityPlan) operator() string {
	if p.order.descending {
		return " < "
	}
	return " > "
}

func (p *entityPlan) direction() string {
	if p.order.descending {
		return " DESC"
	}
	return " ASC"
}

func (p *entityPlan) orderBy() string {
	nulls := ""
	if p.order.nullable {
		nulls = " NULLS LAST"
	}
	return "e." + p.order.column + p.direction() + nulls + ", e.id" + p.direction()
}
