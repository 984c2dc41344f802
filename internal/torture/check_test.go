package torture

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func event(position int64, stream string, version int64, kind, request string, data Data) Event {
	return Event{
		Position: position, OrgPosition: position, ID: "event-" + request, Org: "acme", Stream: stream, Version: version, Type: kind,
		Request: request, RecordedAt: time.Unix(position, 0), HashAgrees: true, Data: data,
	}
}

func with(value int, data Data) Data {
	data.Attributes.Value = &value
	return data
}

func accepted(id string, version, position int64, kind string) Receipt {
	return Receipt{ID: id, Version: version, Position: position, Events: []ReceiptEvent{{kind, position}}}
}

// sound is a short history in which all is well: of each kind of operation and answer
// there is one. Tests break it.
func sound() History {
	h := History{
		Log: []Event{
			event(1, "entity_type:thing", 1, "entity_type.defined", "r1", Data{Name: "thing", Title: "title 1"}),
			event(2, "entity:a", 1, "entity.created", "r2", with(1, Data{Type: "thing", Key: "k"})),
			event(3, "entity:a", 2, "entity.updated", "r4", with(2, Data{})),
			event(4, "entity:a", 3, "entity.archived", "r6b", Data{}),
			event(5, "entity:a", 4, "entity.restored", "r9", Data{}),
		},
		Operations: []Operation{
			{ID: 1, Kind: Define, Org: "acme", Type: "thing", Value: 1, Attempts: []Attempt{
				{Request: "r1", Began: 1, Ended: 2, Status: 201, Receipt: accepted("thing", 1, 1, "entity_type.defined")}}},
			{ID: 2, Kind: Create, Org: "acme", Type: "thing", Key: "k", Value: 1, Keyed: true, Attempts: []Attempt{
				{Request: "r2", Began: 3, Ended: 4, Status: 201, Receipt: accepted("a", 1, 2, "entity.created")},
				{Request: "r2b", Began: 5, Ended: 6, Status: 201, Replayed: true, Receipt: accepted("a", 1, 2, "entity.created")}}},
			{ID: 3, Kind: Create, Org: "acme", Type: "thing", Key: "k", Value: 5, Attempts: []Attempt{
				{Request: "r3", Began: 7, Ended: 8, Status: 409, Code: "key_taken", Holder: "a"}}},
			{ID: 4, Kind: Patch, Org: "acme", Entity: "a", Value: 2, IfMatch: 1, Attempts: []Attempt{
				{Request: "r4", Began: 9, Ended: 10, Status: 200, Receipt: accepted("a", 2, 3, "entity.updated")}}},
			{ID: 5, Kind: Patch, Org: "acme", Entity: "a", Value: 3, IfMatch: 1, Attempts: []Attempt{
				{Request: "r5", Began: 11, Ended: 12, Status: 412, Code: "version_conflict", Version: 2}}},
			{ID: 6, Kind: Archive, Org: "acme", Entity: "a", Keyed: true, Attempts: []Attempt{
				{Request: "r6", Began: 13, Ended: 14, Status: 503, Code: "log_unavailable"},
				{Request: "r6b", Began: 15, Ended: 16},
				{Request: "r6c", Began: 17, Ended: 18, Status: 200, Replayed: true, Receipt: accepted("a", 3, 4, "entity.archived")}}},
			{ID: 7, Kind: Archive, Org: "acme", Entity: "a", Attempts: []Attempt{
				{Request: "r7", Began: 19, Ended: 20, Status: 200, Receipt: Receipt{ID: "a", Version: 3, Position: 4}}}},
			{ID: 8, Kind: Patch, Org: "acme", Entity: "a", Value: 9, Attempts: []Attempt{
				{Request: "r8", Began: 21, Ended: 22, Status: 409, Code: "conflict"}}},
			{ID: 9, Kind: Restore, Org: "acme", Entity: "a", Attempts: []Attempt{{Request: "r9", Began: 23, Ended: 26, Status: 504, Code: "outcome_unknown"}}},
		},
		Reads: []Read{
			{Began: 24, Ended: 25, Entity: "a", Least: 3, Status: 200, Position: 4, Row: Row{Org: "acme", ID: "a", Type: "thing", Key: "k", Archived: true, Value: 2, Version: 3}},
			{Began: 27, Ended: 28, Entity: "a", Status: 503},
		},
		Views: []View{{Name: "live", Position: 5, Rows: []Row{{Org: "acme", ID: "a", Type: "thing", Key: "k", Value: 2, Version: 4}}}},
	}
	for _, e := range h.Log {
		h.Stream = append(h.Stream, Message{e.Position, e.ID})
		h.Delivered = append(h.Delivered, Message{e.Position, e.ID})
	}
	return h
}

func TestASoundHistoryBreaksNothing(t *testing.T) {
	t.Parallel()
	assert.Empty(t, Check(sound()))
	assert.Empty(t, Check(History{}))

	// The system may have something to say itself.
	h := sound()
	h.Log = append(h.Log, event(6, "member:ana", 1, "member.changed", "none", Data{}))
	h.Stream, h.Delivered = nil, nil
	assert.Empty(t, Check(h))
}

// Each case breaks one promise, and no other rule may be needed to see it.
func TestEachRuleSeesItsFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule     string
		sabotage func(h *History)
	}{
		"gap":                            {RulePositions, func(h *History) { h.Log[4].Position = 6 }},
		"gap within the organisation":    {RulePositions, func(h *History) { h.Log[4].OrgPosition = 6 }},
		"version left out":               {RuleVersions, func(h *History) { h.Log[4].Version = 5 }},
		"version twice":                  {RuleVersions, func(h *History) { h.Log[4].Version = 3 }},
		"time goes back":                 {RuleTime, func(h *History) { h.Log[4].RecordedAt = time.Unix(3, 0) }},
		"another hash":                   {RuleLeaf, func(h *History) { h.Log[2].HashAgrees = false }},
		"nobody asked":                   {RuleStray, func(h *History) { h.Log[4].Request = "r99" }},
		"applied twice by one request":   {RuleOnce, func(h *History) { h.Log[4].Request = "r4" }},
		"applied twice by a retry":       {RuleOnce, func(h *History) { h.Log[4].Request = "r6c" }},
		"acknowledged and gone":          {RuleLost, func(h *History) { h.Log = slices.Delete(h.Log, 3, 4) }},
		"refused and done":               {RuleUndone, func(h *History) { h.Log[4].Request = "r8" }},
		"told that nothing was done":     {RuleUndone, func(h *History) { h.Log[3].Request = "r6" }},
		"a replay that wrote":            {RuleUndone, func(h *History) { h.Log[1].Request = "r2b" }},
		"receipt with another position":  {RuleReceipt, func(h *History) { h.Operations[3].Attempts[0].Receipt.Position = 4 }},
		"receipt with another event":     {RuleReceipt, func(h *History) { h.Operations[3].Attempts[0].Receipt.Events[0].Type = "entity.archived" }},
		"receipt with another version":   {RuleReceipt, func(h *History) { h.Operations[3].Attempts[0].Receipt.Version = 3 }},
		"receipt with another id":        {RuleReceipt, func(h *History) { h.Operations[3].Attempts[0].Receipt.ID = "b" }},
		"another answer the second time": {RuleReplay, func(h *History) { h.Operations[1].Attempts[1].Receipt.Version = 2 }},
		"two answers that are the first": {RuleReplay, func(h *History) { h.Operations[1].Attempts[1].Replayed = false }},
		"internal error":                 {RuleAnswer, func(h *History) { h.Operations[4].Attempts[0].Status = 500 }},
		"replayed without a key":         {RuleAnswer, func(h *History) { h.Operations[4].Attempts[0].Replayed = true }},
		"created, as a patch":            {RuleAnswer, func(h *History) { h.Operations[3].Attempts[0].Status = 201 }},
		"key given twice": {RuleLegal, func(h *History) {
			h.Log[4] = event(5, "entity:b", 1, "entity.created", "r9", with(1, Data{Type: "thing", Key: "k"}))
		}},
		"stale If-Match accepted":       {RuleLegal, func(h *History) { h.Operations[3].IfMatch = 2 }},
		"archived and changed":          {RuleLegal, func(h *History) { h.Log[4].Request, h.Log[4].Type = "r8", "entity.updated" }},
		"another value":                 {RuleLegal, func(h *History) { h.Log[2].Data = with(3, Data{}) }},
		"another kind of event":         {RuleLegal, func(h *History) { h.Log[2].Type = "entity.restored" }},
		"another entity":                {RuleLegal, func(h *History) { h.Operations[8].Entity = "b" }},
		"decided before what was known": {RuleOrder, func(h *History) { h.Operations[5].Attempts[1].Began = 40 }},
		"a reaction twice": {RuleReaction, func(h *History) {
			h.Log = append(h.Log, event(6, "member:ana", 1, "member.changed", "none", Data{}), event(7, "member:ana", 2, "member.changed", "none", Data{}))
		}},
		"refused for a key that is free": {RuleRefusal, func(h *History) { h.Operations[2].Key = "other" }},
		"refused for the wrong holder":   {RuleRefusal, func(h *History) { h.Operations[2].Attempts[0].Holder = "b" }},
		"refused on what is over": {RuleRefusal, func(h *History) {
			h.Operations[7].Attempts[0].Began, h.Operations[7].Attempts[0].Ended = 50, 51
			h.Reads[0].Position = 5
		}},
		"refused on what is not yet":        {RuleRefusal, func(h *History) { h.Operations[4].Attempts[0].Version = 3 }},
		"refused although the version fits": {RuleRefusal, func(h *History) { h.Operations[4].IfMatch = 2 }},
		"nothing to do, but there was":      {RuleNoop, func(h *History) { h.Operations[6].Kind = Restore }},
		"nothing to do, long ago":           {RuleNoop, func(h *History) { h.Operations[6].Attempts[0].Receipt.Position = 3 }},
		"nothing to do, version":            {RuleNoop, func(h *History) { h.Operations[6].Attempts[0].Receipt.Version = 2 }},
		"read behind what was asked for":    {RuleRead, func(h *History) { h.Reads[0].Least = 5 }},
		"read of the future": {RuleRead, func(h *History) {
			h.Reads[0].Position, h.Reads[0].Row.Archived, h.Reads[0].Row.Version = 5, false, 4
			h.Reads[0].Began, h.Reads[0].Ended = 17, 18
		}},
		"read of something else":    {RuleRead, func(h *History) { h.Reads[0].Row.Value = 3 }},
		"read that misses it":       {RuleRead, func(h *History) { h.Reads[0].Status = 404 }},
		"read that fails":           {RuleRead, func(h *History) { h.Reads[1].Status = 500 }},
		"view with an old row":      {RuleView, func(h *History) { h.Views[0].Rows[0].Version = 3 }},
		"view without a row":        {RuleView, func(h *History) { h.Views[0].Rows = nil }},
		"view with a row too many":  {RuleView, func(h *History) { h.Views[0].Rows = append(h.Views[0].Rows, Row{ID: "b"}) }},
		"view with a row twice":     {RuleView, func(h *History) { h.Views[0].Rows = append(h.Views[0].Rows, h.Views[0].Rows[0]) }},
		"stream that ends early":    {RuleStream, func(h *History) { h.Stream = h.Stream[:4] }},
		"stream with a gap":         {RuleStream, func(h *History) { h.Stream = slices.Delete(h.Stream, 2, 3) }},
		"stream with another event": {RuleStream, func(h *History) { h.Stream[2].ID = "other" }},
		"stream ahead of the log":   {RuleStream, func(h *History) { h.Stream = append(h.Stream, Message{6, "event-r10"}) }},
		"delivered twice":           {RuleDelivered, func(h *History) { h.Delivered = slices.Insert(h.Delivered, 2, h.Delivered[1]) }},
		"delivered out of order":    {RuleDelivered, func(h *History) { h.Delivered[1], h.Delivered[2] = h.Delivered[2], h.Delivered[1] }},
		"not delivered":             {RuleDelivered, func(h *History) { h.Delivered = h.Delivered[:3] }},
	} {
		h := sound()
		c.sabotage(&h)
		found := Check(h)
		assert.True(t, slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule }), "%s: found %v", name, found)
	}
}

// A refusal may be right at any moment between request and answer, and at no other.
func TestARefusalIsJudgedByItsWindow(t *testing.T) {
	t.Parallel()
	h := sound()
	// Asked before the key was taken and answered when it was.
	h.Operations[2].Attempts[0].Began = 2
	assert.Empty(t, Check(h))
	// Answered before anybody asked for what took it.
	h.Operations[2].Attempts[0].Began, h.Operations[2].Attempts[0].Ended = -2, -1
	assert.Equal(t, []string{RuleRefusal}, rules(Check(h)))
	// A replayed refusal may be from the first attempt.
	h = sound()
	o := &h.Operations[4]
	o.Keyed = true
	o.Attempts = []Attempt{{Request: "r5", Began: 11, Ended: 12}, {Request: "r5b", Began: 60, Ended: 61, Status: 412, Code: "version_conflict", Version: 2, Replayed: true}}
	assert.Empty(t, Check(h))
	h.Reads[0].Ended, o.Attempts[0].Began = 30, 31
	assert.Equal(t, []string{RuleRefusal}, rules(Check(h)), "the log was further when it was first asked")
}

func rules(violations []Violation) []string {
	var found []string
	for _, v := range violations {
		found = append(found, v.Rule)
	}
	return found
}

func TestShrinkKeepsWhatShowsTheFault(t *testing.T) {
	t.Parallel()
	h := sound()
	// Long before the answer to operation 8, a read had shown that the entity is back.
	h.Operations[7].Attempts[0].Began, h.Operations[7].Attempts[0].Ended = 50, 51
	h.Reads = append(h.Reads, Read{Began: 30, Ended: 31, Entity: "a", Status: 200, Position: 5, Row: h.Views[0].Rows[0]})
	require.Equal(t, []string{RuleRefusal}, rules(Check(h)))

	short := Shrink(h, RuleRefusal)
	assert.Equal(t, []string{RuleRefusal}, rules(Check(short)))
	require.Len(t, short.Operations, 1)
	assert.Equal(t, 8, short.Operations[0].ID)
	require.Len(t, short.Reads, 1)
	assert.Equal(t, int64(5), short.Reads[0].Position)

	var printed bytes.Buffer
	short.Print(&printed)
	assert.Equal(t, `    30…31     read a as of 0 → 200 at 5: {Org:acme ID:a Type:thing Key:k Archived:false Value:2 Version:4}
    50…51     operation 8: patch acme a value=9 → 409 conflict version=0 holder=, request r8
position 2: entity.created of entity:a, version 1, request 
position 3: entity.updated of entity:a, version 2, request 
position 4: entity.archived of entity:a, version 3, request 
position 5: entity.restored of entity:a, version 4, request 
`, printed.String())

	assert.Equal(t, sound(), Shrink(sound(), RuleRefusal), "nothing to shrink")
}

func TestMinimal(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		for _, needed := range [][]int{{}, {0}, {n / 2, n - 1}, {1, 2, n - 1}} {
			needed = slices.Compact(slices.DeleteFunc(slices.Sorted(slices.Values(needed)), func(i int) bool { return i < 0 || i >= n }))
			kept := minimal(n, func(kept []int) bool {
				return !slices.ContainsFunc(needed, func(i int) bool { return !slices.Contains(kept, i) })
			})
			assert.ElementsMatch(t, needed, kept, "of %d", n)
		}
	}
}
