// Package ratelimit bounds how many requests a caller makes in a minute, by the
// generic cell rate algorithm (GCRA): a caller may use a whole minute's requests at
// once, and then goes on at the rate at which they come back.
//
// With Redis all processes count together. Without it, or while it is down, silent or
// slow, each counts for itself: the limit is then looser, and no request waits for it.
package ratelimit

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// window is what the limit is counted over.
const window = time.Minute

// Options are what a limiter is made of.
type Options struct {
	// PerMinute is how many requests a caller has; more than zero.
	PerMinute int
	// RedisURL is where processes count together; empty counts in this one.
	RedisURL string
	// TLS is whom to trust of Redis and who we are, for a URL with rediss; nil trusts the
	// authorities of the system.
	TLS *tls.Config
	Log *slog.Logger
	// Metrics gets what the limiter counts; nil counts nowhere.
	Metrics *telemetry.Registry
	// Now is the clock of this process, time.Now when nil.
	Now func() time.Time
}

// Limiter counts requests. It is safe for concurrent use.
type Limiter struct {
	limit  int
	local  *counters
	shared *shared // nil without Redis
	now    func() time.Time

	metrics metrics
}

// New makes a limiter; Redis need not answer yet. The error is about the URL.
func New(o Options) (*Limiter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Limiter{limit: o.PerMinute, local: newCounters(), now: o.Now}
	if o.RedisURL != "" {
		var err error
		if l.shared, err = newShared(o); err != nil {
			return nil, err
		}
	}
	l.measure(o.Metrics)
	return l, nil
}

// Decision is the answer to one request.
type Decision struct {
	Allowed bool
	// Limit is how many requests there are in Window, and Remaining how many of them
	// could be made now.
	Limit, Remaining int
	// Reset is when all of them will be there again.
	Reset time.Duration
	// RetryAfter is when the next request will be allowed; zero for one that was.
	RetryAfter time.Duration
}

// Window is what Decision.Limit counts over.
func (Decision) Window() time.Duration { return window }

// Take counts one request of a caller.
func (l *Limiter) Take(ctx context.Context, caller string) Decision {
	interval := window / time.Duration(l.limit)
	if l.shared != nil {
		if used, answered := l.askRedis(ctx, caller, interval); answered {
			return counted(l.metrics.inRedis, l.decide(used, interval))
		}
	}
	return counted(l.metrics.here, l.decide(l.local.take(caller, interval, l.now()), interval))
}

// askRedis counts a request there, unless it is left alone.
func (l *Limiter) askRedis(ctx context.Context, caller string, interval time.Duration) (used time.Duration, answered bool) {
	if !l.shared.mayTry() {
		return 0, false
	}
	began := time.Now()
	used, answered = l.shared.take(ctx, caller, interval)
	l.metrics.seconds.Observe(time.Since(began).Seconds())
	if !answered {
		l.metrics.failures.Inc()
	}
	return used, answered
}

// Probe asks Redis, if there is one configured; the error says why it is not used.
func (l *Limiter) Probe(ctx context.Context) (configured bool, err error) {
	if l.shared == nil {
		return false, nil
	}
	return true, l.shared.probe(ctx)
}

// Close ends connections.
func (l *Limiter) Close() error {
	if l.shared == nil {
		return nil
	}
	return l.shared.client.Close()
}

// decide reads a count: used is how far ahead of the clock the caller is, the request
// that was counted included.
func (l *Limiter) decide(used, interval time.Duration) Decision {
	d := Decision{Allowed: used <= window, Limit: l.limit, Reset: used}
	if d.Allowed {
		d.Remaining = int((window - used) / interval)
		return d
	}
	d.Reset = used - interval // a request that is refused is not counted
	d.RetryAfter = used - window
	return d
}
