package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// view is what one command may read: states as of the commands before it.
type view struct {
	turn *turn
	org  string
	// deciding makes reading a boundary that was not loaded a fault of the program.
	deciding bool
	// needs gets what the command asks of the keyring; nil where nobody collects it.
	needs *needs
}

func (v view) get(tag domain.Tag) folded {
	f, loaded := v.turn.states[eventstore.Boundary{Org: v.org, Tag: tag}]
	if loaded {
		return f
	}
	if v.deciding {
		panic(fmt.Sprintf("a decision reads the boundary %q, which it did not name", tag))
	}
	return v.turn.empty(tag)
}

// State implements domain.Reader.
func (v view) State(tag domain.Tag) domain.State { return v.get(tag).state }

// Version implements domain.Reader.
func (v view) Version(tag domain.Tag) int64 { return v.get(tag).version }

func (t *turn) empty(tag domain.Tag) folded {
	state, known := t.loop.folds[tag.Kind()]
	if !known {
		panic(fmt.Sprintf("no fold reads boundaries like %q", tag))
	}
	return folded{state: state}
}

// catchUp brings all boundaries of the turn to the end of the log and forgets the
// effects of an earlier attempt.
func (t *turn) catchUp(ctx context.Context) error {
	maps.Copy(t.states, t.base)
	return t.advance(ctx, slices.Collect(maps.Keys(t.base)))
}

// advance folds into base what the log has after each boundary's head. It runs
// before any command of the attempt touches these boundaries, so that states follow.
func (t *turn) advance(ctx context.Context, boundaries []eventstore.Boundary) error {
	read, asked := make(map[eventstore.Boundary]int), false
	for through, more := int64(0), true; more; {
		if through > 0 && !asked {
			asked = true
			t.takeUp(ctx, boundaries)
		}
		var marks []eventstore.Mark
		for _, boundary := range boundaries {
			if t.unreadable[boundary] == nil {
				marks = append(marks, eventstore.Mark{Boundary: boundary, Head: max(t.base[boundary].head, through)})
			}
		}
		var events []eventstore.BoundaryEvent
		var err error
		if events, more, err = t.load(ctx, marks); err != nil {
			return err
		}
		for _, loaded := range events {
			through = loaded.Event.Position
			boundary := marks[loaded.Mark].Boundary
			if t.unreadable[boundary] != nil {
				continue
			}
			if read[boundary]++; read[boundary] > maxEvents {
				t.giveUp(boundary, tooLong(boundary))
				continue
			}
			if err := t.fold(boundary, loaded.Event); err != nil {
				t.giveUp(boundary, fmt.Errorf("position %d: %w", through, err))
			}
		}
	}
	return nil
}

// giveUp makes a boundary one that nothing can be decided on in this turn.
func (t *turn) giveUp(boundary eventstore.Boundary, cause error) {
	t.unreadable[boundary] = cause
	t.loop.log.Error("a boundary cannot be decided on", slog.String("kind", boundary.Tag.Kind()), slog.Any("error", cause))
}

func tooLong(boundary eventstore.Boundary) error {
	return fmt.Errorf("the boundary %q has more than %d events", boundary.Tag, maxEvents)
}

// fold adds one event of the log to base and states.
func (t *turn) fold(boundary eventstore.Boundary, event domain.Event) error {
	f, err := t.loop.fold(t.base[boundary], boundary.Tag, event)
	if err != nil {
		return err
	}
	t.base[boundary], t.states[boundary] = f, f
	return nil
}

// fold adds one event of the log to what comes before it in a boundary.
func (l *Loop) fold(before folded, tag domain.Tag, event domain.Event) (after folded, err error) {
	defer recoverInto(&err)
	fact, err := l.codec.Fact(event)
	if err != nil {
		return before, err
	}
	after = before.apply(tag, fact, Stamp{At: event.RecordedAt, By: event.Actor.Sub})
	after.head = event.Position
	return after, nil
}

// decide runs the turn's commands in order, each on the effects of those before it.
// Only a failure to read the log is an error.
func (t *turn) decide(ctx context.Context) error {
	t.decided, t.unread = t.decided[:0], make(map[eventstore.Boundary][]made)
	for _, c := range t.calls {
		d := decided{call: c, outcome: eventstore.Outcome{Meta: c.Meta, IdempotencyKey: c.IdempotencyKey, RequestHash: c.RequestHash}}
		fault, err := t.loadFor(ctx, c)
		if err != nil {
			return err
		}
		if d.err = fault; fault == nil {
			d.err = t.decideOne(c, &d)
		}
		if p := problem.Of(d.err); c.IdempotencyKey != "" && Kept(p) {
			refusal, err := EncodeRefusal(p)
			if err != nil {
				d.err = fmt.Errorf("keeping a refusal: %w", err)
			}
			d.outcome.Refusal = refusal
		}
		t.decided = append(t.decided, d)
	}
	return nil
}

// decideOne decides a call and applies its effects, or leaves no trace of it; a dry
// run leaves none either way.
func (t *turn) decideOne(c *call, d *decided) (err error) {
	defer recoverInto(&err)
	v := view{turn: t, org: c.Meta.Org, deciding: true}
	v.needs = &d.needs
	for _, tag := range c.Decider.Boundaries(v) {
		if !tag.Boundary() {
			d.needs.subject(keyring.Ref{Org: c.Meta.Org, Subject: tag.Name()})
			continue
		}
		if err := t.unreadable[eventstore.Boundary{Org: c.Meta.Org, Tag: tag}]; err != nil {
			return err
		}
	}
	decision, err := c.Decider.Decide(v, c.Meta)
	if err != nil {
		return err
	}
	after, unread := make(map[eventstore.Boundary]folded), make(map[eventstore.Boundary][]made)
	var events []eventstore.NewEvent
	for _, fact := range decision.Facts {
		event, err := t.place(d, fact, after, unread)
		if err != nil {
			return err
		}
		events = append(events, event)
	}
	resource, moved := after[eventstore.Boundary{Org: c.Meta.Org, Tag: decision.Stream}]
	if !moved {
		resource = v.get(decision.Stream)
	}
	o := &d.outcome
	o.ResourceID, o.Created, o.Version, o.Events = decision.ResourceID, decision.Created, resource.version, events
	d.resource = resource
	if c.DryRun {
		return nil
	}
	maps.Copy(t.states, after)
	for boundary, facts := range unread {
		t.unread[boundary] = append(t.unread[boundary], facts...)
		// It moves now, and nobody checks from where: what is cached of it is over.
		t.loop.cache.evict(boundary)
	}
	return nil
}

// place makes the event of a fact and folds the fact into after, on top of states;
// for boundaries that the turn has not read it notes it in unread.
func (t *turn) place(
	d *decided, fact domain.Fact, after map[eventstore.Boundary]folded, unread map[eventstore.Boundary][]made,
) (eventstore.NewEvent, error) {
	c := d.call
	by := Stamp{By: c.Meta.Actor.Sub}
	e := eventstore.NewEvent{Stream: fact.Stream, Subjects: fact.Subjects}
	var err error
	if e.ID, err = uuid.NewV7(); err != nil {
		return e, fmt.Errorf("making an event id: %w", err)
	}
	fact.ID = e.ID
	if fact, err = t.sealed(d, fact); err != nil {
		return e, err
	}
	e.Tags = distinct(append([]domain.Tag{fact.Stream}, fact.Tags...))
	for _, tag := range e.Tags {
		if !tag.Boundary() {
			return e, fmt.Errorf("a decider wrote the tag %q; subjects belong in Subjects", tag)
		}
		boundary := eventstore.Boundary{Org: c.Meta.Org, Tag: tag}
		f, placed := after[boundary]
		if !placed {
			f, placed = t.states[boundary]
		}
		switch {
		case placed && t.unreadable[boundary] != nil && tag != fact.Stream:
			// Nobody decides on it in this turn, and finish forgets it.
		case placed:
			after[boundary] = f.apply(tag, fact, by)
		case tag == fact.Stream:
			return e, fmt.Errorf("a decider wrote to the stream %q, which it did not name", fact.Stream)
		default:
			unread[boundary] = append(unread[boundary], made{fact, by})
		}
	}
	for _, subject := range fact.Subjects {
		e.Tags = append(e.Tags, domain.SubjectTag(subject))
	}
	e.Tags = distinct(e.Tags)
	for _, tag := range e.Tags {
		if err := tag.Validate(); err != nil {
			return e, err
		}
	}
	if e.Reason, err = t.sealedReason(d, fact); err != nil {
		return e, err
	}
	e.Version = after[eventstore.Boundary{Org: c.Meta.Org, Tag: fact.Stream}].version
	if e.Type, e.SchemaVersion, e.Data, err = t.loop.codec.Encode(fact.Payload); err != nil {
		return e, err
	}
	return e, checkSize(e, c.Meta)
}

// checkSize holds the whole of an event to the limit: whatever is stored must fit a
// message to NATS, too.
func checkSize(e eventstore.NewEvent, m domain.Meta) error {
	size := len(e.Stream) + len(e.Reason) + len(m.RequestID) + len(m.CorrelationID) + len(m.CausationID)
	for _, tag := range e.Tags {
		size += len(tag)
	}
	for _, subject := range e.Subjects {
		size += len(subject)
	}
	if size > eventstore.MaxDescriptionBytes {
		return problem.New(problem.TooLarge, "event_too_large",
			"The change concerns so much at once that its event is described by %d bytes; the most is %d. Split it up.", size, eventstore.MaxDescriptionBytes)
	}
	if size += len(e.Data); size > eventstore.MaxEventBytes {
		return problem.New(problem.TooLarge, "event_too_large",
			"The change makes an event of %d bytes; the most is %d. Split it up.", size, eventstore.MaxEventBytes)
	}
	return nil
}

func distinct(tags []domain.Tag) []domain.Tag {
	out := tags[:0]
	for _, tag := range tags {
		if !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out
}

// errPanic marks a fault of a decider, a fold or an upcaster.
var errPanic = errors.New("a domain function panicked")

func recoverInto(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack())
	}
}
