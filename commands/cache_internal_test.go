package commands

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
)

// heavy is a state of a mebibyte, as it says.
type heavy struct{}

func (heavy) Evolve(domain.Fact) domain.State { return heavy{} }
func (heavy) Size() int                       { return 1 << 20 }

// The cache keeps to its bound, however much is put into it, and what leaves first is
// what was not used for longest.
func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache()
	at := func(n int) eventstore.Boundary {
		return eventstore.Boundary{Org: "acme", Tag: domain.NewTag("heavy", fmt.Sprint(n))}
	}
	for n := range 1000 {
		c.put(at(n), folded{state: heavy{}, version: int64(n)})
		assert.LessOrEqual(t, c.bytes, maxCacheBytes)
		first, found := c.get(at(0)) // used all the time
		assert.True(t, found)
		assert.Zero(t, first.version)
	}
	assert.Len(t, c.entries, 63)
	assert.Equal(t, len(c.entries), c.recent.Len())
	_, found := c.get(at(1))
	assert.False(t, found)
	_, found = c.get(at(999))
	assert.True(t, found)

	c.put(at(999), folded{state: heavy{}, version: 7})
	assert.Len(t, c.entries, 63, "replaced, not added")
	for boundary := range c.entries {
		c.evict(boundary)
	}
	assert.Zero(t, c.bytes)
}
