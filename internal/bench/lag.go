package main

import (
	"sync"
	"time"
)

const (
	// lagInterval is how often a read asks how far the view is.
	lagInterval = 25 * time.Millisecond
	// stampInterval is how finely times of receipts are kept.
	stampInterval = 5 * time.Millisecond
)

// receipts remember when positions were receipted.
type receipts struct {
	mu     sync.Mutex
	stamps []stamp // rising in both
}

type stamp struct {
	at       time.Time
	position int64
}

// reached notes the receipt of a position. Receipts within stampInterval share the
// time of the first of them, so that a lag is rather over- than underestimated.
func (r *receipts) reached(position int64) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.stamps); n > 0 {
		last := &r.stamps[n-1]
		if position <= last.position {
			return
		}
		if now.Sub(last.at) < stampInterval {
			last.position = position
			return
		}
	}
	r.stamps = append(r.stamps, stamp{now, position})
}

// behind is the age of the oldest receipt that a view at the position does not
// show. Positions asked for only rise.
func (r *receipts) behind(position int64, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.stamps) > 0 && r.stamps[0].position <= position {
		r.stamps = r.stamps[1:]
	}
	if len(r.stamps) == 0 {
		return 0
	}
	return now.Sub(r.stamps[0].at)
}

type lagResult struct {
	longest time.Duration
	err     error
}

// watchLag reads one entity again and again and compares the position of each
// answer with the receipts. The time of the read itself counts as lag, too.
func (l *load) watchLag() lagResult {
	c, err := dial(l.spec.Address, l.end.Add(drainTime))
	if err != nil {
		return lagResult{err: err}
	}
	defer c.close()
	var (
		found   lagResult
		request []byte
	)
	for time.Now().Before(l.end) {
		request = l.requests.read(request)
		a, err := l.send(c, request)
		if err != nil {
			return lagResult{err: err}
		}
		now := time.Now()
		if behind := l.receipts.behind(a.position, now); now.After(l.begin) {
			found.longest = max(found.longest, behind)
		}
		time.Sleep(lagInterval)
	}
	return found
}
