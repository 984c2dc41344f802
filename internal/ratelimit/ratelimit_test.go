package ratelimit_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/ratelimit"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// clock is a clock that stands until it is moved.
type clock struct {
	mutex sync.Mutex
	at    time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.at = c.at.Add(d)
}

func newLimiter(t testing.TB, perMinute int, redisURL string, now func() time.Time) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Options{PerMinute: perMinute, RedisURL: redisURL, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// What is counted where, and why.
func TestTheLimiterTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	registry := telemetry.New("test")
	l, err := ratelimit.New(ratelimit.Options{
		PerMinute: 1, RedisURL: fmt.Sprintf("redis://127.0.0.1:%d", hubtest.FreePort(t)), Now: newClock().now, Metrics: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	l.Take(t.Context(), "ana")
	l.Take(t.Context(), "ana")
	recorder := httptest.NewRecorder()
	registry.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`hub_limiter_requests_total{counted="process",decision="allowed"} 1`, `hub_limiter_requests_total{counted="process",decision="refused"} 1`,
		`hub_limiter_requests_total{counted="redis",decision="allowed"} 0`, "hub_limiter_redis_failures_total 1", // after that it rests
		"hub_limiter_redis_seconds_count 1", "hub_limiter_redis_resting 1", "hub_limiter_callers 1",
	} {
		if !strings.Contains(recorder.Body.String(), "\n"+line+"\n") {
			t.Errorf("%s is missing in\n%s", line, recorder.Body)
		}
	}
}

func TestAMinutesRequestsAtOnceAndThenAtTheirRate(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := newLimiter(t, 6, "", c.now)
	for left := 5; left >= 0; left-- {
		if d := l.Take(t.Context(), "ana"); !d.Allowed || d.Remaining != left || d.Limit != 6 || d.RetryAfter != 0 || d.Reset != time.Duration(6-left)*10*time.Second {
			t.Fatalf("%d left: %+v", left, d)
		}
	}
	for range 3 { // refusals cost nothing
		if d := l.Take(t.Context(), "ana"); d.Allowed || d.Remaining != 0 || d.RetryAfter != 10*time.Second || d.Reset != time.Minute {
			t.Fatalf("%+v", d)
		}
	}
	if d := l.Take(t.Context(), "ben"); !d.Allowed || d.Remaining != 5 {
		t.Errorf("another caller: %+v", d)
	}
	c.move(10 * time.Second)
	if d := l.Take(t.Context(), "ana"); !d.Allowed || d.Remaining != 0 {
		t.Errorf("ten seconds later: %+v", d)
	}
	c.move(time.Hour)
	if d := l.Take(t.Context(), "ana"); !d.Allowed || d.Remaining != 5 {
		t.Errorf("an hour later: %+v", d)
	}
}

// However requests come, none is allowed beyond what came back.
func TestNeverMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		l, err := ratelimit.New(ratelimit.Options{PerMinute: limit, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		start, allowed := c.now(), 0
		for _, pause := range rapid.SliceOf(rapid.IntRange(0, 5000)).Draw(t, "pauses in ms") {
			c.move(time.Duration(pause) * time.Millisecond)
			if l.Take(context.Background(), "ana").Allowed {
				allowed++
			}
			most := float64(limit) * (1 + c.now().Sub(start).Minutes())
			if float64(allowed) > most+1e-6 {
				t.Fatalf("%d allowed after %s, at most %.2f", allowed, c.now().Sub(start), most)
			}
		}
	})
}

func TestProcessesCountTogetherInRedis(t *testing.T) {
	t.Parallel()
	url := "redis://" + hubtest.Redis(t).Address()
	one, two := newLimiter(t, 4, url, nil), newLimiter(t, 4, url, nil)
	untilShared(t, one)
	untilShared(t, two)
	for i, l := range []*ratelimit.Limiter{one, two, one, two} {
		if d := l.Take(t.Context(), "ana"); !d.Allowed || d.Remaining != 3-i {
			t.Fatalf("request %d: %+v", i, d)
		}
	}
	for _, l := range []*ratelimit.Limiter{one, two} {
		if d := l.Take(t.Context(), "ana"); d.Allowed || d.RetryAfter <= 0 || d.RetryAfter > 15*time.Second {
			t.Errorf("beyond the limit: %+v", d)
		}
	}
	if d := one.Take(t.Context(), "ben"); !d.Allowed {
		t.Errorf("another caller: %+v", d)
	}
}

// untilShared returns when Redis has answered once: on a busy machine the first
// connection may take longer than a request waits.
func untilShared(t *testing.T, l *ratelimit.Limiter) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for waited := time.After(time.Minute); ; {
		if configured, err := l.Probe(t.Context()); configured && err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-waited:
			t.Fatal("Redis was never used")
		}
	}
}

// Down, silent or slow: requests are answered, by what this process has counted. The first
// is given the bounded time and no more; then nothing is asked of Redis until its rest is
// over, by one request and not by all, and when it is back all count together again.
func TestWithoutRedisEachProcessCounts(t *testing.T) {
	t.Parallel()
	for name, takeAway := range map[string]func(*hubtest.Proxy){
		"down":   func(p *hubtest.Proxy) { p.Refuse(); p.Cut() },
		"silent": (*hubtest.Proxy).Pause,
		"slow":   func(p *hubtest.Proxy) { p.Slow(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := hubtest.Redis(t)
			c := newClock()
			l := newLimiter(t, 1000, "redis://"+redis.Address(), c.now)
			untilShared(t, l)
			watched := l.Watch()
			commands := func(want int) {
				t.Helper()
				asked := watched.Asked()
				if asked.Commands != want || asked.Greetings > want || asked.Endless || asked.Longest > ratelimit.Patience {
					t.Fatalf("%+v instead of %d commands, %s for all there is", asked, want, ratelimit.Patience)
				}
			}
			takeAway(redis)
			l.Take(t.Context(), "ana") // opens the breaker
			if !l.Resting() {
				t.Fatal("it is taken for well")
			}
			commands(1)
			for range 3 {
				together(100, func() {
					if d := l.Take(t.Context(), "ben"); !d.Allowed {
						t.Errorf("%+v", d)
					}
				})
				commands(0)
				c.move(ratelimit.RestAfter - 1)
				l.Take(t.Context(), "ben")
				commands(0)
				c.move(1)
				together(100, func() { l.Take(t.Context(), "ana") })
				commands(1)
				if !l.Resting() {
					t.Fatal("it is used again and does not answer")
				}
			}

			redis.Calm()
			other := newLimiter(t, 1000, "redis://"+redis.Address(), nil)
			for caller := 0; ; caller++ { // on a busy machine it may be too slow even now
				if caller == 1000 {
					t.Fatal("it is not used again")
				}
				c.move(ratelimit.RestAfter)
				untilShared(t, other)
				one, two := l.Take(t.Context(), strconv.Itoa(caller)), other.Take(t.Context(), strconv.Itoa(caller))
				if l.Resting() || other.Resting() {
					continue
				}
				if one.Remaining != 999 || two.Remaining != 998 {
					t.Errorf("they do not count together: %+v, %+v", one, two)
				}
				return
			}
		})
	}
}

// What the client waits for by its own settings is not longer, and it tries once.
func TestTheClientOfRedisIsBounded(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, 1000, "redis://127.0.0.1:1", nil)
	if longest, retries, byContext := l.Bounds(); longest > ratelimit.Patience || retries > 0 || !byContext {
		t.Errorf("%s, %d retries, by context: %t", longest, retries, byContext)
	}
}

// together calls do that many times at once.
func together(times int, do func()) {
	var all sync.WaitGroup
	for range times {
		all.Go(do)
	}
	all.Wait()
}

// Redis over TLS: a client that knows the authority and is known is answered, all others
// fail for the reason there is.
func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	ours, stranger := hubtest.NewAuthority(t), hubtest.NewAuthority(t)
	for _, authority := range []*hubtest.Authority{ours, stranger} {
		authority.Issue("client", time.Now().Add(time.Hour))
	}
	foreign := ours.Client("")
	foreign.Certificates = stranger.Client("client").Certificates
	address := hubtest.SecuredRedis(t, ours)
	for name, test := range map[string]struct {
		scheme  string
		trust   *tls.Config
		because string
	}{
		"it knows us, and we know it":   {"rediss", ours.Client("client"), ""},
		"the authorities of the system": {"rediss", nil, "certificate signed by unknown authority"},
		"another authority":             {"rediss", stranger.Client("client"), "certificate signed by unknown authority"},
		"no certificate of ours":        {"rediss", ours.Client(""), "tls: certificate required"},
		"one of another authority":      {"rediss", foreign, "tls: unknown certificate authority"},
		"a URL without TLS":             {"redis", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := ratelimit.New(ratelimit.Options{PerMinute: 4, RedisURL: test.scheme + "://" + address, TLS: test.trust})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			if test.because == "" && test.scheme == "rediss" {
				untilShared(t, l)
				return
			}
			poll := time.NewTicker(10 * time.Millisecond)
			defer poll.Stop()
			for waited := time.After(time.Minute); ; { // on a busy machine the first fail by being slow
				_, err := l.Probe(t.Context())
				if err == nil {
					t.Fatal("it was answered")
				}
				if slow := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded); !slow && strings.Contains(err.Error(), test.because) {
					return
				}
				select {
				case <-poll.C:
				case <-waited:
					t.Fatalf("it failed by %v", err)
				}
			}
		})
	}
}

func TestAURLThatCannotBeReadIsNotRepeated(t *testing.T) {
	t.Parallel()
	_, err := ratelimit.New(ratelimit.Options{PerMinute: 1, RedisURL: "redis://:canary-secret@host:port"})
	if err == nil || len(err.Error()) > 60 {
		t.Errorf("%v", err)
	}
}

func TestManyCallersStayBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := newLimiter(t, 1, "", c.now)
	for i := range 150_000 {
		if d := l.Take(t.Context(), strconv.Itoa(i)); !d.Allowed {
			t.Fatalf("caller %d: %+v", i, d)
		}
	}
	if d := l.Take(t.Context(), "0"); d.Allowed {
		t.Error("one of the first is not counted any more")
	}
	c.move(2 * time.Minute)
	l.Take(t.Context(), "new")
	if d := l.Take(t.Context(), "new"); d.Allowed {
		t.Error("there is no room for new callers, although all others have gone")
	}
}
