package ratelimit

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Patience and RestAfter are what the breaker is made of.
const (
	Patience  = patience
	RestAfter = restAfter
)

// Resting reports whether Redis is left alone after a failure.
func (l *Limiter) Resting() bool { return l.shared.resting() }

// Bounds are what the client waits for at most for a connection that it has, by its own
// settings, and how often it tries again.
func (l *Limiter) Bounds() (longest time.Duration, retries int, byContext bool) {
	o := l.shared.client.Options()
	return max(o.ReadTimeout, o.WriteTimeout, o.PoolTimeout), o.MaxRetries, o.ContextTimeoutEnabled
}

// Watch counts what is asked of Redis from now on.
func (l *Limiter) Watch() *Watched {
	w := &Watched{}
	l.shared.client.AddHook(w)
	return w
}

// Watched is what was asked of Redis.
type Watched struct {
	mutex sync.Mutex
	asked Asked
}

// Asked is what was asked of Redis: commands of ours, and greetings of new connections, which
// are part of the time of a command.
type Asked struct {
	Commands, Greetings int
	// Longest is the most time that one was given; Endless says that one was given no end.
	Longest time.Duration
	Endless bool
}

// Asked is what was asked since the last call.
func (w *Watched) Asked() Asked {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	asked := w.asked
	w.asked = Asked{}
	return asked
}

// DialHook is part of redis.Hook.
func (*Watched) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

// ProcessHook is part of redis.Hook.
func (w *Watched) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if command.Name() == "hello" {
			w.note(ctx, Asked{Greetings: 1})
		} else {
			w.note(ctx, Asked{Commands: 1})
		}
		return next(ctx, command)
	}
}

// ProcessPipelineHook is part of redis.Hook.
func (w *Watched) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		w.note(ctx, Asked{Greetings: 1})
		return next(ctx, commands)
	}
}

func (w *Watched) note(ctx context.Context, more Asked) {
	deadline, ends := ctx.Deadline()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.asked.Commands += more.Commands
	w.asked.Greetings += more.Greetings
	w.asked.Endless = w.asked.Endless || !ends
	w.asked.Longest = max(w.asked.Longest, time.Until(deadline))
}
