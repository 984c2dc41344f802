package strictjson

import (
	stdjson "encoding/json"
	"errors"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// options: names are matched exactly, each member must be known, and a number that
// goes into an any keeps its text as a json.Number.
var options = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, value *any) error {
		if d.PeekKind() != jsontext.KindNumber {
			return errors.ErrUnsupported
		}
		text, err := d.ReadValue()
		*value = stdjson.Number(text)
		return err
	})),
)

// Unmarshal checks a body by Default and decodes it into what value points to.
// Problems: those of Check; unknown_field and wrong_type are Invalid.
func Unmarshal(body []byte, value any) error {
	body, err := Sanitize(body, Default)
	if err != nil {
		return err
	}
	err = json.Unmarshal(body, value, options)
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) || semantic.GoType == nil {
		// Not a fault of the body, which passed Check: value cannot be decoded into.
		return err
	}
	place := Location(semantic.JSONPointer)
	if errors.Is(semantic.Err, json.ErrUnknownName) {
		return problem.New(problem.Invalid, "unknown_field", "The body holds a field that is not known here. Names are case-sensitive.").
			With(problem.Field{Location: place, Message: "is not a known field"})
	}
	return problem.New(problem.Invalid, "wrong_type", "A field of the body has the wrong type.").
		With(problem.Field{Location: place, Message: "must be " + expected(semantic.GoType)})
}

// expected says in words of JSON what a Go type reads.
func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number in range"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	default:
		// Arrays are ids, interfaces are free, and others no body has.
		return "in the format that the API documents"
	}
}
