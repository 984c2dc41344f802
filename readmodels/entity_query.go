package readmodels

import (
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// maxOffset bounds how many rows may be skipped: the database reads them all. Lists
// that are longer are read by cursor.
const maxOffset = 10_000

// EntityQuery selects entities; fields left zero do not restrict.
type EntityQuery struct {
	Type string
	Key  string
	Tag  string
	// Status is "active" (also when empty), "archived" or "all".
	Status string
	// IDs, when not nil, are those that may be listed, at most MaxLimit.
	IDs []uuid.UUID
	// Filters must all match. An attribute is compared as text of the JSON scalar; a
	// value that reads as a number or as true or false matches that too.
	Filters []Filter
	// Sort is created_at, updated_at or key, with - before it for descending;
	// -created_at, or with Search by rank, when empty. Entities without a key come last in either order.
	Sort   string
	Limit  int
	Cursor string
	// Offset skips rows of a short list; not together with Cursor.
	Offset int
	// ExpandTypes fills in Entity.Definition.
	ExpandTypes bool
	// Search, when not empty, selects those that match its words; the best first unless
	// Sort says otherwise. Not together with AsOf.
	Search string
	// AsOf asks for the entities as they were at a time, not as they are; not together
	// with ExpandTypes.
	AsOf *time.Time
	// Clear fills in Entity.Sealed and lets sensitive attributes be compared, by keyed
	// hashes that it gives (nil for none). Nil for who may not see them.
	Clear func(parts ...string) []byte
	// Count asks for the number of all matches too, which takes longer the more
	// there are.
	Count bool
}

// order is one way to sort entities.
type order struct {
	column     string
	descending bool
	// fixed says that the column never changes.
	fixed bool
	// ranked says that it is the order of a search.
	ranked bool
	// nullable columns sort their nulls last.
	nullable bool
	// cast is the type that the cursor's text is turned into.
	cast  string
	value func(Entity) *string
}

var orders = map[string]order{
	"created_at":  byTime("created_at", func(e Entity) time.Time { return e.CreatedAt }).never(),
	"-created_at": byTime("created_at", func(e Entity) time.Time { return e.CreatedAt }).never().down(),
	"updated_at":  byTime("updated_at", func(e Entity) time.Time { return e.UpdatedAt }),
	"-updated_at": byTime("updated_at", func(e Entity) time.Time { return e.UpdatedAt }).down(),
	"key":         byKey.never(),
	"-key":        byKey.never().down(),
	"rank":        byRank,
}

var byKey = order{column: "key", nullable: true, cast: "text", value: func(e Entity) *string { return e.Key }}

func byTime(column string, of func(Entity) time.Time) order {
	return order{column: column, cast: "timestamptz", value: func(e Entity) *string {
		text := of(e).UTC().Format(time.RFC3339Nano)
		return &text
	}}
}

// never is the order by what never changes, and down the other way round.
func (o order) never() order { o.fixed = true; return o }
func (o order) down() order  { o.descending = true; return o }

// entityPlan is a query that has been checked.
type entityPlan struct {
	by    Reader
	query EntityQuery
	order order
	limit int
	after *cursor
	scope cursorScope
	// filters are in an order of their own, whatever order they were given in.
	filters []checkedFilter
}

// entityFilterColumns are what entities can be filtered by beside their attributes.
var entityFilterColumns = []filterColumn{
	textColumn("type").never(), textColumn("key").never(), textColumn("created_by").never(), textColumn("updated_by"),
	timeColumn("created_at").never(), timeColumn("updated_at"),
	versionColumn,
}

// EntityFilters are the fields that a Filter on entities can name: AttributePrefix stands
// for any attribute.
func EntityFilters() []string {
	names := []string{AttributePrefix}
	for _, column := range entityFilterColumns {
		names = append(names, column.name)
	}
	return names
}

func (s *Store) plan(by Reader, q EntityQuery) (*entityPlan, error) {
	if q.Status == "" {
		q.Status = "active"
	}
	switch {
	case q.Sort == "" && q.Search != "":
		q.Sort = "rank"
	case q.Sort == "":
		q.Sort = "-created_at"
	}
	p := &entityPlan{by: by, query: q}
	var known bool
	if p.order, known = orders[q.Sort]; !known || p.order.ranked && q.Search == "" {
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
	if err := checkOffset(q.Offset, q.Cursor); err != nil {
		return nil, err
	}
	if err := p.checkSearch(); err != nil {
		return nil, err
	}
	p.scope = cursorScope{org: by.Org, route: p.view(), sort: q.Sort, filters: p.filterTexts()}
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

func checkStatus(status string) error {
	if status != "active" && status != "archived" && status != "all" {
		return invalidFilter("status", "must be active, archived or all")
	}
	return nil
}

func (p *entityPlan) checkFilters() error {
	q := p.query
	if err := checkStatus(q.Status); err != nil {
		return err
	}
	for name, value := range map[string]string{"type": q.Type, "key": q.Key, "tag": q.Tag} {
		if !storable(value) {
			return invalidFilter(name, "must be UTF-8 without NUL characters")
		}
	}
	if len(q.IDs) > MaxLimit {
		return invalidFilter("id", fmt.Sprintf("must be at most %d ids", MaxLimit))
	}
	var err error
	p.filters, err = checkFilters(q.Filters, entityFilterColumns)
	return err
}

// checkOffset holds an offset within what is cheap. Problem: invalid_offset.
func checkOffset(offset int, cursor string) error {
	var fault string
	switch {
	case offset < 0 || offset > maxOffset:
		fault = fmt.Sprintf("must be from 0 to %d; read longer lists by cursor", maxOffset)
	case offset > 0 && cursor != "":
		fault = "must not come with a cursor: each says where the page begins"
	default:
		return nil
	}
	return problem.New(problem.Invalid, "invalid_offset", "The offset cannot be used.").
		With(problem.Field{Location: "query.offset", Message: fault})
}

// filterTexts name all that decides which entities are listed.
func (p *entityPlan) filterTexts() []string {
	q := p.query
	texts := []string{q.Type, q.Key, q.Tag, q.Status, strconv.Itoa(len(q.IDs))}
	for _, id := range q.IDs {
		texts = append(texts, id.String())
	}
	for _, filter := range p.filters {
		texts = append(texts, filter.Field, filter.Operator, filter.Value)
	}
	if q.AsOf != nil {
		texts = append(texts, "as_of", q.AsOf.UTC().Format(time.RFC3339Nano))
	}
	if q.Search != "" {
		texts = append(texts, "q", q.Search)
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
	args := arguments{p.view()}
	var with, searched, count, rows string
	if wanted := p.wanted(); len(wanted) > 0 {
		with, count, rows = p.holding(schema, wanted, &args)
	} else {
		with, searched = p.searching(schema, &args)
		count, rows = p.walking(schema, &args)
	}
	types, definition := "", ""
	if p.query.ExpandTypes {
		definition = ", " + entityTypeColumns
		types = " LEFT JOIN " + schema + ".entity_types t ON t.org = " + args.add(p.by.Org) + " AND t.name = e.type AND e.nth = 1"
	}
	return with + `SELECT ` + p.heads(schema, &args) + `, ` + count + searched + p.sealing(schema, &args) + `, ` + p.fittingColumns(&args) + audited(schema, args.add(p.by.Org), "e.type") + definition + `
		FROM ` + pointed + ` LEFT JOIN LATERAL (` + p.measured(p.skipping(rows, &args)) + `) e ON true` + types + ` ORDER BY ` + p.orderBy(), args
}

// walking are the count and the rows when all that the filters select from is gone through.
func (p *entityPlan) walking(schema string, args *arguments) (count, rows string) {
	counted, from := p.sources(schema, args)
	count = "NULL::bigint"
	if p.query.Count {
		count = "(SELECT count(*) FROM " + counted.rows + " WHERE " + p.where(schema, counted, args) + ")"
	}
	return count, p.rows(from, p.where(schema, from, args), args)
}

// source is what entities are read from: rows of the alias e, whole; of the alias fixed
// those with what never changes of an entity, by which indexes find it. columns are those
// beside the entity's.
type source struct {
	rows, fixed, where, columns string
	// walk, where signed is a condition on signatures, gives the rows in an order and beyond
	// a place, both of the alias w; see signedSource.
	signed string
	walk   func(where, sorted string) string
}

// sources are where to count and where to list from: the same, unless of the past.
func (p *entityPlan) sources(schema string, args *arguments) (counted, listed source) {
	switch {
	case p.query.AsOf != nil:
		return p.pastSources(schema, args)
	case p.query.Search != "":
		found := p.foundSource(schema, args)
		return found, found
	}
	now := source{rows: schema + ".entities e", fixed: "e"}
	return now, now
}

// skipping leaves out the rows before the offset.
func (p *entityPlan) skipping(rows string, args *arguments) string {
	if p.query.Offset == 0 {
		return rows
	}
	return "SELECT * FROM (" + rows + ") e ORDER BY " + p.orderBy() + " OFFSET " + args.add(p.query.Offset)
}

// rows select the page's rows and those before it that the offset skips. What may be null is asked for in two parts, each of
// which can be read off an index: the values in their order, then the nulls by id.
func (p *entityPlan) rows(from source, where string, args *arguments) string {
	alias := "e"
	switch {
	case from.signed != "":
		alias = "w"
	case p.order.ranked:
		alias = "h"
	case p.order.fixed:
		alias = from.fixed
	}
	column, id := alias+"."+p.order.column, alias+".id"
	limit := " LIMIT " + p.most(args)
	sorted := p.sorted(alias)
	part := func(place string) string {
		rows, matching := from.rows, where+place
		if from.signed != "" {
			rows, matching = from.walk(place, sorted), where
		}
		return "(SELECT " + p.shown() + from.columns + " FROM " + rows + " WHERE " + matching + " ORDER BY " + sorted + limit + ")"
	}
	if !p.order.nullable {
		return part(p.beyond(alias, args))
	}
	nulls := " AND " + column + " IS NULL"
	if p.after != nil && p.after.Value == nil {
		return part(nulls + " AND " + id + p.operator() + args.add(p.after.ID))
	}
	return "SELECT * FROM (" + part(" AND "+column+" IS NOT NULL"+p.beyond(alias, args)) +
		" UNION ALL " + part(nulls) + ") e ORDER BY " + p.orderBy() + limit
}

// shown are the columns of a row of the alias e.
func (p *entityPlan) shown() string {
	if p.showsClear() {
		return entityColumns + ", " + sealedColumn
	}
	return entityColumns
}

// sorted is the order of an index, of rows of an alias.
func (p *entityPlan) sorted(alias string) string {
	return alias + "." + p.order.column + p.direction() + ", " + alias + ".id" + p.direction()
}

// most are the rows that are read: those to skip, those of the page, and one more. Written
// out, so that a plan which is made once is made for it; but no plan is kept for each offset.
func (p *entityPlan) most(args *arguments) string {
	if p.query.Offset > 0 {
		return args.add(p.limit + 1 + p.query.Offset)
	}
	return strconv.Itoa(p.limit + 1)
}

// arguments are a statement's parameters; add gives the name of one more.
type arguments []any

func (a *arguments) add(value any) string {
	*a = append(*a, value)
	return fmt.Sprintf("$%d", len(*a))
}

// beyond adds that a row with a value comes after the cursor.
func (p *entityPlan) beyond(alias string, args *arguments) string {
	if p.after == nil {
		return ""
	}
	// As text first: in a cursor everything is, and the driver would otherwise want
	// the column's own type.
	value := args.add(*p.after.Value) + "::text::" + p.order.cast
	return fmt.Sprintf(" AND (%s.%s, %s.id)%s(%s, %s)", alias, p.order.column, alias, p.operator(), value, args.add(p.after.ID))
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
