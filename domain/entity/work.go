package entity

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxWork bounds one validation, in steps; attributes that fill a whole event need
// less than a third of it under an ordinary schema. Without it a small schema could
// stop the command loop: n definitions that each refer twice to the next make 2^n
// steps.
const maxWork = 300_000

// errTooMuchWork is what a validation panics with when it exceeds maxWork; the
// library has no other way out.
var errTooMuchWork = errors.New("too much work")

// work counts the steps of a validation. The library calls an extension of its
// vocabulary for every subschema that it applies.
type work struct{ left int }

// vocabulary adds the counter to every subschema of a schema.
func (w *work) vocabulary() *jsonschema.Vocabulary {
	return &jsonschema.Vocabulary{
		URL: "hub:///vocabulary/work",
		Compile: func(_ *jsonschema.CompilerContext, object map[string]any) (jsonschema.SchemaExt, error) {
			step := &step{work: w, steps: 1}
			for keyword, value := range object {
				switch v := value.(type) {
				case []any:
					step.steps += len(v)
				case map[string]any:
					step.steps += len(v)
					if keyword == "patternProperties" {
						step.patterns = len(v)
					}
				}
			}
			return step, nil
		},
	}
}

// step is the cost of one subschema: its keywords' members, which include the
// alternatives of enum and anyOf, and every pattern for every name.
type step struct {
	work     *work
	steps    int
	patterns int
}

// Validate counts; it never finds fault.
func (s *step) Validate(_ *jsonschema.ValidatorContext, value any) {
	steps := s.steps
	if object, ok := value.(map[string]any); ok {
		steps += s.patterns * len(object)
	}
	s.work.spend(steps)
}

// spend counts steps, and ends the validation when there were too many.
func (w *work) spend(steps int) {
	if w.left -= steps; w.left < 0 {
		panic(errTooMuchWork)
	}
}
