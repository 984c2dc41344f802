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
	paris := h.create(t, "customer", "", `{"city":"Paris"}`)
	h.create(t, "customer", "", `{"city":"Lyon"}`)
	unknown := h.create(t, "customer", "", `{"city":"?"}`)
	h.create(t, "supplier", "", `{"city":"Lyon"}`)
	h.relate(t, "acme", paris, "friend", unknown)
	h.relate(t, "acme", unknown, "friend", paris)
	h.project(t)
	inParis := func(attributes json.RawMessage) (yes, known bool) {
		return strings.Contains(string(attributes), "Paris"), !strings.Contains(string(attributes), "?")
	}
	for name, test := range map[string]struct {
		typeName string
		declared []readmodels.RelationshipKind
		want     readmodels.Examination
	}{
		"customer":         {"customer", []readmodels.RelationshipKind{{Kind: "friend", Target: "thing"}}, readmodels.Examination{All: 3, Examined: 2, Invalid: 1}},
		"another target":   {"customer", []readmodels.RelationshipKind{{Kind: "friend", Target: "other"}}, readmodels.Examination{All: 3, Examined: 3, Invalid: 3}},
		"nothing declared": {"customer", nil, readmodels.Examination{All: 3, Examined: 3, Invalid: 3}},
		"supplier":         {"supplier", nil, readmodels.Examination{All: 1, Examined: 1, Invalid: 1}},
		"none":             {"none", nil, readmodels.Examination{}},
	} {
		found, at, err := h.reads.Examine(t.Context(), "acme", test.typeName, test.declared, inParis)
		require.NoError(t, err, name)
		require.Equal(t, test.want, found, name)
		require.EqualValues(t, 6, at.Position)
	}
	found, _, err := h.reads.Examine(t.Context(), "other", "customer", nil, inParis)
	require.NoError(t, err)
	require.Zero(t, found, "of another organisation nothing is seen")
}
