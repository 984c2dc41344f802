package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/reactions"
)

// hub reactions shows what is parked, asks for it again and gives it up.
func TestReactionsAreLookedAfter(t *testing.T) {
	t.Parallel()
	url := hubtest.Database(t, hubtest.LogAndViews())
	h := newServeHub(t, []string{"DATABASE_URL=" + url}, "reactor")
	list := func() []reactions.Listing {
		var listed []reactions.Listing
		require.NoError(t, json.Unmarshal([]byte(h.command("reactions", "list", "--output", "json")), &listed))
		return listed
	}
	assert.Empty(t, list())
	_, err := hubtest.Pool(t, url, "").Exec(t.Context(), `
		INSERT INTO reaction_checkpoints VALUES ('greeting', 17, gen_random_uuid(), now());
		INSERT INTO reaction_parked SELECT 'greeting', n, gen_random_uuid(), 'acme', 'note:1', 'note.noted', 'no idea', 5, false, now()
		  FROM generate_series(11, 13) n`)
	require.NoError(t, err)

	assert.Contains(t, h.command("reactions", "list"), "greeting  17        3")
	assert.Contains(t, h.command("reactions", "list"), "no idea")
	assert.Equal(t, "retry: 1 events\n", h.command("reactions", "retry", "greeting", "--position", "12"))
	listed := list()
	require.Len(t, listed, 1)
	assert.EqualValues(t, 17, listed[0].Position)
	require.Len(t, listed[0].Items, 3)
	assert.Equal(t, []bool{false, true, false}, []bool{listed[0].Items[0].Retry, listed[0].Items[1].Retry, listed[0].Items[2].Retry})

	assert.Equal(t, "drop: 1 events\n", h.command("reactions", "drop", "greeting", "--position", "11"))
	assert.Equal(t, "drop: 2 events\n", h.command("reactions", "drop", "greeting"))
	assert.Empty(t, list()[0].Items)
}
