package entity_test

import (
	"encoding/json"
	"testing"

	"github.com/reactdjango-hub/backend/domain/entity"
)

func TestExaminer(t *testing.T) {
	x, err := entity.NewExaminer(json.RawMessage(`{"required":["name"],"additionalProperties":{"type":"string"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for attributes, want := range map[string][2]bool{
		`{"name":"Ana"}`:                         {true, true},
		`{}`:                                     {false, true},
		`{"name":1}`:                             {false, true},
		`{"name":{"$sealed":"x","subject":"s"}}`: {false, false},
		`{"name":"Ana","a":{"b":{"$sealed":"x"}}}`: {false, true},
		`{"name":`: {false, false},
	} {
		if follows, known := x.Follows(json.RawMessage(attributes)); [2]bool{follows, known} != want {
			t.Errorf("%s: got %v, %v", attributes, follows, known)
		}
	}
	if open, err := entity.NewExaminer(nil); err != nil {
		t.Error(err)
	} else if follows, known := open.Follows(json.RawMessage(`{"x":1}`)); !follows || !known {
		t.Error("no schema allows anything")
	}
	_, err = entity.NewExaminer(json.RawMessage(`[]`))
	refused(t, err, "invalid_schema")
}
