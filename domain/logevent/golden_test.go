package logevent_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/logevent"
)

var update = flag.Bool("update", false, "write the golden files of the current schema versions")

// What stands in testdata/events is read for ever: change it only by adding a schema
// version.
func TestGoldenEvents(t *testing.T) {
	const path = "testdata/events/log.forked.v1.json"
	forked := logevent.Forked{
		ForkPosition: 80,
		OldEpoch:     uuid.MustParse("480634a2-10ff-4f0b-b6b8-1e09f748ea6e"),
		NewEpoch:     uuid.MustParse("9e1e87cf-44a2-4f0e-9a2f-6d4f8a3d4b11"),
		LostFrom:     81, LostThrough: 100,
	}
	written, err := json.Marshal(forked)
	require.NoError(t, err)
	written = append(written, '\n')
	if *update {
		require.NoError(t, os.WriteFile(path, written, 0o644))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(golden, written), "log.forked is written differently now: %s", written)
	kind := logevent.Kinds()[0]
	require.Equal(t, []any{"log.forked", 1}, []any{kind.Type, kind.SchemaVersion})
	read, err := kind.Decode(1, golden)
	require.NoError(t, err)
	require.Equal(t, forked, read)
}
