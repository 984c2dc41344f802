package commands

import (
	"container/list"
	"time"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

const (
	// maxCacheBytes is what states may take, as they say themselves (Size).
	maxCacheBytes = 64 << 20
	// entryBytes is what an entry costs beside its state.
	entryBytes = 384
)

// folded is the state of a boundary as of a position. It is a value: turns work on
// copies and the cache keeps the last that the log confirmed.
type folded struct {
	state domain.State
	// version counts the events of the stream that has the boundary's name.
	version int64
	// head is the position up to which events are in state.
	head int64
	// created and updated are of the first and the last event of that stream.
	created, updated Stamp
	// unsaved counts the events since the last snapshot.
	unsaved int
}

// Stamp says who recorded an event, and when. At is zero until the log has said.
type Stamp struct {
	At time.Time
	By string
}

// apply folds one more fact of the boundary.
func (f folded) apply(tag domain.Tag, fact domain.Fact, recorded Stamp) folded {
	f.state = f.state.Evolve(fact)
	f.unsaved++
	if fact.Stream == tag {
		if f.version++; f.version == 1 {
			f.created = recorded
		}
		f.updated = recorded
	}
	return f
}

// recorded is f once the log has said when the turn's events were recorded.
func (f folded) recorded(at time.Time) folded {
	for _, stamp := range []*Stamp{&f.created, &f.updated} {
		if f.version > 0 && stamp.At.IsZero() {
			stamp.At = at
		}
	}
	return f
}

// cache keeps the states of boundaries between turns, the least recently used
// leaving first. It may be stale, never wrong: the append checks every head.
type cache struct {
	entries map[eventstore.Boundary]*list.Element
	// recent has the most recently used in front.
	recent *list.List
	bytes  int
}

type cacheEntry struct {
	boundary eventstore.Boundary
	folded   folded
	bytes    int
}

func newCache() *cache {
	return &cache{entries: make(map[eventstore.Boundary]*list.Element), recent: list.New()}
}

func (c *cache) get(b eventstore.Boundary) (folded, bool) {
	element, found := c.entries[b]
	if !found {
		return folded{}, false
	}
	c.recent.MoveToFront(element)
	return element.Value.(*cacheEntry).folded, true
}

func (c *cache) put(b eventstore.Boundary, f folded) {
	c.evict(b)
	entry := &cacheEntry{boundary: b, folded: f, bytes: entryBytes + len(b.Org) + len(b.Tag) + f.state.Size()}
	c.entries[b] = c.recent.PushFront(entry)
	for c.bytes += entry.bytes; c.bytes > maxCacheBytes; {
		c.evict(c.recent.Back().Value.(*cacheEntry).boundary)
	}
}

func (c *cache) evict(b eventstore.Boundary) {
	if element, found := c.entries[b]; found {
		c.bytes -= c.recent.Remove(element).(*cacheEntry).bytes
		delete(c.entries, b)
	}
}
