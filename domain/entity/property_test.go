package entity_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// value draws a decoded JSON value from few names, so that patches meet what they
// change.
func value(depth int, nulls bool) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](true),
		rapid.Map(rapid.SampledFrom([]string{"0", "1", "1.0", "-2e3"}), func(s string) any { return json.Number(s) }),
		rapid.Map(rapid.SampledFrom([]string{"", "x", "<ü>", "\u2028"}), func(s string) any { return s }),
	}
	if nulls {
		scalars = append(scalars, rapid.Just[any](nil))
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	list := rapid.Map(rapid.SliceOfN(value(depth-1, true), 0, 3), func(v []any) any { return v })
	object := rapid.Map(object(depth-1, nulls), func(v map[string]any) any { return v })
	return rapid.OneOf(append(scalars, list, object, object)...)
}

func object(depth int, nulls bool) *rapid.Generator[map[string]any] {
	names := rapid.SampledFrom([]string{"a", "b", "c", "a/b"})
	return rapid.MapOfN(names, value(depth, nulls), 0, 3)
}

func tagList() *rapid.Generator[[]string] {
	return rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 4)
}

// created draws an entity as it would be after its first event.
func created(t *rapid.T) entity.Entity {
	n := entity.NewEntity{ID: id, Type: "thing", Attributes: encoded(object(3, false).Draw(t, "attributes")), Tags: tagList().Draw(t, "tags")}
	facts, err := n.Decide(typeOf(`{}`), entity.Key{})
	if err != nil {
		t.Fatal(err)
	}
	return entity.Entity{}.Evolve(stored(t, facts[0])).(entity.Entity)
}

func encoded(attributes map[string]any) map[string]json.RawMessage {
	raw := map[string]json.RawMessage{}
	for name, v := range attributes {
		raw[name] = json.RawMessage(text(v))
	}
	return raw
}

// stored is the fact as it comes back from the log.
func stored(t *rapid.T, fact domain.Fact) domain.Fact {
	data, err := json.Marshal(fact.Payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range entity.Kinds() {
		if kind.Type == fact.Payload.EventType() {
			payload, err := kind.Decode(kind.SchemaVersion, data)
			if err != nil {
				t.Fatal(err)
			}
			fact.Payload = payload
		}
	}
	return fact
}

// document is the entity as the document that a patch is of.
func document(e entity.Entity) map[string]any {
	attributes := map[string]any{}
	for name, raw := range e.Attributes {
		attributes[name] = decoded(raw)
	}
	tags := []any{}
	for _, tag := range e.Tags {
		tags = append(tags, tag)
	}
	return map[string]any{"attributes": attributes, "tags": tags}
}

func decoded(raw []byte) any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return v
}

// merge is the algorithm of RFC 7396 section 2, to the letter.
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result, ok := target.(map[string]any)
	if !ok {
		result = map[string]any{}
	}
	for name, change := range changes {
		if change == nil {
			delete(result, name)
		} else {
			result[name] = merge(result[name], change)
		}
	}
	return result
}

// Deciding a patch and folding its event is the merge patch of the whole document,
// with tags sorted and each there once; when that is the document as it was, there
// is no event; and neither step changes the state it started from.
func TestPatchIsMergePatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := created(t)
		wanted := map[string]any{}
		if rapid.Bool().Draw(t, "with attributes") {
			wanted["attributes"] = rapid.OneOf(
				rapid.Just[any](nil),
				rapid.Map(object(3, true), func(v map[string]any) any { return v }),
			).Draw(t, "changes")
		}
		if rapid.Bool().Draw(t, "with tags") {
			wanted["tags"] = decoded([]byte(text(tagList().Draw(t, "new tags"))))
		}
		snapshot := text(before)

		facts, err := patch(before, `{}`, text(wanted))
		if err != nil {
			t.Fatal(err)
		}
		var after domain.State = before
		for _, fact := range facts {
			after = after.Evolve(stored(t, fact))
		}

		want := merge(document(before), decoded([]byte(text(wanted)))).(map[string]any)
		if got, want := document(after.(entity.Entity)), normal(want); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %s\nwant %s", text(got), text(want))
		}
		if changed := !reflect.DeepEqual(document(before), normal(want)); changed != (len(facts) == 1) {
			t.Fatalf("%d facts for a patch that changes something: %v", len(facts), changed)
		}
		if text(before) != snapshot {
			t.Fatalf("the state was changed from %s to %s", snapshot, text(before))
		}
		again, err := patch(after.(entity.Entity), `{}`, text(wanted))
		if err != nil || len(again) != 0 {
			t.Fatalf("the same patch again decides %v, %v", again, err)
		}
	})
}

// normal writes a merged document as an entity keeps it.
func normal(document map[string]any) map[string]any {
	if document["attributes"] == nil {
		document["attributes"] = map[string]any{}
	}
	tags, _ := document["tags"].([]any)
	sorted := slices.Clone(tags)
	slices.SortFunc(sorted, func(a, b any) int { return bytes.Compare([]byte(a.(string)), []byte(b.(string))) })
	document["tags"] = append([]any{}, slices.Compact(sorted)...)
	return document
}

// Folding gives a new value: no sequence of events changes a state that somebody
// still holds.
func TestEvolveKeepsItsReceiver(t *testing.T) {
	payload := rapid.Custom(func(t *rapid.T) domain.Payload {
		updated := entity.Updated{Attributes: encoded(object(1, true).Draw(t, "changes"))}
		if rapid.Bool().Draw(t, "with tags") {
			updated.Tags = tagList().Draw(t, "tags")
		}
		return rapid.SampledFrom([]domain.Payload{
			updated,
			entity.Created{Type: "thing", Key: "k", Attributes: encoded(object(1, false).Draw(t, "attributes")), Tags: tagList().Draw(t, "first tags")},
			entity.TypeDefined{Name: "thing", Schema: json.RawMessage(`{}`)},
			entity.Archived{}, entity.Restored{},
			entity.RelationshipAdded{Kind: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "kind"), TargetID: rapid.SampledFrom([]uuid.UUID{id, other}).Draw(t, "target")},
			entity.RelationshipRemoved{Kind: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "removed kind"), TargetID: rapid.SampledFrom([]uuid.UUID{id, other}).Draw(t, "removed target")},
		}).Draw(t, "payload")
	})
	rapid.Check(t, func(t *rapid.T) {
		for kind, state := range entity.Folds() {
			var held []domain.State
			var was []string
			for _, p := range rapid.SliceOfN(payload, 1, 8).Draw(t, kind) {
				held, was = append(held, state), append(was, visible(state))
				state = state.Evolve(domain.Fact{Stream: entity.Stream(id), Payload: p})
			}
			for i := range held {
				if now := visible(held[i]); now != was[i] {
					t.Fatalf("%s %d was %s, is %s", kind, i, was[i], now)
				}
			}
		}
	})
}

// visible writes all that a state shows.
func visible(s domain.State) string {
	switch s := s.(type) {
	case entity.Outgoing, entity.Incoming:
		data, err := s.(domain.Kept).Keep()
		return text([]any{string(data), err, s.Size()})
	case entity.Type:
		typ := s
		return text([]any{typ.Name, typ.Title, string(typ.Schema), typ.Used, typ.Size()})
	}
	return text([]any{s, s.Size()})
}

// Whatever arrives as a patch is decided or refused, never a panic, and what is
// decided follows the schema.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{`{"attributes":{"a":{"b":null},"n":1e9},"tags":["x"]}`, `{"attributes":null}`, `[]`, `{"attributes":{"n":"x"}}`} {
		f.Add([]byte(seed))
	}
	typ := typeOf(`{"properties":{"n":{"type":"number"},"child":{"$ref":"#"}},"maxProperties":20}`)
	before := entityOf(`{"a":{"b":1,"c":[1]},"n":5}`, "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := entity.Patch{ID: id, Document: data}.Decide(before, typ)
		if err != nil || len(facts) == 0 {
			return
		}
		after := before.Evolve(facts[0]).(entity.Entity)
		if again, err := (entity.Patch{ID: id, Document: data}).Decide(after, typ); err != nil || len(again) != 0 {
			t.Fatalf("%s again: %v, %v", data, again, err)
		}
		created := entity.NewEntity{ID: id, Type: "thing", Attributes: after.Attributes, Tags: after.Tags}
		if _, err := created.Decide(typ, entity.Key{}); err != nil {
			t.Fatalf("%s led to what cannot be created: %v", data, err)
		}
	})
}

// Whatever arrives as a schema compiles or is refused, never a panic.
func FuzzSchema(f *testing.F) {
	for _, seed := range []string{
		`{"properties":{"a":{"type":"string","format":"email"}}}`, `{"$ref":"#"}`, `{"$id":"x:y","$defs":{"a":{"$anchor":"b"}}}`,
		`{"patternProperties":{"^a":{"multipleOf":0.1}}}`, `{"$dynamicRef":"#x","$dynamicAnchor":"x"}`, `{"enum":[1,"a",null]}`,
	} {
		f.Add([]byte(seed))
	}
	attributes := attrs(`{"a":"x","b":[1,{"c":null}],"n":1.5}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := entity.Definition{Name: "thing", Schema: data}.Decide(entity.Type{}, nil)
		if err != nil {
			return
		}
		typ := entity.Type{}.Evolve(facts[0]).(entity.Type)
		if again, err := (entity.Definition{Name: "thing", Schema: data}).Decide(typ, nil); err != nil || len(again) != 0 {
			t.Fatalf("the same definition again: %v, %v", again, err)
		}
		_, err = entity.NewEntity{ID: id, Type: "thing", Attributes: attributes}.Decide(typ, entity.Key{})
		if err != nil {
			refused(t, err, "invalid_attributes")
		}
	})
}
