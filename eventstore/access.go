package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
)

const (
	// maxAccessBytes bounds what describes the event of an access: its subjects, each of
	// them once more as a tag. It is well under MaxDescriptionBytes; what is longer becomes
	// several events.
	maxAccessBytes = 24 << 10
	// maxAccessTurn bounds the events of one append, as of commands; and maxAccesses the
	// reads that wait for one: what would wait for longer is better refused at once.
	maxAccessTurn = 256
	maxAccesses   = 1024
	// recordTimeout is how long an append may take: a read has waited long enough then.
	recordTimeout = 5 * time.Second
)

// ErrAccessesFull means that too many reads wait for being recorded.
var ErrAccessesFull = errors.New("too many accesses wait for being recorded")

// errRecorderStopped answers what comes when nobody records any more.
var errRecorderStopped = errors.New("accesses are not recorded any more: the process is stopping")

// Access is what somebody is about to be shown.
type Access struct {
	Org       string
	Actor     domain.Actor
	RequestID string
	// Subjects are the entities, at least one.
	Subjects []string
	// SchemaVersion and Data are of the event access.recorded.
	SchemaVersion int
	Data          []byte
}

// AccessRecorder writes accesses to the log before things are shown, all that came while
// the last append was on disk in one. It is safe for concurrent use.
//
//	reads ─▶ queue ─▶ Run: gather ─ append ─ answer
type AccessRecorder struct {
	store   *Store
	queue   chan *accessCall
	stopped chan struct{}
}

// accessCall is what one read waits for.
type accessCall struct {
	within   context.Context
	accesses []Access
	done     chan error
}

// NewAccessRecorder makes a recorder for a store of RoleQuery, which can write nothing
// else; Run starts it.
func NewAccessRecorder(store *Store) *AccessRecorder {
	return &AccessRecorder{store: store, queue: make(chan *accessCall, maxAccesses), stopped: make(chan struct{})}
}

// Record returns when accesses of one organisation are on disk. After an error they may be
// or not; what was to be shown must not be. Errors: ErrAccessesFull, and any other.
func (r *AccessRecorder) Record(ctx context.Context, accesses ...Access) error {
	c := &accessCall{within: ctx, done: make(chan error, 1)}
	for _, access := range accesses {
		parts, err := access.parts()
		if err != nil {
			return err
		}
		c.accesses = append(c.accesses, parts...)
	}
	select {
	case <-r.stopped:
		return errRecorderStopped
	default:
	}
	select {
	case r.queue <- c:
	default:
		return ErrAccessesFull
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("recording an access: %w", context.Cause(ctx))
	case <-r.stopped:
		select {
		case err := <-c.done:
			return err
		default:
			return errRecorderStopped
		}
	}
}

// parts are the access with no more subjects each than one event can have.
func (a Access) parts() ([]Access, error) {
	if len(a.Subjects) == 0 {
		return nil, errors.New("an access has at least one subject")
	}
	var parts []Access
	for first, size := 0, 0; first < len(a.Subjects); size = 0 {
		end := first
		for ; end < len(a.Subjects); end++ {
			tag := domain.SubjectTag(a.Subjects[end])
			if err := tag.Validate(); err != nil {
				return nil, err
			}
			if size += len(tag) + len(a.Subjects[end]); size > maxAccessBytes && end > first {
				break
			}
		}
		part := a
		part.Subjects = a.Subjects[first:end]
		parts, first = append(parts, part), end
	}
	return parts, nil
}

// Run records until ctx ends, then what is queued still.
func (r *AccessRecorder) Run(ctx context.Context) {
	defer close(r.stopped)
	for {
		select {
		case first := <-r.queue:
			r.turn(ctx, r.gather(first))
		case <-ctx.Done():
			for {
				select {
				case first := <-r.queue:
					r.turn(ctx, r.gather(first))
				default:
					return
				}
			}
		}
	}
}

// gather takes what waits, without waiting for more.
func (r *AccessRecorder) gather(first *accessCall) []*accessCall {
	calls, events := []*accessCall{first}, len(first.accesses)
	for events < maxAccessTurn {
		select {
		case c := <-r.queue:
			calls, events = append(calls, c), events+len(c.accesses)
		default:
			return calls
		}
	}
	return calls
}

// turn appends the accesses of calls that somebody still waits for and answers all of
// them. What the log refuses as bad data must not cost the others their answer.
func (r *AccessRecorder) turn(ctx context.Context, calls []*accessCall) {
	var waiting []*accessCall
	var accesses []Access
	for _, c := range calls {
		if c.within.Err() != nil {
			c.done <- context.Cause(c.within)
			continue
		}
		waiting, accesses = append(waiting, c), append(accesses, c.accesses...)
	}
	if len(waiting) == 0 {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	err := r.store.recordAccesses(limited, accesses)
	cancel()
	if BadData(err) && len(waiting) > 1 {
		for _, c := range waiting {
			r.turn(ctx, []*accessCall{c})
		}
		return
	}
	for _, c := range waiting {
		c.done <- err
	}
}

// recordAccesses is one transaction in one round trip, with a statement for each
// organisation.
func (s *Store) recordAccesses(ctx context.Context, accesses []Access) error {
	var orgs []string
	of := make(map[string][]Access)
	for _, access := range accesses {
		if of[access.Org] == nil {
			orgs = append(orgs, access.Org)
		}
		of[access.Org] = append(of[access.Org], access)
	}
	batch := &pgx.Batch{}
	for _, org := range orgs {
		arguments, err := accessArguments(of[org])
		if err != nil {
			return err
		}
		batch.Queue(`SELECT set_config('hub.org', $1, true)`, org)
		batch.Queue(`SELECT record_accesses($1, $2, $3, $4, $5, $6, $7)`, arguments...)
	}
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("recording accesses: %w", err)
	}
	return nil
}

// accessArguments lays accesses out in the arrays of record_accesses.
func accessArguments(accesses []Access) ([]any, error) {
	var (
		ids, commands             array[id]
		actors, requests, persons array[text]
		schemas                   array[number]
		data                      array[blob]
	)
	for _, access := range accesses {
		actor, err := json.Marshal(access.Actor)
		if err != nil {
			return nil, fmt.Errorf("encoding the actor: %w", err)
		}
		ids, commands = append(ids, id(uuid.Must(uuid.NewV7()))), append(commands, id(uuid.Must(uuid.NewV7())))
		actors, requests = append(actors, text(actor)), append(requests, text(access.RequestID))
		persons, schemas = append(persons, text(arrayLiteral(access.Subjects))), append(schemas, number(access.SchemaVersion))
		data = append(data, access.Data)
	}
	return []any{ids, commands, actors, requests, persons, schemas, data}, nil
}
