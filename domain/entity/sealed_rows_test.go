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

// What a row keeps of a sensitive attribute says again all that opening it takes.
func TestSealedRows(t *testing.T) {
	t.Parallel()
	id, event := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	for name, want := range map[string]domain.Sealed{
		"email":  {Subject: id.String()},
		"a/b":    {Subject: id.String(), Within: []string{"ana"}},
		"theirs": {Subject: `a"n<a`},
	} {
		want.Text, want.Event, want.Pointer, want.Sensitive = "AA+/", event, entity.AttributePointer(name), true
		for _, hash := range []string{"", "0aff"} {
			value, err := entity.SealedRowValue(id, want, hash)
			require.NoError(t, err)
			text, err := json.Marshal(map[string]json.RawMessage{name: value})
			require.NoError(t, err)
			found, err := entity.SealedRow(id, text)
			require.NoError(t, err)
			assert.Equal(t, want.Subjects(), found[name].Subjects())
			one := found[name]
			one.Within, want.Within = nil, nil
			assert.Equal(t, want, one)
			var row struct{ Hash string }
			require.NoError(t, json.Unmarshal(value, &row))
			assert.Equal(t, hash, row.Hash)
		}
	}
	none, err := entity.SealedRow(id, []byte(`{}`))
	require.NoError(t, err)
	assert.Nil(t, none)
	_, err = entity.SealedRow(id, []byte(`{"a":1}`))
	require.Error(t, err)
}
