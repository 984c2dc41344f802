package readmodels_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/readmodels"
)

// The bytes are those of encoding/json, so that a page and a single entity, a read and what
// a write shows are alike, and so that a member that is added cannot be forgotten.
func TestEntitiesAreWrittenAsEncodingJSONWrites(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z"\\<>&\x{2028}\x{7f}é\t]{0,12}`))
	orNil := func(t *rapid.T, label string) *string {
		return rapid.Ptr(text, true).Draw(t, label)
	}
	entity := rapid.Custom(func(t *rapid.T) readmodels.Entity {
		moment := func(label string) time.Time {
			return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, label), rapid.Int64Range(0, 999_999).Draw(t, label)*1000).UTC()
		}
		return readmodels.Entity{
			ID: uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), Type: text.Draw(t, "type"), Key: orNil(t, "key"), Status: "active",
			Attributes: attributesText(t), Tags: rapid.SliceOfN(text, 0, 3).Draw(t, "tags"), Version: rapid.Int64().Draw(t, "version"),
			TypeVersion: rapid.Int64().Draw(t, "type_version"), CreatedAt: moment("created"), CreatedBy: text.Draw(t, "by"),
			UpdatedAt: moment("updated"), UpdatedBy: text.Draw(t, "by"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		page := readmodels.EntityPage{
			Items: rapid.SliceOfN(entity, 0, 3).Draw(t, "items"), NextCursor: orNil(t, "cursor"),
			Count: rapid.Ptr(rapid.Int64(), true).Draw(t, "count"), Truncated: rapid.Bool().Draw(t, "truncated"),
		}
		require.Equal(t, encoded(t, page), string(page.AppendJSON(nil)))
		for _, item := range page.Items {
			require.Equal(t, "before"+encoded(t, item), string(item.AppendJSON([]byte("before"))))
		}
	})
	require.Equal(t, encoded(t, readmodels.EntityPage{Items: []readmodels.Entity{{}}}), string(readmodels.EntityPage{Items: []readmodels.Entity{{}}}.AppendJSON(nil)))
	require.Equal(t, encoded(t, readmodels.EntityPage{}), string(readmodels.EntityPage{}.AppendJSON(nil)))
}

// attributesText is an object in the spelling of the database, or of encoding/json.
func attributesText(t *rapid.T) json.RawMessage {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ "\\:,{}]{0,12}`))
	values := rapid.MapOfN(text, rapid.OneOf(
		rapid.Map(text, func(s string) any { return s }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.SliceOfN(text, 0, 3), func(s []string) any { return s }),
		rapid.Map(rapid.MapOfN(text, text, 0, 2), func(m map[string]string) any { return m }),
		rapid.SampledFrom([]any{nil, true, false, []any{}, map[string]any{}}),
	), 0, 5).Draw(t, "attributes")
	compact := []byte(encoded(t, values))
	if rapid.Bool().Draw(t, "compact") {
		return compact
	}
	var spaced bytes.Buffer
	require.NoError(t, json.Indent(&spaced, compact, rapid.SampledFrom([]string{"", "\t"}).Draw(t, "prefix"), " "))
	return spaced.Bytes()
}

func encoded(t require.TestingT, value any) string {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(value))
	return strings.TrimSuffix(buffer.String(), "\n")
}
