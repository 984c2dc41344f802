package entity_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// What a row keeps of sensitive attributes says again all that opening them takes.
func TestSealedRows(t *testing.T) {
	t.Parallel()
	id, event := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	sealed := map[string]domain.Sealed{
		"email":   {Subject: id.String(), Within: []string{}},
		"a/b\"<&": {Subject: id.String(), Within: []string{"ana"}},
		"theirs":  {Subject: `a"n<a`, Within: []string{}},
	}
	hashes := map[string]string{"email": "0aff"}
	for name, s := range sealed {
		s.Text, s.Event, s.Pointer, s.Sensitive = "AA+/", event, entity.AttributePointer(name), true
		sealed[name] = s
	}
	text := entity.SealedRow(id, sealed, hashes)
	found, err := entity.ReadSealedRow(id, text)
	require.NoError(t, err)
	assert.Equal(t, []string(nil), found["email"].Within)
	found["email"] = sealed["email"] // but for nil in place of none
	assert.Equal(t, sealed, found)
	var row map[string]struct{ Hash *string }
	require.NoError(t, json.Unmarshal(text, &row))
	assert.Equal(t, "0aff", *row["email"].Hash)
	assert.Nil(t, row["theirs"].Hash)

	none := entity.SealedRow(id, nil, nil)
	assert.Equal(t, "{}", string(none))
	found, err = entity.ReadSealedRow(id, none)
	require.NoError(t, err)
	assert.Nil(t, found)
	_, err = entity.ReadSealedRow(id, []byte(`{"a":1}`))
	require.Error(t, err)
}
