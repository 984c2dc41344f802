package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A job is work on a view beside following the log. It is a row, so whoever asks for
// it, does it, watches it or cancels it may be in processes of their own:
//
//	queued ──▶ running ──▶ completed | failed | cancelled
//	             ▲  │ its process dies
//	             └──┘ another starts it again, up to maxJobAttempts

// The kinds of jobs.
const (
	KindRebuild = "rebuild"
	KindVerify  = "verify"
	KindRetry   = "retry"
)

// The states of jobs.
const (
	StateQueued    = "queued"
	StateRunning   = "running"
	StateCompleted = "completed"
	StateFailed    = "failed"
	StateCancelled = "cancelled"
)

// Who asks for jobs.
const (
	byOperator = "operator"
	bySchedule = "schedule"
	byUpgrade  = "upgrade"
	byRestore  = "restore"
)

// maxJobsKept are the finished jobs of a kind that are remembered for a view.
const maxJobsKept = 10

// ErrBusy is returned when another kind of job is under way for the view.
var ErrBusy = errors.New("another job is under way for this view: wait for it, or cancel it")

// ErrUnknownView is returned for a name that no projection has.
var ErrUnknownView = errors.New("there is no view of this name")

// Job is a job as the database has it.
type Job struct {
	ID          uuid.UUID `json:"id"`
	View        string    `json:"view"`
	Kind        string    `json:"kind"`
	RequestedBy string    `json:"requested_by"`
	State       string    `json:"state"`
	// Done of Total positions are behind it.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	// Rate is in positions a second, since it was started.
	Rate       float64  `json:"rate"`
	ETASeconds *float64 `json:"eta_seconds,omitempty"`
	Error      string   `json:"error,omitempty"`
	// Findings says how much is wrong: the differences of a verify, the streams that a
	// retry has left parked.
	Findings    int64      `json:"findings"`
	RequestedAt time.Time  `json:"requested_at"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
	// attempts counts the processes that have begun it.
	attempts int
	cancel   bool
}

// Active reports whether it is still to be done.
func (j Job) Active() bool { return j.State == StateQueued || j.State == StateRunning }

const jobColumns = `id, view, kind, requested_by, state, done, total, error, findings, requested_at, started_at, finished_at,
	attempts, cancel, coalesce(extract(epoch FROM coalesce(finished_at, updated_at) - started_at)::float8, 0)`

func scanJob(row pgx.CollectableRow) (Job, error) {
	var (
		j       Job
		seconds float64
	)
	err := row.Scan(&j.ID, &j.View, &j.Kind, &j.RequestedBy, &j.State, &j.Done, &j.Total, &j.Error, &j.Findings,
		&j.RequestedAt, &j.StartedAt, &j.FinishedAt, &j.attempts, &j.cancel, &seconds)
	j.RequestedAt = j.RequestedAt.UTC()
	for _, at := range []*time.Time{j.StartedAt, j.FinishedAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	if seconds > 0 {
		j.Rate = float64(j.Done) / seconds
	}
	if j.State == StateRunning && j.Rate > 0 {
		left := float64(j.Total-j.Done) / j.Rate
		j.ETASeconds = &left
	}
	return j, err
}

// Request asks for a job; some projector does it. One of the same kind that is under
// way already is joined; isNew says that there was none. Errors: ErrUnknownView, ErrBusy.
// RoleProjector or RoleQuery.
func Request(ctx context.Context, db querier, view, kind string) (j Job, isNew bool, err error) {
	p, err := Options{}.withDefaults().projection(view)
	if err != nil {
		return Job{}, false, err
	}
	return request(ctx, db, p, kind, byOperator)
}

func request(ctx context.Context, db querier, p Projection, kind, by string) (j Job, isNew bool, err error) {
	// The job in the way may end between the two statements, but not for ever.
	for range 3 {
		var id uuid.UUID
		err = db.QueryRow(ctx, `INSERT INTO view_jobs (view, version, kind, requested_by) VALUES ($1, $2, $3, $4)
			ON CONFLICT (view) WHERE state IN ('queued', 'running') DO NOTHING RETURNING id`, p.Name, p.Version, kind, by).Scan(&id)
		if err == nil {
			j, err = loadJob(ctx, db, id)
			return j, true, err
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return Job{}, false, fmt.Errorf("asking for a job: %w", err)
		}
		j, err = queryJob(ctx, db, `WHERE view = $1 AND state IN ('queued', 'running')`, p.Name)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			continue
		case err == nil && j.Kind != kind:
			return j, false, ErrBusy
		default:
			return j, false, err
		}
	}
	return Job{}, false, ErrBusy
}

func loadJob(ctx context.Context, db querier, id uuid.UUID) (Job, error) {
	return queryJob(ctx, db, `WHERE id = $1`, id)
}

func queryJob(ctx context.Context, db querier, where string, args ...any) (Job, error) {
	rows, err := db.Query(ctx, `SELECT `+jobColumns+` FROM view_jobs `+where, args...)
	if err != nil {
		return Job{}, fmt.Errorf("reading a job: %w", err)
	}
	j, err := pgx.CollectExactlyOneRow(rows, scanJob)
	if err != nil {
		return Job{}, fmt.Errorf("reading a job: %w", err)
	}
	return j, nil
}

// Cancel asks the job that is under way for a view to stop, and reports whether there
// is one. Whoever does it sees that within a second. RoleProjector or RoleQuery.
func Cancel(ctx context.Context, db querier, view string) (bool, error) {
	tag, err := db.Exec(ctx, `UPDATE view_jobs SET cancel = true WHERE view = $1 AND state IN ('queued', 'running')`, view)
	if err != nil {
		return false, fmt.Errorf("cancelling a job: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// Jobs are those under way and those that are remembered, the latest first.
// RoleProjector or RoleQuery.
func Jobs(ctx context.Context, db querier) ([]Job, error) {
	rows, err := db.Query(ctx, `SELECT `+jobColumns+` FROM view_jobs ORDER BY requested_at DESC, id DESC`)
	if err != nil {
		return nil, fmt.Errorf("listing jobs: %w", err)
	}
	jobs, err := pgx.CollectRows(rows, scanJob)
	if err != nil {
		return nil, fmt.Errorf("listing jobs: %w", err)
	}
	return jobs, nil
}

// claim begins a job, or begins again what a dead process has begun; pgx.ErrNoRows
// when there is none.
func claim(ctx context.Context, pool *pgxpool.Pool, p Projection) (Job, error) {
	rows, err := pool.Query(ctx, `UPDATE view_jobs
		SET state = 'running', attempts = attempts + 1, done = 0, total = 0, started_at = clock_timestamp(), updated_at = clock_timestamp()
		WHERE view = $1 AND version = $2 AND state IN ('queued', 'running') RETURNING `+jobColumns, p.Name, p.Version)
	if err != nil {
		return Job{}, fmt.Errorf("beginning a job: %w", err)
	}
	j, err := pgx.CollectExactlyOneRow(rows, scanJob)
	if err != nil {
		return Job{}, fmt.Errorf("beginning a job: %w", err)
	}
	return j, nil
}

// report tells how far the job is, and returns whether it is to stop: errCancelled, or
// errOvertaken when another has begun it again.
func (j Job) report(ctx context.Context, pool *pgxpool.Pool, done, total int64) error {
	var cancelled bool
	err := pool.QueryRow(ctx, `UPDATE view_jobs SET done = $3, total = $4, updated_at = clock_timestamp()
		WHERE id = $1 AND attempts = $2 AND state = 'running' RETURNING cancel`, j.ID, j.attempts, done, total).Scan(&cancelled)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errOvertaken
	case err == nil && cancelled:
		return errCancelled
	}
	return nil // a database that does not answer now may do so the next time
}

// outcome is how a job ended.
type outcome struct {
	state    string
	fault    string
	findings int64
	report   any
}

// finish writes the outcome and forgets what is too long ago.
func (j Job) finish(ctx context.Context, pool *pgxpool.Pool, o outcome) error {
	report, err := json.Marshal(o.report)
	if err != nil {
		return fmt.Errorf("encoding the report of a job: %w", err)
	}
	_, err = pool.Exec(ctx, `UPDATE view_jobs
		SET state = $3, error = $4, findings = $5, report = $6, done = CASE WHEN $3 = 'completed' THEN total ELSE done END,
		    updated_at = clock_timestamp(), finished_at = clock_timestamp()
		WHERE id = $1 AND attempts = $2 AND state = 'running'`, j.ID, j.attempts, o.state, o.fault, o.findings, string(report))
	if err != nil {
		return fmt.Errorf("ending a job: %w", err)
	}
	_, err = pool.Exec(ctx, `DELETE FROM view_jobs WHERE id IN (
		SELECT id FROM view_jobs WHERE view = $1 AND kind = $2 AND state NOT IN ('queued', 'running')
		 ORDER BY requested_at DESC OFFSET $3)`, j.View, j.Kind, maxJobsKept)
	if err != nil {
		return fmt.Errorf("forgetting old jobs: %w", err)
	}
	return nil
}
