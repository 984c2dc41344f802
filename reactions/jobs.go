package reactions

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/lease"
)

// Jobs are work on many things that commands have started. One reactor at a time goes
// through those that are open, as the view "jobs" tells:
//
//	view, open ──▶ one step of each, in turn ──▶ commands.Loop ──▶ … until nothing is left
//	ended      ──▶ what it worked with is destroyed ──▶ and that is recorded
//
// A step is one command, which decides on the job as the log has it: how far it is, and
// whether it goes on. What it changes and how far the job is then are recorded together, so
// a step that is given twice, by two who both think they lead or after a crash, is another
// step. The view may be behind; it only says where to look.
const jobsName = "jobs"

// JobKind is a kind of job with what does it.
type JobKind struct {
	// Name is domain.JobStart.Kind.
	Name string
	// Step is the command that does the next step at a pace: of at most pace.Most items,
	// where that is not 0, or of the one that is left behind for the reason pace.Unfit.
	Step func(job OpenJob, pace commands.Pace) domain.Decider
	// Clear destroys what is left, beside the log, of what an ended job worked with: keys,
	// files. It may be called again.
	Clear func(ctx context.Context, job OpenJob) error
	// Cleared is the command that records it, which decides nothing while the job runs.
	Cleared func(job OpenJob) domain.Decider
}

// OpenJob is a job that is not cleared yet.
type OpenJob struct {
	Org           string
	ID            uuid.UUID
	Kind, State   string
	By            domain.Actor
	RequestID     string
	CorrelationID string
	// StartedBy is the event that has started it.
	StartedBy uuid.UUID
}

const (
	// maxOpenJobs bounds what is gone through at a time, the oldest first; further jobs
	// wait until some have ended.
	maxOpenJobs = 100
	// minRest is left to others between two steps, where a step does not take longer.
	minRest = time.Millisecond
	// stepTimeout is above what the loop takes to settle a turn at worst.
	stepTimeout = 15 * time.Second
)

var (
	errNoJobs = errors.New("the view of jobs is not there yet")
	errStuck  = errors.New("a job cannot go on; the log says why")
)

// newerEvent is the code of what is decided on events of a newer program.
const newerEvent = "unknown_event"

// jobs does the steps of all jobs in one of the processes that have an engine.
type jobs struct {
	options Options
	kinds   map[string]JobKind
	names   []string
	lease   *lease.Lease
	metrics *jobMetrics

	mu     sync.Mutex
	status Status
}

func newJobs(options Options, kinds []JobKind) *jobs {
	j := &jobs{
		options: options, kinds: map[string]JobKind{}, status: Status{Name: jobsName},
		lease: lease.New(lease.Options{
			Pool: options.Pool, Table: lease.ViewTable, Name: jobsName, TTL: options.LeaseTTL, Log: options.Log,
		}),
	}
	for _, kind := range kinds {
		j.kinds[kind.Name] = kind
		j.names = append(j.names, kind.Name)
	}
	j.metrics = newJobMetrics(options.Metrics, j.names)
	return j
}

// run does jobs, in the terms of the lease, until the context ends.
func (j *jobs) run(ctx context.Context) {
	j.lease.Run(ctx, func(ctx context.Context, _ int64) { j.lead(ctx) })
}

// lead does jobs until the lease is lost.
func (j *jobs) lead(ctx context.Context) {
	defer j.update(func(status *Status) { *status = Status{Name: jobsName} })
	defer j.metrics.open.Set(0)
	backoff := firstBackoff
	for ctx.Err() == nil {
		worked, err := j.round(ctx)
		pause := lookInterval
		switch {
		case err != nil && ctx.Err() == nil:
			j.failed(err)
			pause, backoff = backoff, min(2*backoff, lastBackoff)
		case worked:
			pause, backoff = 0, firstBackoff
		}
		_ = rest(ctx, pause) // the loop looks at the context
	}
}

// rest waits, and returns an error when the context ends.
func rest(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

// round does steps of the jobs that are open, for about as long as it takes until others
// may be. It reports whether there was anything to do.
func (j *jobs) round(ctx context.Context) (worked bool, err error) {
	open, err := j.open(ctx)
	if err != nil {
		return false, err
	}
	until := time.Now().Add(lookInterval)
	turns := make([]*jobTurns, len(open))
	for i, job := range open {
		turns[i] = &jobTurns{OpenJob: job, kind: j.kinds[job.Kind]}
	}
	stuck := false
	for len(turns) > 0 && time.Now().Before(until) {
		var left []*jobTurns
		for _, t := range turns {
			began := time.Now()
			outcome, err := j.step(ctx, t)
			if err != nil {
				return worked, err
			}
			worked, stuck = worked || outcome == stepDone, stuck || outcome == stepStuck
			if outcome == stepDone || outcome == stepAgain {
				left = append(left, t)
			}
			// Half of the time is for everybody else's commands.
			if err := rest(ctx, max(minRest, time.Since(began))); err != nil {
				return worked, err
			}
		}
		turns = left
	}
	if stuck {
		j.failed(errStuck)
	} else {
		j.update(func(status *Status) { status.Err = "" })
	}
	return worked, nil
}

// stepOutcome is what became of a step.
type stepOutcome int

const (
	stepNothing stepOutcome = iota // there was nothing to do
	stepDone
	stepAgain // it failed, and something narrower is to be tried
	stepStuck // it failed, and nothing else can be tried for now
)

// jobTurns is a job with how its last steps went.
type jobTurns struct {
	OpenJob
	kind JobKind
	pace commands.Pace
}

// step does one step of a job, or clears one that has ended. An error means that something
// is away.
func (j *jobs) step(ctx context.Context, t *jobTurns) (stepOutcome, error) {
	if t.State != string(domain.JobRunning) {
		err := j.clear(ctx, t)
		if err == nil || isAway(err) || ctx.Err() != nil {
			return stepNothing, err
		}
		j.options.Log.Warn("reactions: what a job worked with cannot be destroyed", "kind", t.Kind, "job", t.ID, "error", err)
		return stepStuck, nil
	}
	began := time.Now()
	receipt, err := j.submit(ctx, t, t.kind.Step(t.OpenJob, t.pace), false)
	j.metrics.seconds.With(t.Kind).Observe(time.Since(began).Seconds())
	switch p := problem.Of(err); {
	case p != nil && p.Code == newerEvent:
		// A newer program has to go on with this one. Others need not wait for it.
		j.metrics.steps.With(t.Kind, "waiting").Inc()
		return stepStuck, nil
	case err != nil && (isAway(err) || ctx.Err() != nil):
		j.metrics.steps.With(t.Kind, "waiting").Inc()
		return stepAgain, err
	case err != nil:
		j.metrics.steps.With(t.Kind, "failed").Inc()
		return j.narrow(t, err), nil
	case len(receipt.Events) == 0:
		return stepNothing, nil
	}
	j.metrics.steps.With(t.Kind, "done").Inc()
	t.pace.Done()
	return stepDone, nil
}

// narrow sees to it that one item does not hold up the others.
func (j *jobs) narrow(t *jobTurns, err error) stepOutcome {
	if !t.pace.Failed(err) {
		j.options.Log.Warn("reactions: a job cannot go on", "kind", t.Kind, "job", t.ID, "error", err)
		return stepStuck
	}
	if t.pace.Unfit != "" {
		j.options.Log.Warn("reactions: an item of a job is left behind", "kind", t.Kind, "job", t.ID, "error", err)
	}
	return stepAgain
}

// clear destroys what an ended job worked with. The log is asked first whether it has
// ended: what the view says may be of a history that was lost.
func (j *jobs) clear(ctx context.Context, t *jobTurns) error {
	asked, err := j.submit(ctx, t, t.kind.Cleared(t.OpenJob), true)
	if err != nil || len(asked.Events) == 0 {
		return err
	}
	if err := t.kind.Clear(ctx, t.OpenJob); err != nil {
		return err
	}
	_, err = j.submit(ctx, t, t.kind.Cleared(t.OpenJob), false)
	return err
}

// submit gives a command for whom the job works.
func (j *jobs) submit(ctx context.Context, t *jobTurns, decider domain.Decider, dryRun bool) (commands.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return j.options.Submit(ctx, commands.Submission{Decider: decider, DryRun: dryRun, Meta: domain.Meta{
		Org: t.Org, Actor: t.By, RequestID: t.RequestID, CorrelationID: t.CorrelationID, CausationID: t.StartedBy.String(),
	}})
}

// open are the jobs to go through, the oldest first.
func (j *jobs) open(ctx context.Context) ([]OpenJob, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var schema string
	var position int64
	err := j.options.Pool.QueryRow(ctx, `
		SELECT c.schema, c.position FROM view_pointers p JOIN view_checkpoints c ON c.schema = p.schema WHERE p.name = $1`, jobsName).Scan(&schema, &position)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, errNoJobs
	case err != nil:
		return nil, fmt.Errorf("reading where the view of jobs is: %w", err)
	}
	rows, err := j.options.Pool.Query(ctx, `
		SELECT org, id, kind, state, by_sub, by_person, request_id, correlation_id, started_by
		  FROM `+pgx.Identifier{schema, jobsName}.Sanitize()+` WHERE NOT cleared AND kind = ANY($1) ORDER BY position LIMIT $2`, j.names, maxOpenJobs)
	if err != nil {
		return nil, fmt.Errorf("looking for open jobs: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o OpenJob, err error) {
		err = row.Scan(&o.Org, &o.ID, &o.Kind, &o.State, &o.By.Sub, &o.By.Person, &o.RequestID, &o.CorrelationID, &o.StartedBy)
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for open jobs: %w", err)
	}
	j.metrics.open.Set(float64(len(found)))
	j.update(func(status *Status) { status.Leading, status.Position = true, position })
	return found, nil
}

func (j *jobs) currentStatus() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status
}

func (j *jobs) update(change func(*Status)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.status)
}

// failed shows a failure; repeated ones are logged once.
func (j *jobs) failed(err error) {
	says := "the database of the views does not answer"
	switch {
	case errors.Is(err, errNoJobs), errors.Is(err, errStuck):
		says = err.Error()
	case problem.Of(err) != nil:
		says = errWaiting.Error()
	}
	j.update(func(status *Status) {
		if status.Err != says {
			j.options.Log.Warn("reactions: jobs do not go on", "reason", says, "error", err)
		}
		status.Leading, status.Err = true, says
	})
}
