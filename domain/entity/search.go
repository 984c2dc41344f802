package entity

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// maxSearched bounds the attributes that are searched: more would make a text of which
// any word is somewhere.
const maxSearched = 20

const searchLocation = "body.search"

// checkSearched holds the names of searched attributes against the schema that the type
// is to have. One that lists properties has them all, so that a name which is mistyped is
// not taken for one that no entity has yet.
func checkSearched(names []string, schema json.RawMessage) error {
	if len(names) > maxSearched {
		return invalidSearched(problem.Field{Location: searchLocation, Message: fmt.Sprintf("must be at most %d names", maxSearched)})
	}
	value, err := decode(schema)
	if err != nil {
		return err // it was read as a schema before
	}
	document, _ := value.(map[string]any)
	properties, declared := document["properties"].(map[string]any)
	var fields []problem.Field
	for i, name := range names {
		fault := attributeNameFault(name)
		switch _, known := properties[name]; {
		case fault != "":
		case slices.Contains(names[:i], name):
			fault = "is named twice"
		case declared && !known:
			fault = "is not among the properties of the schema"
		default:
			continue
		}
		fields = append(fields, problem.Field{Location: searchLocation + "/" + strconv.Itoa(i), Message: fault})
	}
	if len(fields) > 0 {
		return invalidSearched(fields...)
	}
	return nil
}

func invalidSearched(fields ...problem.Field) error {
	return problem.New(problem.Invalid, "invalid_search_attributes", "The attributes to search cannot be used; errors says which.").With(fields...)
}
