package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// A view is built anew, swapped in and rolled back while clients write, and read what
// they wrote: no read fails, none shows less than its caller has seen, and for no
// reader does the position step back.
func TestViewsAreSwappedUnderWritesAndWaitingReads(t *testing.T) {
	t.Parallel()
	h := newDevHub(t).start()
	token := h.token("acme", "admin")
	h.defineType(token, "thing")
	var (
		over  atomic.Bool
		group sync.WaitGroup
		reads atomic.Int64
	)
	for range 4 {
		group.Go(func() {
			for seen := int64(0); !over.Load(); reads.Add(1) {
				position, err := h.writeAndRead(token, seen)
				if err != "" {
					t.Error(err)
					return
				}
				seen = position
			}
		})
	}
	for range 3 {
		h.command("projections", "rebuild", "entities")
		h.command("projections", "rollback", "entities")
	}
	before := reads.Load()
	h.eventually("reads go on", func() bool { return reads.Load() > before+20 || t.Failed() })
	over.Store(true)
	group.Wait()
	h.command("projections", "verify")
}

// writeAndRead creates an entity and reads it back, as a client does who wants to see
// it and has seen a position. It returns the position of the answer, or what is wrong.
func (h *hub) writeAndRead(token string, seen int64) (position int64, wrong string) {
	response, body, err := h.do(h.t.Context(), http.MethodPost, "/api/v1/entities", token, nil,
		map[string]any{"type": "thing", "attributes": map[string]any{}})
	if err != nil || response.StatusCode != http.StatusCreated {
		return 0, "write: " + string(body)
	}
	var written receipt
	if err := json.Unmarshal(body, &written); err != nil {
		return 0, err.Error()
	}
	response, body, err = h.do(h.t.Context(), http.MethodGet, "/api/v1/entities/"+written.ID, token, after(written.Position), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		return 0, "read: " + string(body)
	}
	position, err = strconv.ParseInt(response.Header.Get("Hub-Position"), 10, 64)
	switch {
	case err != nil:
		return 0, err.Error()
	case position < written.Position:
		return 0, "the answer is of position " + strconv.FormatInt(position, 10) + ", asked for was " + strconv.FormatInt(written.Position, 10)
	case position < seen:
		return 0, "the position stepped back to " + strconv.FormatInt(position, 10) + " from " + strconv.FormatInt(seen, 10)
	}
	return position, ""
}
