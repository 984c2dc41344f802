package entity

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// Read tables keep the sensitive attributes of an entity sealed, as its log has them, beside
// their masks: an object with a member for each attribute. What follows from the entity and
// the name is left out: the place in the event, that it is sensitive, and the subject where
// that is the entity and nobody else.
//
//	{"email":{"$sealed":"…","event":"…","hash":"…"}}

// SealedRowValue is one such member of the entity of this id. hash finds equal values; it is
// "" for what has none.
func SealedRowValue(id uuid.UUID, s domain.Sealed, hash string) (json.RawMessage, error) {
	text := make([]byte, 0, len(s.Text)+len(hash)+96) // with an id and the names
	text = append(append(text, `{"`+domain.SealedName+`":"`...), s.Text...)
	text = append(append(text, `","event":"`...), s.Event.String()...)
	if hash != "" {
		text = append(append(text, `","hash":"`...), hash...)
	}
	text = append(text, '"')
	if s.Subject != id.String() || len(s.Within) > 0 {
		whose, err := json.Marshal(s.Subjects())
		if err != nil {
			return nil, err
		}
		text = append(append(text, `,"subjects":`...), whose...)
	}
	return append(text, '}'), nil
}

// SealedRow reads the object of the entity of this id; nil when nothing is sealed.
func SealedRow(id uuid.UUID, text []byte) (map[string]domain.Sealed, error) {
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
