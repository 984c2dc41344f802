package entities_test

import (
	"encoding/json"
	"testing"

	"github.com/reactdjango-hub/backend/commands/entities"
)

func TestDefineEntityType(t *testing.T) {
	define := entities.DefineEntityType{Name: "customer", Title: "Customer", Schema: json.RawMessage(customerSchema)}

	given(t).When(define).
		Named("entity_type:customer").
		Resource("customer", "entity_type:customer", true).
		Then(customerDefined(customerSchema)).
		When(define).
		Resource("customer", "entity_type:customer", false).
		ThenNothing()

	given(t, customerDefined(customerSchema), anaCreated()).When(entities.DefineEntityType{Name: "customer", Title: "Customer"}).
		Resource("customer", "entity_type:customer", false).
		Then(customerDefined(`{}`))
}

func TestDefineEntityTypeRefuses(t *testing.T) {
	define := entities.DefineEntityType{Name: "customer", Title: "Customer", Schema: json.RawMessage(customerSchema)}

	given(t).When(entities.DefineEntityType{Name: "Kunde: neu"}).Named().ThenProblem("invalid_type_name")
	given(t).When(entities.DefineEntityType{Name: "customer", Schema: json.RawMessage(`{"type":1}`)}).ThenProblem("invalid_schema")
	given(t).When(entities.DefineEntityType{Name: "customer", Title: "\n"}).ThenProblem("invalid_title")

	given(t, customerDefined(`{}`)).When(define).ThenProblem("narrowing_change")
	define.Force = true
	given(t, customerDefined(`{}`)).When(define).Then(customerDefined(customerSchema))

	p := given(t).IfMatch(1).When(define).ThenProblem("version_conflict")
	if p.Extra["version"] != int64(0) {
		t.Errorf("got %v, want version 0: the type does not exist", p.Extra)
	}
	// A definition that changes nothing answers a stale If-Match all the same.
	given(t, customerDefined(customerSchema)).IfMatch(2).When(define).ThenProblem("version_conflict")
	given(t, customerDefined(customerSchema)).IfMatch(1).When(define).ThenNothing()
}
