package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// job is a bulk update as a client sees it.
type job struct {
	State                                        string
	Total, Processed, Updated, Unchanged, Failed int
}

func (h *hub) job(token, id string) (found job) {
	h.t.Helper()
	require.Equal(h.t, http.StatusOK, h.get("/api/v1/entities/bulk/"+id, token, nil, &found))
	return found
}

// A bulk update outlives the process that does it: whatever is killed in the middle, it goes
// on where it was, and each entity is changed once.
func TestKilledInTheMiddleABulkUpdateGoesOn(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	const things = 240
	var last receipt
	var mutex sync.Mutex
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for m := range things / 8 {
				made, _ := h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{"n": n*1000 + m}})
				mutex.Lock()
				if made.Position > last.Position {
					last = made
				}
				mutex.Unlock()
			}
		})
	}
	group.Wait()
	// Of a patch of this size, a step takes four.
	body := map[string]any{"filter": map[string]any{"type": "thing"}, "attributes": map[string]any{"planted": strings.Repeat("x", 40_000)}}
	started, response := h.send(http.MethodPost, "/api/v1/entities/bulk", token, after(last.Position), body)
	require.Equal(t, http.StatusAccepted, response.StatusCode)
	require.Equal(t, http.StatusOK, h.get("/api/v1/entities/bulk/"+started.ID, token, after(started.Position), nil))
	for range 2 {
		before := h.job(token, started.ID)
		var now job
		h.eventually("the job goes on", func() bool {
			now = h.job(token, started.ID)
			return now.Processed > before.Processed
		})
		require.Equal(t, "running", now.State, "it has ended before it could be disturbed")
		h.kill()
		h.start()
	}
	h.eventually("the job is done", func() bool { return h.job(token, started.ID).State == "completed" })
	assert.Equal(t, job{"completed", things, things, things, 0, 0}, h.job(token, started.ID))

	var updated []struct {
		Stream string `json:"stream"`
		Actor  struct{ Sub string }
	}
	require.NoError(t, json.Unmarshal([]byte(h.command("events", "replay", "--type", "entity.updated", "--output", "json")), &updated))
	seen := map[string]bool{}
	for _, e := range updated {
		require.False(t, seen[e.Stream], "%s was changed twice", e.Stream)
		require.Equal(t, "ana", e.Actor.Sub)
		seen[e.Stream] = true
	}
	require.Len(t, seen, things)
	h.eventually("the key of the job is destroyed", func() bool {
		return strings.Contains(h.command("events", "replay", "--type", "bulk_update.cleared", "--output", "json"), fmt.Sprintf(`"stream":"bulk_update:%s"`, started.ID))
	})
	// From the log alone the view comes to the same.
	h.command("projections", "rebuild", "jobs")
	assert.Equal(t, job{"completed", things, things, things, 0, 0}, h.job(token, started.ID))
}
