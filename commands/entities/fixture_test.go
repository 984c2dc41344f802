package entities_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/domaintest"
	"github.com/reactdjango-hub/backend/domain/entity"
)

var (
	ana = uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a")
	bob = uuid.MustParse("0190aaaa-0000-7000-8000-00000000000b")
)

const customerSchema = `{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`

// given starts a scenario of this area.
func given(t *testing.T, facts ...domain.Fact) *domaintest.Scenario {
	t.Helper()
	return domaintest.Given(t, entity.Folds(), facts...)
}

func attrs(text string) map[string]json.RawMessage {
	var attributes map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &attributes); err != nil {
		panic(err)
	}
	return attributes
}

// customerDefined defines the type "customer".
func customerDefined(schema string) domain.Fact {
	return domain.Fact{
		Stream:  "entity_type:customer",
		Payload: entity.TypeDefined{Name: "customer", Title: "Customer", Schema: json.RawMessage(schema)},
	}
}

// anaCreated is the first customer, with the key A-1.
func anaCreated() domain.Fact {
	return domain.Fact{
		Stream: entity.Stream(ana),
		Tags:   []domain.Tag{"key:customer/A-1", "entity_type:customer"},
		Payload: entity.Created{
			Type: "customer", Key: "A-1",
			Attributes: attrs(`{"name":"Ana"}`), Tags: []string{"vip"}, TypeVersion: 1,
		},
	}
}

func anaArchived() domain.Fact {
	return domain.Fact{Stream: entity.Stream(ana), Payload: entity.Archived{}}
}

func anaRestored() domain.Fact {
	return domain.Fact{Stream: entity.Stream(ana), Payload: entity.Restored{}}
}
