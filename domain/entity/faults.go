package entity

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// maxFields is how many faults one answer lists; more help nobody.
const maxFields = 50

// faults lists what a validation found below a base location. The library's own
// texts repeat the rejected values, so the messages are made here, from what the
// schema asks.
func faults(base string, err *jsonschema.ValidationError) []problem.Field {
	return ordered(collect(base, err, nil))
}

// ordered sorts faults and keeps the first ones. The order is fixed because a
// refusal may be kept and repeated.
func ordered(fields []problem.Field) []problem.Field {
	slices.SortFunc(fields, func(a, b problem.Field) int {
		return cmp.Or(strings.Compare(a.Location, b.Location), strings.Compare(a.Message, b.Message))
	})
	fields = slices.Compact(fields)
	return fields[:min(len(fields), maxFields)]
}

func collect(base string, err *jsonschema.ValidationError, fields []problem.Field) []problem.Field {
	at := func(name ...string) string {
		return location(base, slices.Concat(err.InstanceLocation, name)...)
	}
	switch k := err.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range err.Causes {
			fields = collect(base, cause, fields)
		}
	case *kind.Required:
		for _, name := range k.Missing {
			fields = append(fields, problem.Field{Location: at(name), Message: "is required"})
		}
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			fields = append(fields, problem.Field{Location: at(name), Message: "is required beside " + strconv.Quote(k.Prop)})
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			fields = append(fields, problem.Field{Location: at(name), Message: "is not an attribute that the schema knows"})
		}
	case *kind.PropertyNames:
		fields = append(fields, problem.Field{Location: at(k.Property), Message: nameMessage(base, err.Causes)})
	case *kind.AnyOf, *kind.OneOf:
		fields = noAlternative(problem.Field{Location: at(), Message: message(k)}, base, err, fields)
	default:
		fields = append(fields, problem.Field{Location: at(), Message: message(err.ErrorKind)})
	}
	return fields
}

// nameMessage says what is wrong with a name.
func nameMessage(base string, causes []*jsonschema.ValidationError) string {
	var wishes []string
	for _, cause := range causes {
		for _, fault := range collect(base, cause, nil) {
			wishes = append(wishes, fault.Message)
		}
	}
	return shortened("does not have an allowed name: it " + strings.Join(wishes, ", and "))
}

// message says what the schema asks for, in words that fit any value.
func message(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Format:
		if k.Want == "regex" {
			return expressionWish
		}
		return "must be a valid " + k.Want
	case *kind.Pattern:
		return "must match the pattern " + shortened(k.Want)
	case *kind.FalseSchema:
		return "is not allowed"
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d members", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d members", k.Want)
	case *kind.UniqueItems:
		return "must not hold an item twice"
	}
	return numberMessage(k)
}

func numberMessage(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	}
	return choiceMessage(k)
}

func choiceMessage(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Enum:
		return oneOfValues(k)
	case *kind.Const:
		return theValue(k)
	case *kind.AnyOf:
		return "must match at least one alternative of the schema's anyOf"
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return "matches several alternatives of the schema's oneOf, and must match exactly one"
		}
		return "must match exactly one alternative of the schema's oneOf"
	case *kind.Not:
		return "must not match the schema's not"
	case *kind.Contains, *kind.MinContains, *kind.MaxContains:
		return "does not hold as many items of the kind that the schema's contains asks for"
	}
	return "does not match the schema"
}

// decimal writes a bound of a schema.
func decimal(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
