package entity

import (
	"encoding/json"
)

// Examiner holds recorded attributes against a schema that is perhaps going to be a
// type's: for a report on what a new definition would do, never for a decision.
type Examiner struct{ schema *attributeSchema }

// NewExaminer checks the schema as a definition does; nil allows any attributes.
// Problem: invalid_schema.
func NewExaminer(schema json.RawMessage) (*Examiner, error) {
	if schema == nil {
		schema = json.RawMessage("{}")
	}
	if err := checkSchema(schema); err != nil {
		return nil, err
	}
	compiled, err := compile(schema)
	return &Examiner{compiled}, err
}

// Follows reports whether attributes, as the text of a JSON object, follow the schema.
// Known is false when that cannot be said, because values of theirs are sealed.
func (x *Examiner) Follows(attributes json.RawMessage) (follows, known bool) {
	value, err := decode(attributes)
	if err != nil {
		return false, false
	}
	members := object(value)
	for _, member := range members {
		if _, sealed := object(member)[sealedName]; sealed {
			return false, false
		}
	}
	return len(x.schema.validate(members)) == 0, true
}
