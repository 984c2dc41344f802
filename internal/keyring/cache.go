package keyring

import (
	"container/list"
	"sync"
	"time"
)

const (
	// cacheTime is how long an unwrapped key is used without looking whether it is there
	// still: the longest that another process goes on after an erasure.
	cacheTime = 30 * time.Second
	// maxCached bounds the unwrapped keys, of some 2 KiB each; and the organisations
	// whose secret is held.
	maxCached  = 10_000
	maxHashers = 10_000
)

// Cache holds unwrapped keys for a short time. The keyrings of a process share one: what the
// command loop has sealed a view opens without asking the database, and what one of them
// erases none of them has any more.
type Cache struct {
	mu      sync.Mutex
	entries map[Ref]*list.Element
	// recent has the most recently used in front.
	recent  *list.List
	hashers map[string]*Hasher
}

// NewCache makes an empty cache.
func NewCache() *Cache {
	return &Cache{entries: make(map[Ref]*list.Element), recent: list.New(), hashers: make(map[string]*Hasher)}
}

// cached is a key that was seen at a time.
type cached struct {
	key  *Key
	seen time.Time
}

// fresh is the cached key, if it was seen lately. Call it under mu.
func (k *Keyring) fresh(ref Ref) *Key {
	element, known := k.cache.entries[ref]
	if !known {
		return nil
	}
	entry := element.Value.(*cached)
	if k.now().Sub(entry.seen) >= cacheTime {
		k.drop(element)
		return nil
	}
	k.cache.recent.MoveToFront(element)
	return entry.key
}

func (k *Keyring) drop(element *list.Element) {
	delete(k.cache.entries, k.cache.recent.Remove(element).(*cached).key.ref)
	k.metrics.held.Add(-1)
}

// put caches a key. That a subject was erased is not forgotten for a key that somebody
// loaded before. Call it under mu.
func (k *Keyring) put(key *Key) {
	if element, known := k.cache.entries[key.ref]; known {
		if !key.Erased() && element.Value.(*cached).key.Erased() {
			return
		}
		k.drop(element)
	}
	k.cache.entries[key.ref] = k.cache.recent.PushFront(&cached{key, k.now()})
	k.metrics.held.Add(1)
	for len(k.cache.entries) > maxCached {
		k.drop(k.cache.recent.Back())
		k.metrics.evicted.Inc()
	}
}
