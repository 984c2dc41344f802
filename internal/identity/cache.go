package identity

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// maxCachedFor bounds how long a token is taken as verified: what a verification
	// costs is spent once a minute and caller, no matter how often they call.
	maxCachedFor = 60 * time.Second
	// maxCachedTokens bounds memory: about 1 KB each, 16 KB at the very most, so 4 MB
	// as a rule and never above 64 MB.
	maxCachedTokens = 4096
)

// tokenCache remembers verified tokens by their hash; the tokens themselves are
// not kept.
type tokenCache struct {
	mu      sync.RWMutex
	entries map[[sha256.Size]byte]cachedCaller
}

type cachedCaller struct {
	caller      Caller
	from, until time.Time
}

func newTokenCache() *tokenCache {
	return &tokenCache{entries: map[[sha256.Size]byte]cachedCaller{}}
}

func (c *tokenCache) get(id [sha256.Size]byte, now time.Time) (Caller, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	entry, found := c.entries[id]
	if !found || now.Before(entry.from) || !now.Before(entry.until) {
		return Caller{}, false
	}
	return entry.caller, true
}

func (c *tokenCache) put(id [sha256.Size]byte, caller Caller, now time.Time) {
	until := now.Add(maxCachedFor)
	if caller.Expires.Before(until) {
		until = caller.Expires
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCachedTokens {
		c.makeRoom(now)
	}
	c.entries[id] = cachedCaller{caller: caller, from: now, until: until}
}

// makeRoom drops what has run out and, if that is little, others at random, so
// that a full cache is not searched for every new token.
func (c *tokenCache) makeRoom(now time.Time) {
	for id, entry := range c.entries {
		if !now.Before(entry.until) {
			delete(c.entries, id)
		}
	}
	for id := range c.entries {
		if len(c.entries) <= maxCachedTokens*3/4 {
			return
		}
		delete(c.entries, id)
	}
}
