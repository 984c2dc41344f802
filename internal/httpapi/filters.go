package httpapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// filterName takes apart the name of a query parameter that filters: "attr.age[gte]"
// compares attr.age by gte, "attr.age" for being equal. A name that itself has brackets
// is written with [eq] behind it: what is meant by half a bracket, nobody knows.
func filterName(parameter string) (field, operator string) {
	if inner, found := strings.CutSuffix(parameter, "]"); found {
		if at := strings.LastIndexByte(inner, '['); at > 0 {
			// attr.a[] of other conventions compares by what does not exist here.
			return inner[:at], cmp.Or(inner[at+1:], "[]")
		}
	}
	if at := strings.IndexByte(parameter, '['); at > 0 {
		return parameter[:at], parameter[at:]
	}
	return parameter, ""
}

// filtersBy reports whether the list can be filtered by a field.
func (r *route) filtersBy(field string) bool {
	if attribute, found := strings.CutPrefix(field, readmodels.AttributePrefix); found {
		return attribute != "" && slices.Contains(r.Filters, readmodels.AttributePrefix)
	}
	return slices.Contains(r.Filters, field)
}

// filters are the comparisons in the query of a request, in a fixed order. What the
// operation declares as a parameter of its own is not among them.
func (e *exchange) filters() []readmodels.Filter {
	var found []readmodels.Filter
	for _, name := range slices.Sorted(maps.Keys(e.query)) {
		if _, declared := e.route.parameters[name]; declared {
			continue
		}
		field, operator := filterName(name)
		found = append(found, readmodels.Filter{Field: field, Operator: operator, Value: e.query.Get(name)})
	}
	return found
}

// idList reads ids with commas between; nil for none given.
// Problem: invalid_filter.
func idList(text string) ([]uuid.UUID, error) {
	if text == "" {
		return nil, nil
	}
	texts := strings.Split(text, ",")
	if len(texts) > readmodels.MaxLimit {
		return nil, invalidID(fmt.Sprintf("must be at most %d ids", readmodels.MaxLimit))
	}
	ids := make([]uuid.UUID, len(texts))
	for i, one := range texts {
		id, err := uuid.Parse(one)
		if err != nil || len(one) != len(uuid.Nil.String()) {
			return nil, invalidID("must be UUIDs with commas between")
		}
		ids[i] = id
	}
	return ids, nil
}

func invalidID(message string) error {
	return problem.New(problem.Invalid, "invalid_filter", "A filter cannot be used; errors says which.").
		With(problem.Field{Location: "query.id", Message: message})
}

// filterParameters describe the comparisons of a list.
func (r *route) filterParameters() []*huma.Param {
	text := &huma.Schema{Type: huma.TypeString}
	var parameters []*huma.Param
	for _, field := range r.Filters {
		if field == readmodels.AttributePrefix {
			parameters = append(parameters, attributeParameters(text)...)
			continue
		}
		parameters = append(parameters, &huma.Param{
			Name: field + "[{comparison}]", In: "query", Schema: text, Example: filterExamples[field],
			Description: "Compares " + field + " by " + strings.Join(readmodels.Operators(), ", ") + ", as " + field + "[gte]=…",
		})
	}
	return parameters
}

func attributeParameters(text *huma.Schema) []*huma.Param {
	return []*huma.Param{
		{
			Name: readmodels.AttributePrefix + "{attribute}", In: "query", Example: "Paris", Schema: text,
			Description: "Only what has this value as the attribute, as attr.city=Paris. Dots reach into objects: attr.address.zip. " +
				"A name that holds dots itself is written as a JSON pointer: attr./price.eur=3.",
		},
		{
			Name: readmodels.AttributePrefix + "{attribute}[{comparison}]", In: "query", Example: "30", Schema: text,
			Description: "Compares by " + strings.Join(readmodels.Operators(), ", ") + ", as attr.age[gte]=30. Order is by value for numbers and byte by byte " +
				"for texts, so that dates of RFC 3339 compare well. in takes values with commas between; ne also finds what lacks the attribute.",
		},
	}
}

// filterExamples are values to compare with, by field.
var filterExamples = map[string]any{
	"type": "customer", "key": "C-17", "created_by": "ana", "updated_by": "ana", "version": "2",
	"created_at": "2026-11-22T09:30:00Z", "updated_at": "2026-11-22", "date": "2026-01-31", "external_ref": "invoice-4711",
	"code": "1000", "name": "Bank", "kind": "asset", "currency": "EUR",
}

// Selected has the parameters that say which items of a list are on its page.
type Selected struct {
	ID     string `query:"id" doc:"Only these: at most 500 ids with commas between." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many items at most; fewer when they are large."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before; keep the other parameters as they were."`
	Offset int    `query:"offset" minimum:"0" maximum:"10000" doc:"Skip so many, in a short list; not together with cursor."`
	Count  bool   `query:"count" doc:"Add count, the number of all matches."`
}

// selection completes the parameters by the comparisons of the request. Problem: invalid_filter.
func (s Selected) selection(e *exchange, sort string) (readmodels.Selection, error) {
	ids, err := idList(s.ID)
	selection := readmodels.Selection{
		Page: readmodels.Page{Limit: s.Limit, Cursor: s.Cursor, Count: s.Count}, IDs: ids, Filters: e.filters(), Sort: sort, Offset: s.Offset,
	}
	if len(ids) > 0 && !e.query.Has("limit") {
		selection.Limit = len(ids) // whoever names them wants them all
	}
	return selection, err
}
