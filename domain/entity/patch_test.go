package entity_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
)

func patch(current entity.Entity, schema, document string) ([]domain.Fact, error) {
	return entity.Patch{ID: id, Document: json.RawMessage(document)}.Decide(current, typeOf(schema))
}

func TestPatch(t *testing.T) {
	current := entityOf(`{"name":"Ana","address":{"city":"Paris","zip":"75001"},"list":[1,2],"n":1}`, "gold", "vip")
	for document, want := range map[string]entity.Updated{
		`{"attributes":{"name":"Eva"}}`:                       {Attributes: attrs(`{"name":"Eva"}`)},
		`{"attributes":{"name":null,"n":2}}`:                  {Attributes: attrs(`{"name":null,"n":2}`)},
		`{"attributes":{"address":{"zip":null,"x":{"y":1}}}}`: {Attributes: attrs(`{"address":{"city":"Paris","x":{"y":1}}}`)},
		`{"attributes":{"address":{"city":null,"zip":null}}}`: {Attributes: attrs(`{"address":{}}`)},
		`{"attributes":{"address":"here"}}`:                   {Attributes: attrs(`{"address":"here"}`)},
		`{"attributes":{"name":{"first":"A","last":null}}}`:   {Attributes: attrs(`{"name":{"first":"A"}}`)},
		`{"attributes":{"new":{"a":{"b":null}}}}`:             {Attributes: attrs(`{"new":{"a":{}}}`)},
		`{"attributes":{"list":[1,null]}}`:                    {Attributes: attrs(`{"list":[1,null]}`)},
		`{"attributes":{"n":1.0}}`:                            {Attributes: attrs(`{"n":1.0}`)},
		`{"attributes":null}`:                                 {Attributes: attrs(`{"name":null,"address":null,"list":null,"n":null}`)},
		`{"tags":["vip","new","new"]}`:                        {Tags: []string{"new", "vip"}},
		`{"tags":[]}`:                                         {Tags: []string{}},
		`{"tags":null}`:                                       {Tags: []string{}},
		`{"attributes":{"n":3},"tags":["a"]}`:                 {Attributes: attrs(`{"n":3}`), Tags: []string{"a"}},
	} {
		t.Run(document, func(t *testing.T) {
			facts, err := patch(current, `{}`, document)
			fact := decided(t, facts, err, want)
			if fact.Stream != entity.Stream(id) || len(fact.Tags) != 0 {
				t.Errorf("got stream %s, tags %v", fact.Stream, fact.Tags)
			}
		})
	}
}

func TestPatchThatChangesNothing(t *testing.T) {
	// As read back from the log: escaped, and with white space.
	current := entityOf(`{"name":"\u003cAna\u003e","address":{ "city":"Paris","zip":"75001"},"list":[1, 2]}`, "gold", "vip")
	for _, document := range []string{
		`{}`, `{"attributes":{}}`,
		`{"attributes":{"name":"<Ana>"}}`,
		`{"attributes":{"address":{"zip":"75001","city":"Paris"}}}`,
		`{"attributes":{"address":{"none":null},"none":null,"list":[1,2]}}`,
		`{"tags":["vip","gold","vip"]}`,
	} {
		facts, err := patch(current, `{}`, document)
		unchanged(t, facts, err)
	}
	empty := entityOf(`{}`)
	for _, document := range []string{`{"attributes":null}`, `{"tags":null}`, `{"tags":[]}`} {
		facts, err := patch(empty, `{}`, document)
		unchanged(t, facts, err)
	}
	// Not even when the entity does not follow its type any more.
	facts, err := patch(current, `{"required":["more"]}`, `{"attributes":{"name":"<Ana>"}}`)
	unchanged(t, facts, err)
}

func TestPatchRefuses(t *testing.T) {
	current := entityOf(`{"name":"Ana"}`)
	for document, want := range map[string][3]string{
		`[]`:                                     {"invalid_patch", "body", "must be a JSON object"},
		`null`:                                   {"invalid_patch", "body", "must be a JSON object"},
		`{"a"`:                                   {"invalid_patch", "body", "must be a JSON object"},
		`{"key":"k"}`:                            {"unknown_field", "body.key", "cannot be patched"},
		`{"Attributes":{}}`:                      {"unknown_field", "body.Attributes", "cannot be patched"},
		`{"attributes":[]}`:                      {"invalid_attributes", "body.attributes", "must be an object"},
		`{"attributes":{"a":{"$sealed":1}}}`:     {"invalid_attributes", "body.attributes/a", "must not hold a member named $sealed"},
		`{"attributes":{"$sealed":null}}`:        {"invalid_attributes", "body.attributes/$sealed", "must not be named $sealed"},
		`{"attributes":{"a":1e999}}`:             {"invalid_attributes", "body.attributes/a", "is a number beyond the range of a double"},
		`{"attributes":{"name":null}}`:           {"invalid_attributes", "body.attributes/name", "is required"},
		`{"attributes":{"age":"old"}}`:           {"invalid_attributes", "body.attributes/age", "must be of type integer"},
		`{"tags":"a"}`:                           {"invalid_tags", "body.tags", "must be an array of strings"},
		`{"tags":["a",1]}`:                       {"invalid_tags", "body.tags/1", "must be a string"},
		`{"tags":[""]}`:                          {"invalid_tags", "body.tags/0", "must not be empty"},
		`{"` + strings.Repeat("k", 400) + `":1}`: {"unknown_field", "body." + strings.Repeat("k", 295) + "…", "cannot be patched"},
	} {
		t.Run(fmt.Sprintf("%.50s", document), func(t *testing.T) {
			_, err := patch(current, `{"required":["name"],"properties":{"age":{"type":"integer"}}}`, document)
			refused(t, err, want[0], want[1], want[2])
		})
	}
}

// 200 attributes are the most, counted after the patch.
func TestPatchCountsTheWhole(t *testing.T) {
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf(`"a%d":1`, i)
	}
	current := entityOf(`{` + strings.Join(names, ",") + `}`)
	_, err := patch(current, `{}`, `{"attributes":{"b":1}}`)
	refused(t, err, "invalid_attributes", "body.attributes", "must have at most 200 members")
	facts, err := patch(current, `{}`, `{"attributes":{"b":1,"a0":null}}`)
	decided(t, facts, err, entity.Updated{Attributes: attrs(`{"b":1,"a0":null}`)})
}

func TestPatchOfAnArchivedEntity(t *testing.T) {
	archived := fold(entityOf(`{}`), domain.Fact{Payload: entity.Archived{}})
	_, err := patch(archived, `{}`, `{}`)
	refused(t, err, "conflict")
}

// What cannot be read back is our fault, not the caller's.
func TestPatchOfABrokenEntity(t *testing.T) {
	broken := entity.Entity{Type: "thing", Attributes: map[string]json.RawMessage{"a": json.RawMessage("{")}, TypeVersion: 1}
	_, err := patch(broken, `{}`, `{"attributes":{"b":1}}`)
	if err == nil || problem.Of(err) != nil {
		t.Errorf("got %v, want an internal error", err)
	}
}

func TestArchiveAndRestore(t *testing.T) {
	archive := func(current entity.Entity) []domain.Fact {
		facts, err := entity.Archiving{ID: id}.Decide(current, nil)
		if err != nil {
			t.Fatal(err)
		}
		return facts
	}
	active := entityOf(`{}`)
	facts := archive(active)
	archived := fold(active, decided(t, facts, nil, entity.Archived{}))
	unchanged(t, archive(archived), nil)
	restore := func(current entity.Entity, schema, document string) ([]domain.Fact, error) {
		return entity.Restoration{ID: id, Document: json.RawMessage(document)}.Decide(current, typeOf(schema), nil)
	}
	facts, err := entity.Restoration{ID: id}.Decide(active, typeOf(`{}`), nil)
	unchanged(t, facts, err)
	facts, err = entity.Restoration{ID: id}.Decide(archived, typeOf(`{}`), nil)
	if decided(t, facts, err, entity.Restored{}).Stream != entity.Stream(id) {
		t.Errorf("got %v", facts)
	}
	_, err = restore(active, `{}`, `{"tags":["x"]}`)
	refused(t, err, "conflict")
	_, err = restore(archived, `{}`, `[]`)
	refused(t, err, "invalid_patch")

	// What does not follow the type any more comes back only changed.
	_, err = restore(archived, `{"required":["name"]}`, `{"tags":["x"]}`)
	refused(t, err, "invalid_attributes", "body.attributes/name", "is required")
	archived.TypeVersion = 7
	facts, err = restore(archived, `{"required":["name"]}`, `{"attributes":{"name":"Ana"}}`)
	if err != nil || len(facts) != 2 {
		t.Fatalf("got %v, %v", facts, err)
	}
	decided(t, facts[:1], nil, entity.Restored{TypeVersion: 1})
	decided(t, facts[1:], nil, entity.Updated{Attributes: attrs(`{"name":"Ana"}`)})
	if again := fold(archived, facts...); again.Archived || again.TypeVersion != 1 {
		t.Errorf("got %+v", again)
	}
}

// An event says with which version of the type the attributes were held to be valid, when
// that is another than before.
func TestPatchUnderANewVersionOfTheType(t *testing.T) {
	current := entityOf(`{"name":"Ana"}`)
	second := typeOf(`{}`).Evolve(domain.Fact{Payload: entity.TypeDefined{Name: "thing", Schema: json.RawMessage(`{"type":"object"}`)}}).(entity.Type)
	change := entity.Patch{ID: id, Document: json.RawMessage(`{"tags":["x"]}`)}
	facts, err := change.Decide(current, second)
	updated := decided(t, facts, err, entity.Updated{Tags: []string{"x"}, TypeVersion: 2})
	current = fold(current, updated)
	change.Document = json.RawMessage(`{"tags":["y"]}`)
	facts, err = change.Decide(current, second)
	if current = fold(current, decided(t, facts, err, entity.Updated{Tags: []string{"y"}})); current.TypeVersion != 2 {
		t.Errorf("got %+v", current)
	}
}
