package ratelimit

import (
	"sync"
	"time"
)

const (
	// maxCallers bounds memory: about 150 bytes each.
	maxCallers = 100_000
	// sweepEvery bounds the work when the map is full: a sweep looks at all of it.
	sweepEvery = time.Second
)

// counters are the theoretical arrival times of GCRA: when a caller will have all
// requests again. A caller who has them is not in the map.
type counters struct {
	mutex sync.Mutex
	full  map[string]time.Time
	swept time.Time
}

func newCounters() *counters { return &counters{full: map[string]time.Time{}} }

// take counts a request and returns how far ahead of the clock the caller is with it.
// One that is refused, which is one with more than a window ahead, is not kept.
func (c *counters) take(caller string, interval time.Duration, now time.Time) time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	full, known := c.full[caller]
	if !known && len(c.full) >= maxCallers && now.Sub(c.swept) >= sweepEvery {
		c.swept = now
		c.sweep(now)
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(interval)
	used := full.Sub(now)
	if used <= window && (known || len(c.full) < maxCallers) {
		c.full[caller] = full
	}
	return used
}

func (c *counters) len() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.full)
}

// sweep forgets those who have all requests again. Should none have, those who come
// next are not counted: that many callers are an attack on this map or a success.
func (c *counters) sweep(now time.Time) {
	for caller, full := range c.full {
		if full.Before(now) {
			delete(c.full, caller)
		}
	}
}
