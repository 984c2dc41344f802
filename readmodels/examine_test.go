package readmodels_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/readmodels"
)

func TestAnExaminationCounts(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, attributes := range []string{`{"city":"Paris"}`, `{"city":"Lyon"}`, `{"city":"?"}`} {
		h.create(t, "customer", "", attributes)
	}
	h.create(t, "supplier", "", `{"city":"Lyon"}`)
	h.project(t)
	inParis := func(attributes json.RawMessage) (yes, known bool) {
		return strings.Contains(string(attributes), "Paris"), !strings.Contains(string(attributes), "?")
	}
	for name, test := range map[string]struct {
		org  string
		want readmodels.Examination
	}{
		"customer": {"acme", readmodels.Examination{All: 3, Examined: 2, Invalid: 1}},
		"supplier": {"acme", readmodels.Examination{All: 1, Examined: 1, Invalid: 1}},
		"none":     {"acme", readmodels.Examination{}},
	} {
		found, at, err := h.reads.Examine(t.Context(), test.org, name, inParis)
		require.NoError(t, err, name)
		require.Equal(t, test.want, found, name)
		require.EqualValues(t, 4, at.Position)
	}
	found, _, err := h.reads.Examine(t.Context(), "other", "customer", inParis)
	require.NoError(t, err)
	require.Zero(t, found, "of another organisation nothing is seen")
}
