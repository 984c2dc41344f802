package readmodels

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Selection is what one can ask of any list of the ledger, beside what is its own; fields
// left zero do not restrict.
type Selection struct {
	Page
	// IDs, when not nil, are those that may be listed, at most MaxLimit.
	IDs []uuid.UUID
	// Filters must all match; they name columns.
	Filters []Filter
	// Sort is a column that the list can be sorted by, with - before it for descending;
	// empty for the list's usual order.
	Sort string
	// Offset skips rows of a short list; not together with Cursor.
	Offset int
}

// listing is a list of rows of the alias e.
type listing[T any] struct {
	route string
	// usual is the order when none is asked for.
	usual   string
	columns []filterColumn
	sorts   []listSort[T]
	id      func(T) uuid.UUID
}

// listSort is a column to sort by; ids decide among equals. What is sorted by is never null.
type listSort[T any] struct {
	column, cast string
	value        func(T) string
}

// filterNames are the columns that a Filter can name.
func (l listing[T]) filterNames() []string {
	names := make([]string, len(l.columns))
	for i, column := range l.columns {
		names[i] = column.name
	}
	return names
}

// plan checks what is asked for. more are the list's own filters, for its cursors.
// Problems: invalid_limit, invalid_filter, invalid_offset, invalid_sort (Invalid),
// invalid_cursor (Malformed).
func (l listing[T]) plan(s *Store, org string, q Selection, more ...string) (*listPlan[T], error) {
	p := &listPlan[T]{listing: l, org: org, asked: q}
	if p.asked.Sort == "" {
		p.asked.Sort = l.usual
	}
	var err error
	if p.limit, err = q.limit(); err != nil {
		return nil, err
	}
	if err := checkOffset(q.Offset, q.Cursor); err != nil {
		return nil, err
	}
	if len(q.IDs) > MaxLimit {
		return nil, invalidFilter("id", fmt.Sprintf("must be at most %d ids", MaxLimit))
	}
	if p.filters, err = checkFilters(q.Filters, l.columns); err != nil {
		return nil, err
	}
	if err := p.sortBy(p.asked.Sort); err != nil {
		return nil, err
	}
	p.scope = cursorScope{org: org, route: l.route, sort: p.asked.Sort, filters: p.filterTexts(more)}
	if q.Cursor == "" {
		return p, nil
	}
	after, err := s.open(q.Cursor, p.scope)
	if err == nil && after.Value == nil {
		err = invalidCursor()
	}
	p.after = &after
	return p, err
}

// listPlan is a selection that has been checked.
type listPlan[T any] struct {
	listing    listing[T]
	org        string
	asked      Selection
	limit      int
	sort       listSort[T]
	descending bool
	filters    []checkedFilter
	after      *cursor
	scope      cursorScope
	// full says that there was no room on the page for more.
	full bool
}

func (p *listPlan[T]) sortBy(text string) error {
	name, descending := strings.CutPrefix(text, "-")
	names := make([]string, len(p.listing.sorts))
	for i, sort := range p.listing.sorts {
		if names[i] = sort.column; sort.column == name {
			p.sort, p.descending = sort, descending
			return nil
		}
	}
	return problem.New(problem.Invalid, "invalid_sort", "The list cannot be sorted like this.").
		With(problem.Field{Location: "query.sort", Message: "must be one of " + strings.Join(names, ", ") + ", with - before it for descending"})
}

// filterTexts name all that decides what is listed.
func (p *listPlan[T]) filterTexts(more []string) []string {
	texts := slices.Concat(more, []string{strconv.Itoa(len(p.asked.IDs))})
	for _, id := range p.asked.IDs {
		texts = append(texts, id.String())
	}
	for _, filter := range p.filters {
		texts = append(texts, filter.Field, filter.Operator, filter.Value)
	}
	return texts
}

// where restricts rows to what is selected, on whatever page.
func (p *listPlan[T]) where(args *arguments) string {
	var where strings.Builder
	if p.asked.IDs != nil {
		where.WriteString(" AND e.id = ANY (" + args.add(p.asked.IDs) + "::uuid[])")
	}
	for _, filter := range p.filters {
		where.WriteString(" AND " + filter.where(args, "e"))
	}
	return where.String()
}

// page ends a statement whose where clause comes before it: the rows of the page and one
// more. column and id are where the sort is read from.
func (p *listPlan[T]) page(column, id string, args *arguments) string {
	beyond := ""
	if p.after != nil {
		operator := " > "
		if p.descending {
			operator = " < "
		}
		// As text first: in a cursor everything is, and the driver would otherwise want
		// the column's own type.
		beyond = " AND (" + column + ", " + id + ")" + operator + "(" + args.add(*p.after.Value) + "::text::" + p.sort.cast + ", " + args.add(p.after.ID) + "::uuid)"
	}
	return beyond + p.orderBy(column, id) + " LIMIT " + args.add(p.limit+1) + " OFFSET " + args.add(p.asked.Offset)
}

func (p *listPlan[T]) orderBy(column, id string) string {
	direction := ""
	if p.descending {
		direction = " DESC"
	}
	return " ORDER BY " + column + direction + ", " + id + direction
}

// cut ends a list after its page, and gives the cursor of the next if there is more.
// Problem: epoch_changed (Conflict).
func (p *listPlan[T]) cut(s *Store, items []T, at Snapshot) ([]T, *string, error) {
	if p.after != nil {
		if err := p.after.sameLog(at); err != nil {
			return nil, nil, err
		}
	}
	items, more := paged(items, p.limit, p.full)
	if !more {
		return items, nil, nil
	}
	last := items[len(items)-1]
	value := p.sort.value(last)
	next, err := s.seal(cursor{Epoch: at.Epoch, Value: &value, ID: p.listing.id(last)}, p.scope)
	return items, &next, err
}

// sortByTime sorts by a column that holds times.
func sortByTime[T any](column string, of func(T) time.Time) listSort[T] {
	return listSort[T]{column: column, cast: "timestamptz", value: func(item T) string { return of(item).UTC().Format(time.RFC3339Nano) }}
}

var (
	versionColumn = filterColumn{name: "version", cast: "bigint", parse: parseVersion, wants: "must be an integer"}
	dateColumn    = filterColumn{name: "date", cast: "date", wants: "must be a date from 1900-01-01 to 2199-12-31, as 2026-01-31", parse: func(text string) (string, bool) {
		_, ok := ledger.ParseDate(text)
		return text, ok
	}}
)
