package projections

import (
	"context"
	"time"
)

const (
	// quietWindow and quietEvents say when a scheduled verify begins: fewer events than
	// these came in the last minute, so that it is in nobody's way.
	quietWindow = time.Minute
	quietEvents = 3000
	// overdue is after how much of VerifyEvery beyond it a verify begins all the same.
	overdue = 0.25
)

// quiet tells whether the view has little to do.
type quiet struct {
	since   time.Time
	applied int64
	now     bool
}

func (q *quiet) see(now time.Time, applied int64) {
	if now.Sub(q.since) >= quietWindow {
		q.now = !q.since.IsZero() && applied-q.applied < quietEvents
		q.since, q.applied = now, applied
	}
}

// schedule asks for a verify when one is due: by the leader of the view, at a quiet
// time or when it is long overdue. Failures show in the job, or come again.
func (w *worker) schedule(ctx context.Context) {
	every := w.options.VerifyEvery
	if every <= 0 {
		return
	}
	w.quiet.see(time.Now(), w.applied.Load())
	if time.Since(w.scheduled) < min(every, quietWindow) {
		return
	}
	w.scheduled = time.Now()
	limit := every
	if !w.quiet.now {
		limit += time.Duration(overdue * float64(every))
	}
	var due bool
	err := w.options.Pool.QueryRow(ctx, `
		SELECT p.updated_at < clock_timestamp() - make_interval(secs => $2)
		  FROM (SELECT coalesce(max(requested_at), (SELECT created_at FROM view_pointers WHERE name = $1)) AS updated_at
		          FROM view_jobs WHERE view = $1 AND kind = 'verify') p`, w.projection.Name, limit.Seconds()).Scan(&due)
	if err != nil || !due {
		return
	}
	if _, _, err := request(ctx, w.options.Pool, w.projection, KindVerify, bySchedule); err != nil {
		w.options.Log.Warn("projections: a verify was not scheduled", "view", w.projection.Name, "error", err)
	}
}
