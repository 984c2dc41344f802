package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// patience is what a request waits for Redis, connecting and queueing included.
	patience = 40 * time.Millisecond
	// dialTimeout bounds making a connection. No request waits for that longer than for
	// anything else, but the next finds it made: TLS across a busy network takes its time.
	dialTimeout = time.Second
	// restAfter is how long Redis is left alone after a failure. Then one request
	// tries it, and the others still do without.
	restAfter = 5 * time.Second
	// keyPrefix tells these keys from others in the same Redis.
	keyPrefix = "hub:rate:"
)

// take is GCRA in one step, on the clock of Redis: all processes share that one, too.
// It returns how many microseconds the caller is ahead of it.
var take = redis.NewScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
full = full + tonumber(ARGV[1])
if full - now <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return full - now
`)

// shared counts in Redis, behind a breaker.
type shared struct {
	client *redis.Client
	log    *slog.Logger
	now    func() time.Time

	mutex sync.Mutex
	err   error // of the last attempt
	// rest is until when nobody tries, after a failure.
	rest time.Time
}

// quiet keeps the client from writing lines of its own to the standard error; what goes
// wrong is logged here, once.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

// Printf writes nothing.
func (silence) Printf(context.Context, string, ...any) {}

func newShared(o Options) (*shared, error) {
	quiet()
	options, err := redis.ParseURL(o.RedisURL)
	if err != nil {
		// The error would repeat the URL, which holds a password.
		return nil, errors.New("the Redis URL cannot be read")
	}
	if options.TLSConfig != nil && o.TLS != nil {
		options.TLSConfig.RootCAs, options.TLSConfig.Certificates = o.TLS.RootCAs, o.TLS.Certificates
	}
	// By default the client waits for seconds, and tries again.
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = dialTimeout, patience, patience, patience
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.ContextTimeoutEnabled = true
	return &shared{client: redis.NewClient(options), log: o.Log, now: o.Now}, nil
}

// take counts a request, where mayTry allows; answered is false when this process has to
// count by itself.
func (s *shared) take(ctx context.Context, caller string, interval time.Duration) (used time.Duration, answered bool) {
	// A caller who is gone says nothing about Redis.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	ahead, err := take.Run(ctx, s.client, []string{keyPrefix + caller}, interval.Microseconds(), window.Microseconds()).Int64()
	s.report(err)
	return time.Duration(ahead) * time.Microsecond, err == nil
}

// mayTry lets everybody through while all is well, and after a rest the first.
func (s *shared) mayTry() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := s.now()
	if s.err == nil {
		return true
	}
	if now.Before(s.rest) {
		return false
	}
	s.rest = now.Add(restAfter)
	return true
}

// report notes how an attempt ended, and logs the beginning and the end of an outage.
func (s *shared) report(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case err != nil:
		s.rest = s.now().Add(restAfter)
		if s.err == nil {
			s.log.Warn("Redis does not answer; requests are counted in each process", "error", err)
		}
	case s.err != nil:
		s.log.Info("Redis answers again")
	}
	s.err = err
}

// probe looks whether Redis answers; if it does, it is used again at once.
func (s *shared) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := s.client.Ping(ctx).Err()
	s.report(err)
	return err
}

// resting reports whether Redis failed last.
func (s *shared) resting() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.err != nil
}
