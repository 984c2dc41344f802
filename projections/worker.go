package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/internal/lease"
)

// A failure waits this long before the next attempt, doubling up to the last: long
// enough not to fill the log, short enough that a view is back soon after its cause.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

const (
	// lookInterval is how often the leader looks which schemas it has to write; a
	// swap tells it by the revision of the checkpoint, and sooner.
	lookInterval = 500 * time.Millisecond
	// upgradePause is between two attempts to build a new version: each reads the
	// whole log.
	upgradePause = time.Minute
)

// worker keeps one view up to date, while it has the lease for that. It follows the log
// for each schema of the view that has this program's version: the one that answers,
// and the one to go back to.
type worker struct {
	options    Options
	projection Projection
	moves      *moves
	// look makes the leader look again which schemas those are.
	look chan struct{}
	// applied counts events, and quiet and scheduled are the leader's; see schedule.go.
	applied   atomic.Int64
	quiet     quiet
	scheduled time.Time
	// last is the leader's; see lag.go.
	last    sighting
	metrics workerMetrics

	mu     sync.Mutex
	status Status

	// told is what the database has as the reason why the view does not go on.
	telling sync.Mutex
	told    *string
}

func newWorker(options Options, projection Projection) *worker {
	return &worker{options: options, projection: projection, look: make(chan struct{}, 1), status: Status{Name: projection.Name}}
}

func (w *worker) currentStatus() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// run leads the view whenever no other process does, until the context ends.
func (w *worker) run(ctx context.Context) {
	lease.New(lease.Options{
		Pool: w.options.Pool, Table: lease.ViewTable, TTL: w.options.leaseTTL, Log: w.options.Log,
		Name: fmt.Sprintf("view/%s/v%d", w.projection.Name, w.projection.Version),
		Changed: func(state lease.State) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !state.Held {
				w.status = Status{}
			}
			w.status.Name, w.status.Leads = w.projection.Name, state.Held
			if state.Err != nil {
				w.status.Err = describe(state.Err)
			}
		},
	}).Run(ctx, func(ctx context.Context, _ int64) {
		w.told = nil
		w.lead(ctx)
	})
}

// lead follows the log until the context ends.
func (w *worker) lead(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	following := map[string]context.CancelFunc{}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	backoff := firstBackoff
	for {
		answering := w.currentStatus().Schema
		wanted, err := w.wanted(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.failed(ctx, err)
		default:
			w.watch(ctx)
			w.schedule(ctx)
		}
		for schema, stop := range following {
			// What answers from now on begins anew, and so tells how it is.
			if err == nil && (!wanted[schema] || schema != answering && schema == w.currentStatus().Schema) {
				stop()
				delete(following, schema)
			}
		}
		for schema := range wanted {
			if following[schema] == nil {
				var mine context.Context
				mine, following[schema] = context.WithCancel(ctx) //nolint:gosec // called above, or ends with ctx
				all.Go(func() { w.follow(mine, schema) })
			}
		}
		pause := ticker.C
		if err != nil {
			pause = time.After(backoff)
			backoff = min(2*backoff, lastBackoff)
		} else {
			backoff = firstBackoff
		}
		select {
		case <-ctx.Done():
			return
		case <-pause:
		case <-w.look:
		}
	}
}

// wanted are the schemas to write. It creates the view when there is none, and asks for
// a build when this program's version of it is newer. An error says why the view that
// answers is not among them.
func (w *worker) wanted(ctx context.Context) (map[string]bool, error) {
	v, err := ensureView(ctx, w.options, w.projection)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	if v.previousVersion == w.projection.Version {
		wanted[v.previous] = true
	}
	switch own := w.projection.Version; {
	case v.version == own:
		wanted[v.schema] = true
		w.leads(v.schema)
		return wanted, nil
	case v.version > own, v.held >= own:
		err = &versionError{view: v.version, program: own, held: v.held >= own}
	default:
		if err = w.upgrade(ctx); err == nil {
			err = fmt.Errorf("%w %d", errUpgrading, own)
		}
	}
	w.leads("")
	w.failed(ctx, err)
	return wanted, nil
}

// upgrade asks for a build of this program's version, unless one has failed just now.
func (w *worker) upgrade(ctx context.Context) error {
	var failed bool
	err := w.options.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM view_jobs
		WHERE view = $1 AND version = $2 AND requested_by = 'upgrade' AND state IN ('failed', 'cancelled')
		  AND finished_at > clock_timestamp() - make_interval(secs => $3))`,
		w.projection.Name, w.projection.Version, upgradePause.Seconds()).Scan(&failed)
	if err != nil || failed {
		return err
	}
	_, isNew, err := request(ctx, w.options.Pool, w.projection, KindRebuild, byUpgrade)
	if isNew {
		w.options.Log.Info("projections: a new version of a view is to be built", "view", w.projection.Name, "version", w.projection.Version)
	}
	if errors.Is(err, ErrBusy) {
		return nil // after the other job
	}
	return err
}

// follow applies batches to one schema until the context ends.
func (w *worker) follow(ctx context.Context, schema string) {
	var settling sync.WaitGroup
	defer settling.Wait()
	if w.projection.Settle != nil {
		settling.Go(func() { w.settle(ctx, schema) })
	}
	backoff := firstBackoff
	for {
		moved, err := w.apply(ctx, schema)
		if ctx.Err() != nil {
			return
		}
		if forked := new(subscription.ForkedError); errors.As(err, &forked) && w.currentStatus().Schema == schema {
			err = errors.Join(err, w.startOver(ctx, schema))
		}
		if errors.Is(err, pgx.ErrNoRows) {
			// Dropped. Another may answer now; if not, what wanted finds says so.
			w.lookAgain()
		} else {
			w.fails(ctx, schema, err)
		}
		if moved {
			backoff = firstBackoff
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// apply applies batches until something fails; moved reports that some were applied.
func (w *worker) apply(ctx context.Context, schema string) (moved bool, err error) {
	// What an older program could not read, this one may.
	if _, err := retryStreams(ctx, w.options, w.projection, schema, reasonNewer); err != nil {
		return false, err
	}
	writer, err := openWriter(ctx, w.options, w.projection, schema)
	if err != nil {
		return false, err
	}
	writer.moves = w.moves
	w.at(ctx, writer)
	log := subscription.New(subscription.Options{Store: w.options.Store, Feed: w.options.Feed, Log: w.options.Log})
	defer log.Close()
	for {
		batch, err := log.Next(ctx, writer.at.place())
		if err != nil {
			return moved, err
		}
		before, began := writer.at, time.Now()
		if writer.epoch != batch.At.Epoch || !moved {
			if err := w.noteEpochs(ctx); err != nil {
				return moved, err
			}
		}
		writer.epoch = batch.At.Epoch
		err = writer.write(ctx, batch.Events)
		if errors.Is(err, errMoved) {
			// Another engine wrote these rows, a retry has freed a stream, or another
			// schema answers for the view.
			w.lookAgain()
			if err = writer.load(ctx, w.options.Pool, schema); err == nil && writer.at == before {
				err = errTablesGone
			}
		}
		if err != nil {
			return moved, err
		}
		moved = true
		w.applied.Add(int64(len(batch.Events)))
		w.metrics.events.Observe(float64(len(batch.Events)))
		w.metrics.seconds.Observe(time.Since(began).Seconds())
		w.trace(ctx, batch.Events, schema, began)
		w.at(ctx, writer)
		w.options.Notify()
	}
}

func (w *worker) lookAgain() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// leads notes the schema that answers, which is the one that the status is about.
func (w *worker) leads(schema string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Schema != schema {
		w.status.Schema, w.status.Position, w.status.Parked, w.status.Lag = schema, 0, 0, Lag{}
	}
}

// at notes how far a schema is.
func (w *worker) at(ctx context.Context, at *writer) {
	if w.note(at) {
		w.tell(ctx, "")
	}
}

// note reports whether the schema is the one that answers.
func (w *worker) note(at *writer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Schema != at.at.schema {
		return false
	}
	if w.status.Err != "" {
		w.options.Log.Info("projections: view goes on", "view", w.projection.Name, "position", at.at.position)
	}
	w.status.Position, w.status.Parked, w.status.Err = at.at.position, len(at.parked), ""
	return true
}

// fails notes why a schema does not go on.
func (w *worker) fails(ctx context.Context, schema string, err error) {
	if w.currentStatus().Schema == schema {
		w.failed(ctx, err)
		return
	}
	w.options.Log.Warn("projections: the tables to go back to are not kept up", "view", w.projection.Name, "schema", schema, "error", err)
}

// failed shows a failure; repeated ones are logged once.
func (w *worker) failed(ctx context.Context, err error) {
	says := describe(err)
	w.mu.Lock()
	again, position := w.status.Err == says, w.status.Position
	w.status.Err = says
	w.mu.Unlock()
	if !again {
		w.options.Log.Warn("projections: view does not go on", "view", w.projection.Name, "position", position, "reason", says, "error", err)
	}
	w.tell(ctx, says)
}

// tell lets other processes know why the view does not go on, or that it does. With
// the database away there is nobody who could ask it.
func (w *worker) tell(ctx context.Context, says string) {
	w.telling.Lock()
	defer w.telling.Unlock()
	if w.told != nil && *w.told == says {
		return
	}
	_, err := w.options.Pool.Exec(ctx, `UPDATE view_pointers SET fault = $2 WHERE name = $1 AND version <= $3 AND fault <> $2`,
		w.projection.Name, says, w.projection.Version)
	if err == nil {
		w.told = &says
	}
}

// describe says what is wrong without addresses, values or secrets; the error itself
// goes to the log.
func describe(err error) string {
	var (
		version *versionError
		refused *pgconn.PgError
		forked  *subscription.ForkedError
	)
	switch {
	case errors.As(err, &forked):
		return "the log has lost events that the view holds; it is built anew"
	case errors.As(err, &version):
		return version.Error()
	case errors.Is(err, subscription.ErrLogAway):
		return "the event log cannot be read"
	case errors.As(err, &refused) && !strings.HasPrefix(refused.Code, "57P"): // class 57P: it starts or stops
		return "the read database refused a statement (SQLSTATE " + refused.Code + ")"
	}
	for _, known := range []error{keyring.ErrOtherMaster, errNoKeys, subscription.ErrLogHole, subscription.ErrLogBehind, errTablesGone, errTooManyParked, errTooManyAttempts, errWorse, errStalled} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if errors.Is(err, errUpgrading) {
		return err.Error()
	}
	return "the read database does not answer"
}

var (
	// errTablesGone says that somebody dropped the tables of a view that is in use.
	errTablesGone = errors.New("the tables of the view are gone: rebuild it")
	errUpgrading  = errors.New("the view is being built in version")
)

// versionError is a view that a program of another version has taken over.
type versionError struct {
	view, program int
	// held says that somebody went back from the program's version.
	held bool
}

func (e *versionError) Error() string {
	text := fmt.Sprintf("the view is at version %d and this program writes version %d", e.view, e.program)
	if e.held {
		text += ": it was rolled back, and a rebuild brings it to this program's version again"
	}
	return text
}
