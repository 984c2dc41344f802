package entity

import (
	"encoding/json"
	"fmt"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const attributesLocation = "body.attributes"

// Limits on attributes: jsonb and every client read this depth and number of
// values without trouble; the size in bytes is bounded with the whole event.
const (
	maxDepth  = 32
	maxValues = 20_000
)

// readAttributes decodes the attributes of a caller and checks all that does not
// depend on a schema. Null at the top level means absent.
func readAttributes(raw map[string]json.RawMessage) (map[string]any, error) {
	attributes := make(map[string]any, len(raw))
	var fields []problem.Field
	for name, text := range raw {
		value, err := decode(text)
		if err != nil {
			fields = append(fields, problem.Field{Location: location(attributesLocation, name), Message: "is not valid JSON"})
		} else if value != nil {
			attributes[name] = value
		}
	}
	if len(fields) > 0 {
		return nil, invalidAttributes(fields...)
	}
	return attributes, checkAttributes(attributes)
}

// checkAttributes holds what a caller sent against the limits. Nulls are removals
// and count for nothing.
func checkAttributes(attributes map[string]any) error {
	var fields []problem.Field
	values := 0
	for name, value := range attributes {
		allowed := shape{depth: maxDepth, values: maxValues, schemas: maxValues}
		pointer, message := "", attributeNameFault(name)
		if message == "" {
			pointer, message = allowed.fault(value)
		}
		if message != "" {
			fields = append(fields, problem.Field{
				Location: shortened(attributesLocation + "/" + escapePointer(name) + pointer),
				Message:  message,
			})
		}
		values += maxValues - allowed.values
	}
	switch {
	case len(fields) > 0:
		return invalidAttributes(fields...)
	case values > maxValues:
		return invalidAttributes(problem.Field{Location: attributesLocation, Message: "holds too many values"})
	}
	return nil
}

func attributeNameFault(name string) string {
	switch name {
	case "":
		return "must have a name"
	case sealedName:
		return "must not be named " + sealedName
	}
	return textFault(name, maxAttributeName)
}

// validAttributes holds a whole set of attributes, those of an entity with what is changed,
// against the type's schema.
func validAttributes(t Type, current Entity, attributes map[string]any) error {
	if len(attributes) > maxAttributes {
		return invalidAttributes(problem.Field{Location: attributesLocation, Message: fmt.Sprintf("must have at most %d members", maxAttributes)})
	}
	if err := t.checkMasks(current, attributes); err != nil {
		return err
	}
	schema, err := t.compiled()
	if err != nil {
		// It compiled when it was defined, so this is a fault of ours.
		return fmt.Errorf("the recorded schema of type %s does not compile: %w", t.Name, err)
	}
	if fields := schema.validate(attributes); len(fields) > 0 {
		return invalidAttributes(fields...)
	}
	return nil
}

// recorded writes attributes as events hold them.
func recorded(attributes map[string]any) map[string]json.RawMessage {
	written := make(map[string]json.RawMessage, len(attributes))
	for name, value := range attributes {
		written[name] = encode(value)
	}
	return written
}

// invalidAttributes lists faults in a fixed order, and not too many.
func invalidAttributes(fields ...problem.Field) *problem.Problem {
	return problem.New(problem.Invalid, "invalid_attributes",
		"The attributes do not follow the entity type. Correct those named in errors.").With(ordered(fields)...)
}
