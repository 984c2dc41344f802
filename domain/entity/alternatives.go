package entity

import (
	"bytes"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// noAlternative tells what is wrong with a value that follows no alternative of an anyOf or
// a oneOf: whoever wrote it meant one of them, most likely that of which it breaks the least.
//
//	{"kind":"card","number":7}  ──▶  body.attributes: must match …, body.attributes/number: must be of type string
//
// Where several are as close and say something of the value itself alone, all of that is
// said at once; where they are about its parts, none is picked.
func noAlternative(at problem.Field, base string, err *jsonschema.ValidationError, fields []problem.Field) []problem.Field {
	var closest []problem.Field
	var wishes []string
	ties := 0
	for _, cause := range err.Causes {
		of := ordered(collect(base, cause, nil))
		if len(of) == 1 && of[0].Location == at.Location {
			wishes = append(wishes, of[0].Message)
		}
		switch {
		case closest == nil || len(of) < len(closest):
			closest, ties = of, 0
		case len(of) == len(closest):
			ties++
		}
	}
	switch {
	case len(wishes) > 0 && len(wishes) == len(err.Causes):
		at.Message = shortened(strings.Join(wishes, ", or "))
	case ties == 0:
		return append(append(fields, at), closest...)
	}
	return append(fields, at)
}

const (
	// maxListed and maxListedBytes bound the values of an enum that a fault lists: as many
	// as one reads at a glance.
	maxListed      = 10
	maxListedBytes = 200
)

// oneOfValues asks for one of the values that a schema lists.
func oneOfValues(k *kind.Enum) string {
	var listed [][]byte
	size := 0
	for _, value := range k.Want {
		listed = append(listed, encode(value))
		size += len(listed[len(listed)-1])
	}
	if len(listed) > maxListed || size > maxListedBytes {
		return "must be one of the values in the schema's enum"
	}
	return "must be one of " + string(bytes.Join(listed, []byte(", ")))
}

// theValue asks for the one value that a schema allows.
func theValue(k *kind.Const) string {
	if text := encode(k.Want); len(text) <= maxListedBytes {
		return "must be " + string(text)
	}
	return "must be the schema's const"
}
