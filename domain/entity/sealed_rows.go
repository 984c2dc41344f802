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
func SealedRow(id uuid.UUID, sealed map[string]domain.Sealed, hashes map[string]string) ([]byte, error) {
	if len(sealed) == 0 {
		return []byte("{}"), nil
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
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		text = append(append(text, quoted...), ':')
		if text, err = appendSealed(text, entity, sealed[name], hashes[name]); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}

func appendSealed(text []byte, entity string, s domain.Sealed, hash string) ([]byte, error) {
	text = append(append(text, `{"`+domain.SealedName+`":"`...), s.Text...)
	text = append(append(text, `","event":"`...), s.Event.String()...)
	if hash != "" {
		text = append(append(text, `","hash":"`...), hash...)
	}
	text = append(text, '"')
	if s.Subject != entity || len(s.Within) > 0 {
		whose, err := json.Marshal(s.Subjects())
		if err != nil {
			return nil, err
		}
		text = append(append(text, `,"subjects":`...), whose...)
	}
	return append(text, '}'), nil
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
