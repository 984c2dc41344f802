package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/internal/lease"
)

const (
	// jobInterval is how often a process looks for jobs, tells how far its own are and
	// sees that they are cancelled.
	jobInterval = 500 * time.Millisecond
	// maxJobAttempts ends a job that takes its process with it each time.
	maxJobAttempts = 5
	// jobAbandoned is when a job of an older version than this program's counts as one
	// that nobody will do any more.
	jobAbandoned = time.Minute
	// finishTimeout bounds how long the outcome of a job takes to be written.
	finishTimeout = 10 * time.Second
)

var (
	errCancelled = errors.New("the job was cancelled")
	// errOvertaken says that somebody else took over, thinking us dead.
	errOvertaken = errors.New("another process has taken over the job")
)

// runner does the jobs of all views, each in turn with the other processes.
type runner struct {
	options Options
	metrics jobMetrics
	all     sync.WaitGroup
	mu      sync.Mutex
	busy    map[string]bool
}

func newRunner(options Options) *runner {
	return &runner{options: options, metrics: options.jobMetrics(), busy: map[string]bool{}}
}

// run looks for jobs until the context ends.
func (r *runner) run(ctx context.Context) {
	defer r.all.Wait()
	ticker := time.NewTicker(jobInterval)
	defer ticker.Stop()
	for {
		for _, p := range r.waiting(ctx) {
			r.start(ctx, p)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// waiting are the projections that have a job to do. A database that cannot be asked
// has none; the worker of the view tells of that.
func (r *runner) waiting(ctx context.Context) (found []Projection) {
	rows, err := r.options.Pool.Query(ctx, `SELECT view, version FROM view_jobs WHERE state IN ('queued', 'running')`)
	if err != nil {
		return nil
	}
	type wanted struct {
		name    string
		version int
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w wanted, err error) {
		return w, row.Scan(&w.name, &w.version)
	})
	if err != nil {
		return nil
	}
	for _, w := range all {
		p, err := r.options.projection(w.name)
		switch {
		case err == nil && p.Version == w.version:
			found = append(found, p)
		case err == nil && p.Version > w.version:
			r.abandon(ctx, p)
		}
	}
	return found
}

// abandon ends a job that was for an older program, once there is none that does it.
func (r *runner) abandon(ctx context.Context, p Projection) {
	_, err := r.options.Pool.Exec(ctx, `UPDATE view_jobs
		SET state = 'failed', error = 'the program of the version that it was for is gone', finished_at = clock_timestamp()
		WHERE view = $1 AND version < $2 AND state IN ('queued', 'running')
		  AND updated_at < clock_timestamp() - make_interval(secs => $3)`, p.Name, p.Version, jobAbandoned.Seconds())
	if err != nil {
		r.options.Log.Warn("projections: a job that nobody does could not be ended", "view", p.Name, "error", err)
	}
}

// start attends to the jobs of a view, if that is not done already.
func (r *runner) start(ctx context.Context, p Projection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[p.Name] {
		return
	}
	r.busy[p.Name] = true
	r.all.Go(func() {
		r.attend(ctx, p)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, p.Name)
	})
}

// attend does the jobs of a view, or waits for whoever has the lease to do them, until
// there are none.
func (r *runner) attend(ctx context.Context, p Projection) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	r.all.Go(func() {
		ticker := time.NewTicker(jobInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if _, err := queryJob(ctx, r.options.Pool, `WHERE view = $1 AND version = $2 AND state IN ('queued', 'running')`, p.Name, p.Version); errors.Is(err, pgx.ErrNoRows) {
				end()
			}
		}
	})
	lease.New(lease.Options{
		Pool: r.options.Pool, Table: lease.ViewTable, Name: "job/" + p.Name, TTL: r.options.leaseTTL, Log: r.options.Log,
	}).Run(ctx, func(ctx context.Context, _ int64) {
		for ctx.Err() == nil {
			j, err := claim(ctx, r.options.Pool, p)
			if errors.Is(err, pgx.ErrNoRows) {
				end()
				return
			}
			if err != nil {
				return // the lease asks again after a pause
			}
			r.work(ctx, p, j)
		}
	})
}

// work does one job, and tells how far it is.
func (r *runner) work(ctx context.Context, p Projection, j Job) {
	log := r.options.Log.With(slog.String("view", j.View), slog.String("job", j.Kind), slog.String("id", j.ID.String()))
	log.Info("projections: job begins", "attempt", j.attempts)
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var at progress
	at.check = func() error {
		done, total := at.done.Load(), at.total.Load()
		r.metrics.progressed(j, done, total)
		if err := j.report(working, r.options.Pool, done, total); err != nil {
			stop(err)
		}
		return working.Err()
	}
	var reporting sync.WaitGroup
	reporting.Go(func() {
		ticker := time.NewTicker(jobInterval)
		defer ticker.Stop()
		for {
			if at.check() != nil {
				return
			}
			select {
			case <-working.Done():
				return
			case <-ticker.C:
			}
		}
	})
	result, err := r.do(working, p, j, &at)
	cause := context.Cause(working)
	stop(nil)
	reporting.Wait()
	switch {
	case err == nil:
		result.state = StateCompleted
	case errors.Is(cause, errCancelled):
		result = outcome{state: StateCancelled}
	case cause != nil, errors.Is(err, errOvertaken):
		log.Info("projections: job is left to another process", "reason", cause)
		return
	default:
		log.Warn("projections: job failed", "error", err)
		result.state, result.fault = StateFailed, describe(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	_ = j.report(ctx, r.options.Pool, at.done.Load(), at.total.Load()) // what matters comes next
	if err := j.finish(ctx, r.options.Pool, result); err != nil {
		log.Warn("projections: the end of a job could not be written", "error", err)
	}
	r.metrics.ended(j, result)
	log.Info("projections: job has ended", "state", result.state, "findings", result.findings)
}

// do is the job itself.
func (r *runner) do(ctx context.Context, p Projection, j Job, at *progress) (outcome, error) {
	if j.attempts > maxJobAttempts {
		return outcome{}, errTooManyAttempts
	}
	switch j.Kind {
	case KindRebuild:
		return outcome{}, newBuilder(r.options, p, at).rebuild(ctx, j.RequestedBy == byUpgrade)
	case KindVerify:
		report, err := newBuilder(r.options, p, at).verify(ctx, j.RequestedBy == bySchedule)
		return outcome{findings: report.Differences, report: report}, err
	default:
		done, err := retryView(ctx, r.options, p)
		return outcome{findings: int64(done.Left), report: done}, err
	}
}

var errTooManyAttempts = fmt.Errorf("%d processes have begun this job and not ended it", maxJobAttempts)

// progress is how far a job is.
type progress struct {
	done, total atomic.Int64
	// check tells it, and returns an error when the job is to stop; nil in tests.
	check func() error
}

// mayEnd is asked before what cannot be taken back.
func (p *progress) mayEnd() error {
	if p.check == nil {
		return nil
	}
	return p.check()
}

func (p *progress) at(done, total int64) {
	p.done.Store(done)
	p.total.Store(max(done, total))
}

// Do asks for a job and waits for its end, helping to do it. watch, which may be nil,
// is told how it goes. When ctx ends, a job that was asked for here is cancelled.
// Errors: ErrUnknownView, ErrBusy, why the job failed or was cancelled.
func Do(ctx context.Context, options Options, view, kind string, watch func(Job)) (Job, error) {
	options = options.withDefaults()
	p, err := options.projection(view)
	if err != nil {
		return Job{}, err
	}
	v, err := ensureView(ctx, options, p)
	if err == nil && v.version > p.Version {
		err = &versionError{view: v.version, program: p.Version}
	}
	if err != nil {
		return Job{}, err
	}
	j, isNew, err := request(ctx, options.Pool, p, kind, byOperator)
	if err != nil {
		return j, err
	}
	// The work outlives ctx by as long as it takes to cancel it.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := newRunner(options)
	defer r.all.Wait()
	defer stop()
	r.start(running, p)
	j, err = follow(ctx, running, options, j, isNew, watch)
	switch {
	case err != nil:
		return j, err
	case j.State == StateFailed:
		return j, fmt.Errorf("the %s of view %s failed: %s", kind, view, j.Error)
	case j.State == StateCancelled && ctx.Err() != nil:
		return j, ctx.Err()
	case j.State == StateCancelled:
		return j, errCancelled
	}
	return j, nil
}

// followInterval is how often the one who waits for a job looks at it.
const followInterval = 100 * time.Millisecond

// follow returns the job when it has ended.
func follow(ctx, running context.Context, options Options, j Job, ours bool, watch func(Job)) (Job, error) {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	done := ctx.Done()
	var tooLong <-chan time.Time
	for {
		now, err := loadJob(running, options.Pool, j.ID)
		if err != nil {
			return j, err
		}
		j = now
		if watch != nil {
			watch(j)
		}
		if !j.Active() {
			return j, nil
		}
		select {
		case <-ticker.C:
		case <-done:
			if !ours {
				return j, ctx.Err()
			}
			if _, err := Cancel(running, options.Pool, j.View); err != nil {
				return j, errors.Join(ctx.Err(), err)
			}
			done, tooLong = nil, time.After(finishTimeout)
		case <-tooLong:
			return j, ctx.Err()
		}
	}
}

// report reads what a finished job has to say into a value.
func report[T any](ctx context.Context, options Options, id uuid.UUID) (found T, err error) {
	var text []byte
	if err := options.Pool.QueryRow(ctx, `SELECT report FROM view_jobs WHERE id = $1`, id).Scan(&text); err != nil {
		return found, fmt.Errorf("reading the report of a job: %w", err)
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return found, fmt.Errorf("reading the report of a job: %w", err)
	}
	return found, nil
}

// Rebuild makes a view anew from the whole log, beside the live one, and puts it in
// its place. Errors as of Do.
func Rebuild(ctx context.Context, options Options, view string, watch func(Job)) error {
	_, err := Do(ctx, options, view, KindRebuild, watch)
	return err
}

// Retry applies again what the parked streams of a view have waiting. Errors as of Do.
func Retry(ctx context.Context, options Options, view string) (Retried, error) {
	j, err := Do(ctx, options, view, KindRetry, nil)
	if err != nil {
		return Retried{}, err
	}
	return report[Retried](ctx, options, j.ID)
}
