// Package lease lets one of many processes do what only one need do: the relay of a
// log, the worker of a view. A lease is a row that says who holds it until when.
// Everything is one statement on one connection, so it works behind a pooler that
// hands out connections by the transaction, where session advisory locks do not.
//
// The protocol:
//
//	   ┌────────────── lost, or over: back to asking ─────────────┐
//	asking ── row free or expired ──▶ holding, with a token ── renew each TTL/3
//	                                    └── stopping ──▶ row set free at once
//
// Time is the database's: a row expires by its clock, whatever the clocks of the
// holders say. A row that expires later than anybody could have asked for was written
// before that clock was set back, and counts as expired. The holder counts the TTL from
// before it asked, on a clock of its own that nobody sets: it stops before the row
// expires, unless it is paused as a whole.
//
// A paused holder may wake when another holds the lease, and not know it yet. So a lease
// is never what makes work correct. Each term of holding has a token, higher than all
// before it, to be compared where the work is written; a stream's expected sequence, or
// a checkpoint that moves only from where it was, do the same. The token lives in the
// row: a database restored to an earlier state may give one again.
//
// A holder that stops sets the row free, and the next one that asks has it. One that
// dies is replaced when its row expires: within the TTL and the pause of who asks, some
// four seconds with the usual TTL.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultTTL is how long a dead holder keeps the others waiting: long enough for two
// renewals to fail, short enough that nobody looks up.
const DefaultTTL = 3 * time.Second

// maxNames bounds the rows of a table: views in all their versions, and reactions.
const maxNames = 256

// releaseTimeout bounds how long a holder that stops waits for a database that does
// not answer; the row then expires by itself.
const releaseTimeout = 2 * time.Second

// ErrLost is the cause of the end of a term's context when the lease was lost: it
// could not be renewed in time, or another has it.
var ErrLost = errors.New("the lease was lost")

// Table is a table of leases, made by the migrations of its database.
type Table string

// The log's leases are for RoleRelay, the views' for RoleProjector.
const (
	LogTable  Table = "log_leases"
	ViewTable Table = "view_leases"
)

// Options say which lease it is, and where.
type Options struct {
	// Pool needs one connection for a moment, once each third of the TTL.
	Pool  *pgxpool.Pool
	Table Table
	// Name is the lease: at most 64 lower-case letters, digits and any of _.:/-
	// Rows stay, so a name must not contain what goes up, as the build of a view.
	Name string
	// TTL is the same for all who want the lease; 0 is DefaultTTL.
	TTL time.Duration
	// Changed is told of every State, one at a time; it must not block. Nil is told
	// nothing.
	Changed func(State)
	// Log is told when the lease is had and lost; nil is silent.
	Log *slog.Logger
}

// State is what this process knows of the lease.
type State struct {
	// Held is true during a term, whose token Token is; 0 otherwise.
	Held  bool
	Token int64
	// Since is when Held became what it is.
	Since time.Time
	// Err says that the database could not be asked, last time; nil when it could.
	Err error
}

// Lease is one process's wish to hold a lease.
type Lease struct {
	options Options
	// holder tells this wish from all others, also from one of this process before.
	holder uuid.UUID

	mu    sync.Mutex
	state State
}

// Held reports whether anybody has the lease.
func Held(ctx context.Context, pool *pgxpool.Pool, table Table, name string) (held bool, err error) {
	err = pool.QueryRow(ctx, fmt.Sprintf(`SELECT EXISTS (SELECT FROM %s WHERE name = $1 AND expires_at > clock_timestamp())`, table), name).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("looking at the lease %s: %w", name, err)
	}
	return held, nil
}

// New makes a lease; Run asks for it.
func New(options Options) *Lease {
	if options.TTL == 0 {
		options.TTL = DefaultTTL
	}
	if options.Changed == nil {
		options.Changed = func(State) {}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Lease{options: options, holder: uuid.New(), state: State{Since: time.Now()}}
}

// State is safe to call from anywhere.
func (l *Lease) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Run asks for the lease until ctx ends, and calls lead each time it has it. The
// context of lead ends when the lease is lost (its cause is ErrLost) or ctx does; lead
// must return soon after, and Run then sets the lease free. When lead returns by
// itself the lease is free for others, and asked for again after a pause.
func (l *Lease) Run(ctx context.Context, lead func(ctx context.Context, token int64)) {
	for {
		token, until, ok := l.await(ctx)
		if !ok {
			return
		}
		l.term(ctx, token, until, lead)
		if !sleep(ctx, l.pause()) {
			return
		}
	}
}

// pause is between two questions. Who asks is not to ask in step with others.
func (l *Lease) pause() time.Duration {
	third := l.options.TTL / 3
	return third*3/4 + rand.N(third/2) //nolint:gosec // nothing secret
}

// await asks until the lease is had, or ctx ends (false). until is on the monotonic
// clock, and before the row expires.
func (l *Lease) await(ctx context.Context) (token int64, until time.Time, ok bool) {
	for ctx.Err() == nil {
		pause := l.pause()
		asked := time.Now()
		token, free, err := l.ask(ctx)
		switch {
		case err == nil && token > 0:
			return token, asked.Add(l.options.TTL), true
		case err == nil:
			pause = min(pause, free)
		}
		if ctx.Err() != nil {
			break
		}
		l.sawError(err)
		sleep(ctx, pause)
	}
	return 0, time.Time{}, false
}

// term holds the lease while lead runs.
func (l *Lease) term(ctx context.Context, token int64, until time.Time, lead func(context.Context, int64)) {
	l.options.Log.Info("lease: held", "lease", l.options.Name, "token", token)
	l.update(State{Held: true, Token: token, Since: time.Now()})
	leading, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lead(leading, token)
	}()
	l.keep(leading, token, until, ended)
	if leading.Err() == nil {
		end(ErrLost) // does nothing to a lead that has returned
	}
	<-ended
	l.release(ctx, token)
	end(nil)
	l.options.Log.Info("lease: not held any more", "lease", l.options.Name, "token", token)
	l.update(State{Since: time.Now(), Err: l.State().Err})
}

// keep renews the lease until it is lost, lead has returned or ctx ends.
func (l *Lease) keep(ctx context.Context, token int64, until time.Time, ended <-chan struct{}) {
	renew := time.NewTicker(l.options.TTL / 3)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-renew.C:
		}
		asked := time.Now()
		renewed, err := l.renew(ctx, token, until)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !renewed:
			return
		case err == nil:
			until = asked.Add(l.options.TTL)
		case !time.Now().Before(until):
			l.sawError(err)
			return
		}
		l.sawError(err)
	}
}

// ask takes the lease if it is free. Otherwise token is 0 and free says after which
// time it may be.
func (l *Lease) ask(ctx context.Context) (token int64, free time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.TTL)
	defer cancel()
	// A look first: most of those who ask find it held, and write nothing.
	var seconds float64
	err = l.options.Pool.QueryRow(ctx, fmt.Sprintf(`
		SELECT coalesce((SELECT extract(epoch FROM l.expires_at - clock_timestamp())::float8 FROM %s l
		                  WHERE l.name = $1 AND l.holder <> $2 AND l.expires_at > clock_timestamp()
		                    AND l.expires_at <= clock_timestamp() + make_interval(secs => 2 * $3)), 0)`, l.options.Table),
		l.options.Name, l.holder, l.options.TTL.Seconds()).Scan(&seconds)
	if err != nil {
		return 0, 0, fmt.Errorf("looking at the lease %s: %w", l.options.Name, err)
	}
	if seconds > 0 {
		return 0, time.Duration(seconds * float64(time.Second)), nil
	}
	// Where two take it at once the second waits for the row and then finds it held.
	full := false
	err = l.options.Pool.QueryRow(ctx, fmt.Sprintf(`
		WITH taken AS (
		  INSERT INTO %[1]s AS l (name, holder, token, expires_at)
		  SELECT $1, $2, 1, clock_timestamp() + make_interval(secs => $3)
		   WHERE EXISTS (SELECT FROM %[1]s WHERE name = $1) OR (SELECT count(*) FROM %[1]s) < $4
		  ON CONFLICT (name) DO UPDATE
		     SET holder = excluded.holder, token = l.token + 1, expires_at = clock_timestamp() + make_interval(secs => $3)
		   WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp()
		      OR l.expires_at > clock_timestamp() + make_interval(secs => 2 * $3)
		  RETURNING token
		)
		SELECT coalesce((SELECT token FROM taken), 0), (SELECT count(*) FROM %[1]s) >= $4 AND NOT EXISTS (SELECT FROM %[1]s WHERE name = $1)`,
		l.options.Table), l.options.Name, l.holder, l.options.TTL.Seconds(), maxNames).Scan(&token, &full)
	if err == nil && full {
		err = fmt.Errorf("there are %d leases already, and no more can be made", maxNames)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("taking the lease %s: %w", l.options.Name, err)
	}
	return token, l.options.TTL, nil
}

// renew reports whether the lease is still this term's, and then is for a whole TTL.
func (l *Lease) renew(ctx context.Context, token int64, until time.Time) (bool, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	tag, err := l.options.Pool.Exec(ctx, fmt.Sprintf(`
		UPDATE %s SET expires_at = clock_timestamp() + make_interval(secs => $4)
		 WHERE name = $1 AND holder = $2 AND token = $3 AND expires_at > clock_timestamp()`, l.options.Table),
		l.options.Name, l.holder, token, l.options.TTL.Seconds())
	if err != nil {
		return false, fmt.Errorf("renewing the lease %s: %w", l.options.Name, err)
	}
	return tag.RowsAffected() == 1, nil
}

// release sets the lease free if it is still this term's.
func (l *Lease) release(ctx context.Context, token int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	_, err := l.options.Pool.Exec(ctx, fmt.Sprintf(`
		UPDATE %s SET expires_at = '-infinity' WHERE name = $1 AND holder = $2 AND token = $3`, l.options.Table),
		l.options.Name, l.holder, token)
	if err != nil {
		l.options.Log.Warn("lease: not set free, so others wait until it expires", "lease", l.options.Name, "error", err)
	}
}

func (l *Lease) sawError(err error) {
	state := l.State()
	if (err == nil) == (state.Err == nil) {
		return
	}
	if err != nil {
		l.options.Log.Warn("lease: the database does not answer", "lease", l.options.Name, "held", state.Held, "error", err)
	}
	state.Err = err
	l.update(state)
}

func (l *Lease) update(state State) {
	l.mu.Lock()
	l.state = state
	l.mu.Unlock()
	l.options.Changed(state)
}

// sleep reports false when ctx ended meanwhile.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
