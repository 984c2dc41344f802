package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/reactdjango-hub/backend/domain"
)

// writer applies batches to one schema. An event that cannot be applied parks its
// stream (parked.go); the others go on.
type writer struct {
	options    Options
	projection Projection
	at         checkpoint
	parked     parkedStreams
	// epoch is the one as of which the events in hand were read.
	epoch uuid.UUID
	// moves, if there are any, take part of the work when there are no rows to write.
	moves *moves
}

// withoutSync: losing the last moments in a crash is harmless. The checkpoint is lost with
// the rows, and the events come again.
const withoutSync = `SELECT set_config('synchronous_commit', 'off', true)`

// openWriter makes a writer that goes on where the schema is; pgx.ErrNoRows when
// there is no such schema.
func openWriter(ctx context.Context, options Options, p Projection, schema string) (*writer, error) {
	w := &writer{options: options, projection: p}
	return w, w.load(ctx, options.Pool, schema)
}

// load reads position and parked streams from one snapshot.
func (w *writer) load(ctx context.Context, db querier, schema string) error {
	at := checkpoint{schema: schema}
	var orgs, streams []string
	err := db.QueryRow(ctx, `
		SELECT c.position, c.epoch, c.revision,
		       ARRAY(SELECT org    FROM view_parked WHERE schema = c.schema ORDER BY org, stream),
		       ARRAY(SELECT stream FROM view_parked WHERE schema = c.schema ORDER BY org, stream)
		  FROM view_checkpoints c WHERE c.schema = $1`, schema).Scan(&at.position, &at.epoch, &at.revision, &orgs, &streams)
	if err != nil {
		return fmt.Errorf("reading where schema %s is: %w", schema, err)
	}
	w.at, w.parked, w.epoch = at, parkedStreams{}, at.epoch
	for i, org := range orgs {
		w.parked[streamID{org, domain.Tag(streams[i])}] = struct{}{}
	}
	return nil
}

// write brings the schema past the events, which begin right after its position.
// Where the batch as a whole cannot be applied it is halved again and again, down to
// the event that cannot. Errors: errMoved, errTooManyParked, what the databases report.
func (w *writer) write(ctx context.Context, events []domain.Event) error {
	err := w.send(ctx, w.options.Pool, events)
	reason := poisonReason(err)
	switch {
	case reason == "":
		return err
	case len(events) == 1:
		return w.park(ctx, events[0], reason, err)
	}
	half := len(events) / 2
	if err := w.write(ctx, events[:half]); err != nil {
		return err
	}
	return w.write(ctx, events[half:])
}

// send writes the rows and the checkpoint of a batch: one transaction, one round trip.
func (w *writer) send(ctx context.Context, db batchSender, events []domain.Event) error {
	handled, skipped, err := w.sort(events)
	if err == nil {
		err = w.unseal(ctx, handled)
	}
	if err != nil {
		return err
	}
	next, recordedAt := w.after(events), events[len(events)-1].RecordedAt
	if w.moves != nil && len(handled) == 0 && skipped.none() && w.moves.ask(ctx, w.at, next, recordedAt) {
		w.at = next
		return nil
	}
	batch := w.begin(next, recordedAt)
	if err := applyTo(w.projection, batch, quoted(next.schema), handled); err != nil {
		return err
	}
	skipped.remember(batch, next.schema)
	return w.commit(ctx, db, batch, next)
}

// begin queues what every batch starts with; recordedAt is of its last event.
func (w *writer) begin(next checkpoint, recordedAt time.Time) *pgx.Batch {
	batch := &pgx.Batch{}
	// First, so that of two engines the slower one stops before it does any work.
	batch.Queue(withoutSync+`, advance_view($1, $2, $3, $4, $5, $6)`, w.at.schema, w.at.position, next.position, next.epoch, recordedAt, w.at.revision)
	return batch
}

func (w *writer) commit(ctx context.Context, db batchSender, batch *pgx.Batch, next checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := db.SendBatch(ctx, batch).Close()
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case sqlstateMoved, "42P01", "3F000": // the last two: the schema is gone
			return errMoved
		}
	}
	if err != nil {
		return fmt.Errorf("writing view %s after %d: %w", w.projection.Name, w.at.position, err)
	}
	w.at = next
	return nil
}

// sort decodes the events that the projection is made of, and sets those of parked
// streams aside.
func (w *writer) sort(events []domain.Event) (handled []Event, skipped skippedEvents, err error) {
	handled = make([]Event, 0, len(events))
	for _, e := range events {
		if !slices.Contains(w.projection.Types, e.Type) {
			continue
		}
		if id := streamOf(e); w.parked.has(id) {
			skipped.add(id, e.Position)
			continue
		}
		decoded, err := w.decode(e)
		if err != nil {
			return nil, skippedEvents{}, err
		}
		handled = append(handled, decoded)
	}
	return handled, skipped, nil
}

func (w *writer) decode(e domain.Event) (Event, error) {
	fact, err := w.options.Codec.Fact(e)
	switch {
	case errors.Is(err, domain.ErrNewer):
		return Event{}, &poisonError{reasonNewer, err}
	case err != nil:
		return Event{}, &poisonError{reasonUnreadable, err}
	}
	return Event{Event: e, Payload: fact.Payload}, nil
}

// applyTo queues what the projection makes of the events. A projection that panics
// must not end the process: the same event would end the next one.
func applyTo(p Projection, batch *pgx.Batch, schema string, events []Event) (err error) {
	if len(events) == 0 {
		return nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = &poisonError{reasonRefused, fmt.Errorf("panic: %v", cause)}
		}
	}()
	if err := p.Apply(batch, schema, events); err != nil {
		return &poisonError{reasonRefused, err}
	}
	return nil
}

// park moves the position over an event that cannot be applied, and sets its stream
// aside.
func (w *writer) park(ctx context.Context, e domain.Event, reason string, cause error) error {
	if len(w.parked) >= maxParked {
		return errTooManyParked
	}
	next := w.after([]domain.Event{e})
	batch := w.begin(next, e.RecordedAt)
	batch.Queue(`UPDATE view_checkpoints SET revision = revision + 1 WHERE schema = $1`, next.schema)
	batch.Queue(`INSERT INTO view_parked (schema, org, stream, stream_hash, next_version, first_position, last_position, events, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $6, 1, $7)`, next.schema, e.Org, string(e.Stream), streamOf(e).hash(), e.Version, e.Position, reason)
	next.revision++
	if err := w.commit(ctx, w.options.Pool, batch, next); err != nil {
		return err
	}
	w.parked[streamOf(e)] = struct{}{}
	w.options.Log.Error("projections: an event cannot be applied; its stream waits until it is retried",
		slog.String("view", w.projection.Name), slog.String("schema", next.schema), slog.Int64("position", e.Position),
		slog.String("type", e.Type), slog.String("reason", reason), slog.String("sqlstate", sqlstate(cause)))
	return nil
}

// after is the checkpoint after the events, which are not empty.
func (w *writer) after(events []domain.Event) checkpoint {
	next := w.at
	next.position, next.epoch = events[len(events)-1].Position, w.epoch
	return next
}
