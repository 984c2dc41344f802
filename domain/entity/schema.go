package entity

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// Limits on a schema. Compiling takes time quadratic in its number of subschemas,
// and happens in the command loop; at the limit it takes about 10 ms.
const (
	maxSchemaBytes  = 64 << 10
	maxSchemaDepth  = 60
	maxSchemaValues = 5_000
	maxSubschemas   = 1_500
)

const (
	schemaDialect  = "https://json-schema.org/draft/2020-12/schema"
	schemaLocation = "body.schema"
	// schemaURL is what a schema without $id is called while it is compiled.
	schemaURL = "hub:///entity-type"
)

// attributeSchema is a compiled schema.
type attributeSchema struct {
	root *jsonschema.Schema

	mutex sync.Mutex
	// work counts what the validation under way has done.
	work *work
}

// compile makes a schema ready for use. Errors are those of the library;
// schemaProblem makes them fit for callers.
func compile(raw json.RawMessage) (*attributeSchema, error) {
	document, err := decode(raw)
	if err != nil {
		return nil, err
	}
	counted := &work{left: maxWork}
	expressions := &patterns{work: counted, left: maxPatterns, compiled: map[string]jsonschema.Regexp{}}
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(expressions.compile)
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(loader{document})
	c.RegisterVocabulary(counted.vocabulary())
	c.AssertVocabs()
	root, err := c.Compile(schemaURL)
	if expressions.sealed = true; expressions.tooLarge {
		return nil, errPatternsTooLarge
	}
	if err != nil {
		return nil, err
	}
	return &attributeSchema{root: root, work: counted}, nil
}

// validate lists what is wrong with attributes, at most maxFields faults in a
// fixed order.
func (s *attributeSchema) validate(attributes map[string]any) (fields []problem.Field) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.work.left = maxWork
	defer func() {
		if cause := recover(); cause == errTooMuchWork { //nolint:errorlint // a panic's value, not a chain
			fields = []problem.Field{{Location: attributesLocation, Message: "takes too much work to hold against the schema"}}
		} else if cause != nil {
			panic(cause)
		}
	}()
	var invalid *jsonschema.ValidationError
	if err := s.root.Validate(attributes); errors.As(err, &invalid) {
		return faults(attributesLocation, invalid)
	}
	return nil
}

// loader knows the one document that is compiled. Schemas are self-contained: a
// reference to another document would make decisions depend on the network.
type loader struct{ document any }

var errExternal = errors.New("schemas cannot refer to other documents")

// Load implements jsonschema.URLLoader.
func (l loader) Load(url string) (any, error) {
	if url == schemaURL {
		return l.document, nil
	}
	return nil, errExternal
}

// checkSchema says why a schema cannot be a type's, as a problem.
func checkSchema(raw json.RawMessage) error {
	if len(raw) > maxSchemaBytes {
		return invalidSchema(schemaLocation, fmt.Sprintf("must have at most %d bytes", maxSchemaBytes))
	}
	value, err := decode(raw)
	document, isObject := value.(map[string]any)
	if err != nil || !isObject {
		return invalidSchema(schemaLocation, "must be a JSON object")
	}
	allowed := shape{depth: maxSchemaDepth, values: maxSchemaValues, schemas: maxSubschemas, sealed: true}
	if pointer, message := allowed.fault(document); message != "" {
		return invalidSchema(shortened(schemaLocation+pointer), message)
	}
	if dialect, found := document["$schema"]; found && dialect != schemaDialect && dialect != schemaDialect+"#" {
		return invalidSchema(schemaLocation+"/$schema", "must be "+schemaDialect)
	}
	if _, err := compile(raw); err != nil {
		return schemaProblem(err)
	}
	return nil
}

// schemaProblem turns an error of the library into a problem that names places
// and reasons, never the text of the schema.
func schemaProblem(err error) error {
	var (
		invalid    *jsonschema.SchemaValidationError
		violation  *jsonschema.ValidationError
		regex      *jsonschema.InvalidRegexError
		outside    *jsonschema.LoadURLError
		noAnchor   *jsonschema.AnchorNotFoundError
		noPointer  *jsonschema.JSONPointerNotFoundError
		duplicated *jsonschema.DuplicateIDError
	)
	switch {
	case errors.Is(err, errPatternsTooLarge):
		return invalidSchema(schemaLocation, "has patterns that are too large together: repeat less, or limit lengths by maxLength")
	case errors.As(err, &invalid) && errors.As(invalid.Err, &violation):
		return schemaProblemOf(faults(schemaLocation, violation)...)
	case errors.As(err, &regex):
		return invalidSchema(shortened(schemaLocation+fragment(regex.URL)), expressionWish)
	case errors.As(err, &outside):
		return invalidSchema(schemaLocation, "must not refer to other documents")
	case errors.As(err, &noAnchor), errors.As(err, &noPointer):
		return invalidSchema(schemaLocation, "holds a reference to a place that does not exist")
	case errors.As(err, &duplicated):
		return invalidSchema(schemaLocation, "uses one $id twice")
	}
	return invalidSchema(schemaLocation, "is not a JSON Schema of draft 2020-12")
}

// fragment is the part of a URL after "#", a JSON pointer into the schema.
func fragment(url string) string {
	_, pointer, _ := strings.Cut(url, "#")
	return pointer
}

func invalidSchema(location, message string) *problem.Problem {
	return schemaProblemOf(problem.Field{Location: location, Message: message})
}

func schemaProblemOf(fields ...problem.Field) *problem.Problem {
	return problem.New(problem.Invalid, "invalid_schema",
		"The schema must be a JSON Schema of draft 2020-12 without references to other documents. Correct what errors names.").With(fields...)
}
