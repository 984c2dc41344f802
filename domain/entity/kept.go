package entity

import (
	"bytes"
	"encoding/json"

	"github.com/reactdjango-hub/backend/domain"
)

var (
	_ domain.Kept = Entity{}
	_ domain.Kept = Type{}
)

// Keep gives the state as bytes for Restore.
func (e Entity) Keep() ([]byte, error) { return kept(e) }

// Restore gives the state of what Keep gave.
func (Entity) Restore(data []byte) (domain.State, error) {
	var e Entity
	err := json.Unmarshal(data, &e)
	return e, err
}

// Keep gives the state as bytes for Restore.
func (t Type) Keep() ([]byte, error) { return kept(t) }

// Restore gives the state of what Keep gave.
func (Type) Restore(data []byte) (domain.State, error) {
	var t Type
	if err := json.Unmarshal(data, &t); err != nil {
		return t, err
	}
	if !t.Exists() {
		return Type{Used: t.Used}, nil
	}
	return t.compiling(), nil
}

// kept is JSON that leaves the text of values as it is.
func kept(state any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(state)
	return buffer.Bytes(), err
}
