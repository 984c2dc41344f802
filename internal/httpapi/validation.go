package httpapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxFaults bounds errors[]: a body with a hundred thousand unknown fields must
	// not lead to an answer larger than itself.
	maxFaults = 20
	// maxLocationBytes bounds one location, which can hold a field name of the
	// caller's making.
	maxLocationBytes = 200
)

// ownErrors is a huma transformer: what huma itself finds wrong becomes a Problem
// with a code of ours. huma repeats rejected values and texts of Go errors; neither
// passes here.
func ownErrors(ctx huma.Context, _ string, body any) (any, error) {
	model, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	return exchangeOf(ctx.Context()).problemOfHuma(model), nil
}

func (e *exchange) problemOfHuma(model *huma.ErrorModel) *Problem {
	switch model.Status {
	case http.StatusUnprocessableEntity:
		return e.problemFor(invalidRequest(model.Errors))
	case http.StatusBadRequest:
		return e.problemFor(problem.New(problem.Malformed, "invalid_json", "The body is not a JSON document that can be read."))
	default:
		answer := e.problemFor(model)
		answer.Status = model.Status // what huma has already decided to send
		return answer
	}
}

// pointers writes places in a body as the domain does: body.lines/0/amount.
var pointers = strings.NewReplacer("].", "/", "[", "/", "]", "")

// invalidRequest is the problem for faults found by schema, the most telling code
// first: a field that nobody knows, an amount that is no string, anything else.
func invalidRequest(details []*huma.ErrorDetail) *problem.Problem {
	var unknown, other []problem.Field
	for _, detail := range details {
		fault := problem.Field{Location: clip(pointers.Replace(detail.Location)), Message: detail.Message}
		if isDecimal(fault) {
			fault.Message = wantsDecimal
		}
		if detail.Message != validation.MsgUnexpectedProperty {
			other = append(other, fault)
		} else {
			fault.Message = "is not a field of this request"
			unknown = append(unknown, fault)
		}
	}
	switch {
	case len(unknown) > 0:
		return problem.New(problem.Invalid, "unknown_field", "The request has fields that do not exist. Remove them or check their spelling.").With(sorted(append(unknown, other...))...)
	case slices.ContainsFunc(other, isAmount):
		return invalidAmounts(sorted(other)...)
	default:
		return problem.New(problem.Invalid, "invalid_request", "The request does not fit its description. See errors for what to change.").With(sorted(other)...)
	}
}

// wantsDecimal is what whoever sent a number for an amount is told.
const wantsDecimal = "must be a decimal string, as \"123.45\", not a number"

func invalidAmounts(faults ...problem.Field) *problem.Problem {
	return problem.New(problem.Invalid, "invalid_amount", "An amount cannot be used; errors says what is expected.").With(faults...)
}

// isAmount reports whether a fault is about the amount of a line, whose problem has a code of
// its own.
func isAmount(fault problem.Field) bool { return strings.HasSuffix(fault.Location, "/amount") }

// isDecimal reports whether a fault is about a decimal. Those are strings, so that no reader
// takes them for doubles; a number is the fault that most people begin with.
func isDecimal(fault problem.Field) bool {
	field := fault.Location[strings.LastIndexAny(fault.Location, "/.")+1:]
	return slices.Contains([]string{"amount", "from_amount", "rate", "min_balance", "approval_above"}, field)
}

// sorted gives faults a stable order, which huma's walk over maps does not, and
// keeps the first ones.
func sorted(fields []problem.Field) []problem.Field {
	slices.SortStableFunc(fields, func(a, b problem.Field) int { return cmp.Compare(a.Location, b.Location) })
	return fields[:min(len(fields), maxFaults)]
}

// clip shortens a location to what an answer may hold, at a character's edge.
func clip(location string) string {
	if len(location) <= maxLocationBytes {
		return location
	}
	end := maxLocationBytes
	for !utf8.RuneStart(location[end]) {
		end--
	}
	return location[:end] + "…"
}
