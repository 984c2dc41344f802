package readmodels

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxFilters and maxPathSegments bound the work that one row can make.
	maxFilters      = 20
	maxPathSegments = 16
	// maxFilterValues bounds a list of values, as MaxLimit bounds a list of ids.
	maxFilterValues = MaxLimit
)

// AttributePrefix starts the Field of a Filter on an attribute.
const AttributePrefix = "attr."

// Filter restricts a list to the rows whose field compares like this.
type Filter struct {
	// Field is a column, as "created_at", or AttributePrefix and the way to a value
	// within the attributes: names with dots between ("address.city"), or, for names
	// that hold dots themselves, a JSON pointer (RFC 6901, "/price.eur/net").
	Field string
	// Operator is one of Operators; empty means eq.
	Operator string
	// Value is what to compare with; for in, values with commas between.
	Value string
}

// Operators are the comparisons. Order is by value for numbers and times, and byte
// by byte for texts. What has no such attribute is matched by ne alone.
func Operators() []string { return []string{"eq", "ne", "gt", "gte", "lt", "lte", "in"} }

// sqlOperators are those that ask for an order.
var sqlOperators = map[string]string{"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

// checkedFilter is a filter that makes sense; its parts are ready for SQL.
type checkedFilter struct {
	Filter
	// column is nil for a filter on an attribute, and path for one on a column.
	column *filterColumn
	path   []string
	// values are what a column is compared with.
	values []string
}

// filterColumn is a column that lists can be filtered by.
type filterColumn struct {
	name string
	// cast is its type in SQL, and parse the check of a value's text.
	cast  string
	parse func(string) (string, bool)
	wants string
	// fixed says that it never changes.
	fixed bool
}

// never is the column as one that never changes.
func (c filterColumn) never() filterColumn {
	c.fixed = true
	return c
}

func textColumn(name string) filterColumn {
	return filterColumn{name: name, cast: "text", parse: func(text string) (string, bool) { return text, true }}
}

func timeColumn(name string) filterColumn {
	return filterColumn{
		name: name, cast: "timestamptz", parse: parseTime,
		wants: "must be a time of RFC 3339, as 2026-11-22T09:30:00Z (a + percent-encoded), or a date",
	}
}

// parseTime is ParseTime for a column.
func parseTime(text string) (string, bool) {
	at, ok := ParseTime(text)
	return at.Format(time.RFC3339Nano), ok
}

// ParseTime reads a time of RFC 3339, or a date, which is its first moment in UTC; of the
// years 1 to 9999, which every database knows.
func ParseTime(text string) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	at = at.UTC()
	return at, err == nil && 1 <= at.Year() && at.Year() <= 9999
}

func parseVersion(text string) (string, bool) {
	number, err := strconv.ParseInt(text, 10, 64)
	return strconv.FormatInt(number, 10), err == nil
}

// checkFilters checks filters and puts them into a fixed order, so that the same
// list always has the same cursor. Problem: invalid_filter.
func checkFilters(filters []Filter, columns []filterColumn) ([]checkedFilter, error) {
	if len(filters) > maxFilters {
		return nil, invalidFilter("attr", fmt.Sprintf("must be at most %d filters", maxFilters))
	}
	checked := make([]checkedFilter, 0, len(filters))
	for _, filter := range filters {
		if filter.Operator == "" {
			filter.Operator = "eq"
		}
		one, fault := checkFilter(filter, columns)
		if fault != "" {
			return nil, invalidFilter(filter.Field, fault)
		}
		checked = append(checked, one)
	}
	slices.SortFunc(checked, func(a, b checkedFilter) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Operator, b.Operator))
	})
	return checked, nil
}

// checkFilter returns what is wrong with the filter, or "".
func checkFilter(filter Filter, columns []filterColumn) (checkedFilter, string) {
	checked := checkedFilter{Filter: filter, values: []string{filter.Value}}
	if !storable(filter.Field) || !storable(filter.Value) {
		return checked, "must be UTF-8 without NUL characters"
	}
	if !slices.Contains(Operators(), filter.Operator) {
		return checked, "can be compared by " + strings.Join(Operators(), ", ")
	}
	if filter.Operator == "in" {
		checked.values = strings.Split(filter.Value, ",")
	}
	if len(checked.values) > maxFilterValues {
		return checked, fmt.Sprintf("must be at most %d values", maxFilterValues)
	}
	if name, found := strings.CutPrefix(filter.Field, AttributePrefix); found {
		var ok bool
		if checked.path, ok = ParsePath(name); !ok {
			return checked, fmt.Sprintf("must be a name, up to %d of them with dots between, or a JSON pointer", maxPathSegments)
		}
		if sqlOperators[filter.Operator] != "" && numeric(filter.Value) && !isNumber(filter.Value) {
			return checked, "is a number beyond the range of a double"
		}
		return checked, ""
	}
	return checked.onColumn(columns)
}

func (f checkedFilter) onColumn(columns []filterColumn) (checkedFilter, string) {
	i := slices.IndexFunc(columns, func(c filterColumn) bool { return c.name == f.Field })
	if i < 0 {
		return f, "is not something to filter by"
	}
	f.column = &columns[i]
	for i, value := range f.values {
		var ok bool
		if f.values[i], ok = f.column.parse(value); !ok {
			return f, f.column.wants
		}
	}
	return f, ""
}

// ParsePath reads the way to a value within attributes: names with dots between, or
// a JSON pointer where the text begins with a slash.
func ParsePath(text string) ([]string, bool) {
	path := strings.Split(text, ".")
	if pointer, found := strings.CutPrefix(text, "/"); found {
		path = strings.Split(pointer, "/")
		for i, segment := range path {
			path[i] = pointerEscapes.Replace(segment)
		}
	}
	return path, len(path) <= maxPathSegments && !slices.Contains(path, "")
}

// pointerEscapes are those of RFC 6901 §3.
var pointerEscapes = strings.NewReplacer("~1", "/", "~0", "~")

// where is the condition in SQL on a row of the alias e; what never changes is read from
// another, which may be the same.
func (f checkedFilter) where(args *arguments, fixed string) string {
	if f.column == nil {
		return f.whereAttribute(args)
	}
	column, cast := "e."+f.column.name, f.column.cast
	if f.column.fixed {
		column = fixed + "." + f.column.name
	}
	switch f.Operator {
	case "eq", "in":
		return column + " = ANY (" + args.add(f.values) + "::text[]::" + cast + "[])"
	case "ne":
		return column + " IS DISTINCT FROM " + args.add(f.values[0]) + "::text::" + cast
	}
	if cast == "text" {
		column += ` COLLATE "C"`
	}
	return column + " " + sqlOperators[f.Operator] + " " + args.add(f.values[0]) + "::text::" + cast
}

// whereAttribute compares numbers with numbers and texts with texts: jsonb itself
// would order all texts before all numbers, and texts as the server's language does. What
// it compares with goes to the server as jsonb: a cast would be made for each row.
func (f checkedFilter) whereAttribute(args *arguments) string {
	var value, text string
	if len(f.path) == 1 {
		name := args.add(f.path[0]) + "::text"
		value, text = "e.attributes -> "+name, "e.attributes ->> "+name
	} else {
		path := args.add(f.path) + "::text[]"
		value, text = "e.attributes #> "+path, "e.attributes #>> "+path
	}
	switch f.Operator {
	case "eq", "in", "ne":
		var all []string
		for _, one := range f.values {
			all = append(all, candidates(one)...)
		}
		// jsonb compares numbers by value: 1.0 is 1.
		equal := "(" + value + ") = ANY (" + args.add(all) + "::jsonb[])"
		if f.Operator == "ne" {
			return "NOT coalesce(" + equal + ", false)"
		}
		return equal
	}
	operator := " " + sqlOperators[f.Operator] + " "
	number := ""
	if isNumber(f.Value) {
		number = " WHEN 'number' THEN (" + value + ")" + operator + args.add(f.Value) + "::jsonb"
	}
	return "CASE jsonb_typeof(" + value + ")" + number +
		" WHEN 'string' THEN (" + text + `) COLLATE "C"` + operator + args.add(f.Value) + " ELSE false END"
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
func isNumber(text string) bool { return numeric(text) && domain.NumberFits(text) }

// numeric reports whether the text is a JSON number.
func numeric(text string) bool {
	// Of all JSON only numbers end with a digit, apart from what is around them.
	return text != "" && (text[0] == '-' || digit(text[0])) && digit(text[len(text)-1]) && json.Valid([]byte(text))
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
