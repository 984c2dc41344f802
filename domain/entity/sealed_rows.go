package entity

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Read tables keep the sensitive attributes of an entity sealed, as its log has them, beside
// their masks: an object with a member for each attribute. What follows from the entity and
// the name is left out: the place in the event, that it is sensitive, and the subject where
// that is the entity and nobody else.
//
//	{"email":{"$sealed":"…","event":"…","hash":"…"}}

// sealedMemberBytes is what a member takes beside its name, its hash and what is sealed.
const sealedMemberBytes = 96

// SealedRow is the object of the entity of this id. hashes find equal values; not all have
// one.
func SealedRow(id uuid.UUID, sealed map[string]domain.Sealed, hashes map[string]string) []byte {
	if len(sealed) == 0 {
		return []byte("{}")
	}
	size, entity := 2, id.String()
	for name, s := range sealed {
		size += sealedMemberBytes + len(name) + len(s.Text) + len(hashes[name])
	}
	text := append(make([]byte, 0, size), '{')
	for i, name := range slices.Sorted(maps.Keys(sealed)) {
		if i > 0 {
			text = append(text, ',')
		}
		quoted, _ := json.Marshal(name) // a text always can be
		text = appendSealed(append(append(text, quoted...), ':'), entity, sealed[name], hashes[name])
	}
	return append(text, '}')
}

func appendSealed(text []byte, entity string, s domain.Sealed, hash string) []byte {
	text = append(append(text, `{"`+domain.SealedName+`":"`...), s.Text...)
	text = append(append(text, `","event":"`...), s.Event.String()...)
	if hash != "" {
		text = append(append(text, `","hash":"`...), hash...)
	}
	text = append(text, '"')
	if s.Subject != entity || len(s.Within) > 0 {
		whose, _ := json.Marshal(s.Subjects()) // texts always can be
		text = append(append(text, `,"subjects":`...), whose...)
	}
	return append(text, '}')
}

// ReadSealedRow reads the object of the entity of this id; nil when nothing is sealed.
func ReadSealedRow(id uuid.UUID, text []byte) (map[string]domain.Sealed, error) {
	if len(text) <= len("{}") {
		return nil, nil
	}
	var row map[string]struct {
		domain.Sealed
		Whose []string `json:"subjects"`
	}
	if err := json.Unmarshal(text, &row); err != nil {
		return nil, err
	}
	found := make(map[string]domain.Sealed, len(row))
	for name, value := range row {
		value.Subject, value.Pointer, value.Sensitive = id.String(), AttributePointer(name), true
		if len(value.Whose) > 0 {
			value.Subject, value.Within = value.Whose[0], value.Whose[1:]
		}
		found[name] = value.Sealed
	}
	return found, nil
}
