package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
)

// A failure waits this long before the next attempt, doubling up to the last: long
// enough not to fill the log, short enough that a view is back soon after its cause.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// worker keeps one view up to date.
type worker struct {
	options    Options
	projection Projection

	mu     sync.Mutex
	status Status
}

func newWorker(options Options, projection Projection) *worker {
	return &worker{options: options, projection: projection, status: Status{Name: projection.Name}}
}

func (w *worker) currentStatus() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// run follows the log until the context ends.
func (w *worker) run(ctx context.Context) {
	backoff := firstBackoff
	for {
		before := w.currentStatus().Position
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		w.failed(err)
		if w.currentStatus().Position != before {
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

// follow applies batches until something fails.
func (w *worker) follow(ctx context.Context) error {
	at, err := w.prepare(ctx)
	if err != nil {
		return err
	}
	w.at(at)
	events := subscription.New(subscription.Options{Store: w.options.Store, NATS: w.options.NATS, Log: w.options.Log})
	defer events.Close()
	for {
		batch, err := events.Next(ctx, at.place())
		if err != nil {
			return err
		}
		next, err := apply(ctx, w.options.Pool, w.options.Codec, w.projection, at, batch.Events)
		if errors.Is(err, errMoved) {
			// Another engine wrote these rows, or a rebuild has taken the view's place.
			next, err = w.load(ctx)
			if err == nil && next == at {
				err = errTablesGone
			}
		}
		if err != nil {
			return err
		}
		at = next
		w.at(at)
		w.options.Notify()
	}
}

// prepare gives the place to go on from. It creates the view when there is none and
// builds a new one when this program's version of it is newer.
func (w *worker) prepare(ctx context.Context) (checkpoint, error) {
	view, err := ensureView(ctx, w.options, w.projection)
	if err != nil {
		return checkpoint{}, err
	}
	if view.version < w.projection.Version {
		w.options.Log.Info("projections: building a new version of a view", "view", w.projection.Name, "version", w.projection.Version)
		if err := newBuilder(w.options, w.projection).run(ctx, true, func(int64, int64) {}); err != nil {
			return checkpoint{}, fmt.Errorf("building version %d of view %s: %w", w.projection.Version, w.projection.Name, err)
		}
		w.options.Notify()
	}
	return w.load(ctx)
}

// load reads where the view is now.
func (w *worker) load(ctx context.Context) (checkpoint, error) {
	view, err := loadView(ctx, w.options.Pool, w.projection.Name)
	if err != nil {
		return checkpoint{}, err
	}
	if view.version != w.projection.Version {
		return checkpoint{}, &versionError{view: view.version, program: w.projection.Version}
	}
	return view.checkpoint, nil
}

func (w *worker) at(c checkpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Err != "" {
		w.options.Log.Info("projections: view goes on", "view", w.projection.Name, "position", c.position)
	}
	w.status.Schema, w.status.Position, w.status.Err = c.schema, c.position, ""
}

// failed shows a failure; repeated ones are logged once.
func (w *worker) failed(err error) {
	says := describe(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Err == says {
		return
	}
	w.status.Err = says
	w.options.Log.Warn("projections: view does not go on", "view", w.projection.Name, "position", w.status.Position, "reason", says, "error", err)
}

// describe says what is wrong without addresses, values or secrets; the error itself
// goes to the log.
func describe(err error) string {
	var (
		unreadable *unreadableError
		version    *versionError
		refused    *pgconn.PgError
	)
	switch {
	case errors.As(err, &unreadable):
		return fmt.Sprintf("the event at position %d cannot be read by this program", unreadable.position)
	case errors.As(err, &version):
		return version.Error()
	case errors.Is(err, subscription.ErrLogAway):
		return "the event log cannot be read"
	case errors.Is(err, subscription.ErrLogHole), errors.Is(err, subscription.ErrLogBehind), errors.Is(err, errTablesGone):
		return err.Error()
	case errors.As(err, &refused) && !strings.HasPrefix(refused.Code, "57P"): // class 57P: it starts or stops
		return "the read database refused a statement (SQLSTATE " + refused.Code + ")"
	}
	return "the read database does not answer"
}

// errTablesGone says that somebody dropped the tables of a view that is in use.
var errTablesGone = errors.New("the tables of the view are gone: rebuild it")

// unreadableError is an event that the view needs and this program cannot decode:
// skipping it would make the view wrong without anybody knowing.
type unreadableError struct {
	position int64
	cause    error
}

func (e *unreadableError) Error() string {
	return fmt.Sprintf("event at position %d: %v", e.position, e.cause)
}
func (e *unreadableError) Unwrap() error { return e.cause }

// versionError is a view that a newer program has taken over.
type versionError struct{ view, program int }

func (e *versionError) Error() string {
	return fmt.Sprintf("the view is at version %d and this program writes version %d", e.view, e.program)
}

// positionOf is the place after the events, which are not empty.
func positionOf(schema string, events []domain.Event) checkpoint {
	last := events[len(events)-1]
	return checkpoint{schema: schema, position: last.Position, epoch: last.Epoch}
}
