package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Law 4: under load, kill -9, start again: whatever was acknowledged is there, the
// positions have no gap, and the view is what a rebuild makes of the log.
func TestKilledUnderLoadNothingAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")

	acknowledged := make(map[string]int64) // key → position
	for round := range 3 {
		maps.Copy(acknowledged, h.loadUntilKilled(token, round))
		h.start()
		token = h.token("acme", "admin")
	}
	require.NotEmpty(t, acknowledged)

	events := h.replay()
	created := make(map[string]int64)
	for i, e := range events {
		require.Equal(t, int64(i+1), e.Position, "positions are gapless from 1")
		require.Equal(t, int64(i+1), e.OrgPosition)
		if e.Type == "entity.created" {
			require.NotContains(t, created, e.Data.Key, "a unique key was used twice")
			created[e.Data.Key] = e.Position
		}
	}
	for key, position := range acknowledged {
		require.Equal(t, position, created[key], "acknowledged command %s", key)
	}
	live := h.all(token, int64(len(events)))
	require.Len(t, live, len(created))
	h.command("projections", "rebuild", "entities")
	assert.Equal(t, live, h.all(token, int64(len(events))), "the view equals a rebuild")
}

// loadUntilKilled has eight callers create entities, kills the process in the
// middle, and returns the keys and positions of those that got a receipt.
func (h *hub) loadUntilKilled(token string, round int) map[string]int64 {
	const callers, enough = 8, 200
	acknowledged := make(map[string]int64)
	var mutex sync.Mutex
	var group sync.WaitGroup
	reached := make(chan struct{})
	for caller := range callers {
		group.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d-%d-%d", round, caller, n)
				response, body, err := h.do(h.t.Context(), http.MethodPost, "/api/v1/entities", token, nil,
					map[string]any{"type": "thing", "key": key, "attributes": map[string]any{"n": n}})
				if err != nil || response.StatusCode != http.StatusCreated {
					return // killed
				}
				var r receipt
				if json.Unmarshal(body, &r) != nil {
					return
				}
				mutex.Lock()
				if acknowledged[key] = r.Position; len(acknowledged) == enough {
					close(reached)
				}
				mutex.Unlock()
			}
		})
	}
	<-reached
	h.kill()
	group.Wait()
	return acknowledged
}

type replayed struct {
	Position    int64  `json:"position"`
	OrgPosition int64  `json:"org_position"`
	Type        string `json:"type"`
	Data        struct {
		Key string `json:"key"`
	} `json:"data"`
}

func (h *hub) replay() []replayed {
	h.t.Helper()
	var events []replayed
	require.NoError(h.t, json.Unmarshal([]byte(h.command("events", "replay", "--output", "json")), &events))
	return events
}

// decided are the events that callers' commands led to: without those of the directory,
// which come whenever a token is seen.
func (h *hub) decided() []replayed {
	h.t.Helper()
	return slices.DeleteFunc(h.replay(), func(e replayed) bool { return e.Type == "member.changed" })
}

// all pages through the list of entities as of a position.
func (h *hub) all(token string, position int64) []map[string]any {
	h.t.Helper()
	var items []map[string]any
	path := "/api/v1/entities?limit=500&sort=key"
	for cursor := ""; ; {
		var page struct {
			Items []map[string]any `json:"items"`
			Next  *string          `json:"next_cursor"`
		}
		require.Equal(h.t, http.StatusOK, h.get(path+cursor, token, after(position), &page))
		items = append(items, page.Items...)
		if page.Next == nil {
			return items
		}
		cursor = "&cursor=" + *page.Next
	}
}

func TestAirportsTwiceWithTheSameKeysAreThereOnce(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	h.defineType(token, "airport")
	bodies := airports(t)
	require.Len(t, bodies, 3376)

	var last int64
	for _, replay := range []bool{false, true} {
		var group sync.WaitGroup
		var mutex sync.Mutex
		next := make(chan map[string]any)
		for range 32 {
			group.Go(func() {
				for body := range next {
					response, answer, err := h.do(t.Context(), http.MethodPost, "/api/v1/entities", token,
						map[string]string{"Idempotency-Key": "airport-" + body["key"].(string)}, body)
					if !assert.NoError(t, err) || !assert.Equal(t, http.StatusCreated, response.StatusCode, "%s", answer) {
						continue
					}
					assert.Equal(t, replay, response.Header.Get("Idempotency-Replayed") == "true")
					var r receipt
					assert.NoError(t, json.Unmarshal(answer, &r))
					mutex.Lock()
					last = max(last, r.Position)
					mutex.Unlock()
				}
			})
		}
		for _, body := range bodies {
			next <- body
		}
		close(next)
		group.Wait()
		require.Len(t, h.decided(), len(bodies)+1, "one event each, and one for the type")
	}

	var page struct {
		Items []struct {
			Key        string         `json:"key"`
			Attributes map[string]any `json:"attributes"`
		} `json:"items"`
		Count int `json:"count"`
	}
	require.Equal(t, http.StatusOK, h.get("/api/v1/entities?type=airport&count=true&limit=1", token, after(last), &page))
	assert.Equal(t, 3376, page.Count)
	require.Equal(t, http.StatusOK, h.get("/api/v1/entities?type=airport&attr.city=Houston&key=IAH", token, after(last), &page))
	require.Len(t, page.Items, 1)
	assert.Equal(t, "George Bush Intercontinental", page.Items[0].Attributes["name"])
	assert.Len(t, h.all(token, last), 3376)
}

// Sixteen writers want one key, released together: one gets it, in every round.
func TestOneWriterWinsAKey(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	const writers, rounds = 16, 40
	for round := range rounds {
		start := make(chan struct{})
		statuses := make(chan int, writers)
		for range writers {
			go func() {
				<-start
				response, _, err := h.do(t.Context(), http.MethodPost, "/api/entities/", token, nil,
					map[string]any{"type": "thing", "key": fmt.Sprint(round), "attributes": map[string]any{}})
				if assert.NoError(t, err) {
					statuses <- response.StatusCode
				} else {
					statuses <- 0
				}
			}()
		}
		close(start)
		got := make(map[int]int)
		for range writers {
			got[<-statuses]++
		}
		require.Equal(t, map[int]int{http.StatusCreated: 1, http.StatusConflict: writers - 1}, got, "round %d", round)
	}
}

func TestStopsCleanlyAndKeepsItsData(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	created, _ := h.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{"a": "b"}})
	assert.Zero(t, h.terminate())

	h.start()
	var found map[string]any
	// The token is from before: the issuer's key is kept, too.
	require.Equal(t, http.StatusOK, h.get("/api/v1/entities/"+created.ID, token, after(created.Position), &found))
	assert.Equal(t, map[string]any{"a": "b"}, found["attributes"])
	assert.Equal(t, http.StatusNotFound, h.get("/api/v1/entities/"+created.ID, h.token("other", "admin"), nil, nil))
}
