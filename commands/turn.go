package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// maxRounds bounds how often a command may name further boundaries after seeing
// the ones it named before: transaction → its accounts → their entities is three. A
// domain.Walker says itself how far it goes.
const maxRounds = 4

// turn is one pass of the loop over some calls. base holds each boundary as the log
// has it, states as the commands decided so far would leave it.
type turn struct {
	loop   *Loop
	calls  []*call
	load   eventstore.Loader
	base   map[eventstore.Boundary]folded
	states map[eventstore.Boundary]folded
	// unreadable are boundaries with events that this program cannot decode or fold, or
	// with too many of them: whoever would decide on one fails, alone.
	unreadable map[eventstore.Boundary]error
	// unread are the facts decided so far for boundaries that nobody had read: should
	// a later command read one, it must see them.
	unread map[eventstore.Boundary][]made
	// locked says that nobody else can append: from then on the cache, which may be
	// behind, is not asked.
	locked  bool
	decided []decided
	vault   vault
}

func (l *Loop) newTurn(calls []*call) *turn {
	return &turn{
		loop: l, calls: calls,
		base: make(map[eventstore.Boundary]folded), states: make(map[eventstore.Boundary]folded),
		unreadable: make(map[eventstore.Boundary]error), vault: newVault(),
	}
}

// made is a fact of a turn and who made it.
type made struct {
	fact domain.Fact
	by   Stamp
}

// decided is what one call came to, before the log has confirmed it.
type decided struct {
	call    *call
	outcome eventstore.Outcome
	// resource is what the outcome is about, as this call leaves it.
	resource folded
	// needs are the keys and names that it was decided with.
	needs needs
	// err is a refusal, validated and perhaps kept, or a fault, neither.
	err error
}

// kept reports whether the outcome gets a row in receipts.
func (d decided) kept() bool {
	if d.call.DryRun {
		return false
	}
	if d.err == nil {
		return len(d.outcome.Events) > 0 || d.outcome.IdempotencyKey != ""
	}
	return d.outcome.Refusal != nil
}

// turn decides calls and answers every one of them.
func (l *Loop) turn(ctx context.Context, calls []*call) {
	if len(calls) == 0 {
		return
	}
	l.metrics.turn.Observe(float64(len(calls)))
	for _, c := range calls {
		c.span.Number("hub.turn.commands", int64(len(calls)))
	}
	// What was taken from the queue is settled even when the process is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.settle)
	defer cancel()
	leaders, followers := separate(calls)
	l.newTurn(leaders).settle(ctx)
	var again []*call
	for _, c := range followers {
		leader := c.leader
		switch p := problem.Of(leader.err); {
		case p != nil && p.Code == keyReused:
			again = append(again, c.call) // its request may be the one that was answered before
		case leader.err == nil, Kept(p):
			c.replayTo(leader.RequestHash, leader.receipt, leader.err)
		default:
			c.answer(Receipt{}, leader.err)
		}
	}
	if len(again) > 0 {
		l.turn(ctx, again)
	}
}

// settle tries until every call is answered: first on what the cache and one read
// say, then, if that was out of date, under the log's lock, where nothing can move
// any more. After an error that leaves the outcome open it asks again with the same
// command ids, so that what was written is found and nothing is written twice.
func (t *turn) settle(ctx context.Context) {
	appended, err := t.attempt(ctx)
	unknown := false
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		switch {
		case err == nil && !appended.Refused():
			t.finish(appended)
			return
		case errors.Is(err, eventstore.ErrUnknownOutcome):
			unknown = true
			t.loop.log.Warn("the outcome of a turn is unknown, asking again", slog.Any("error", err))
		case eventstore.BadData(err):
			t.isolate(ctx, err)
			return
		case err != nil && !unknown:
			t.fail(unavailable(err))
			return
		}
		if err != nil && !wait(ctx, pause) {
			t.fail(fmt.Errorf("%w (%w)", outcomeUnknown(), err))
			return
		}
		t.loop.metrics.again(unknown)
		appended, err = t.attemptLocked(ctx)
	}
}

// isolate ends a turn with something in it that the log cannot take: nothing of it
// was written, and all but the call at fault are done alone.
func (t *turn) isolate(ctx context.Context, err error) {
	if len(t.calls) == 1 {
		t.fail(err)
		return
	}
	for _, c := range t.calls {
		t.loop.newTurn([]*call{c}).settle(ctx)
	}
}

func unavailable(err error) error {
	p := problem.New(problem.Unavailable, "log_unavailable",
		"The event log cannot be reached or refuses to be written. Nothing was done; send it again later.").Retry(2 * time.Second)
	return fmt.Errorf("%w (%w)", p, err)
}

// wait pauses, and reports false when there is no time left for another try.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt decides on cached and freshly read states and lets the append check them.
func (t *turn) attempt(ctx context.Context) (eventstore.Appended, error) {
	if t.loop.incarnation == "" {
		// It is learned under the lock, before anything is read that could be lost.
		return eventstore.Appended{Other: true}, nil
	}
	phase := lap{t, time.Now()}
	t.load = t.loop.store.Load
	if err := t.prefetch(ctx); err != nil {
		return eventstore.Appended{}, err
	}
	phase.end(t.loop.metrics.load)
	if err := t.decide(ctx); err != nil {
		return eventstore.Appended{}, err
	}
	phase.end(t.loop.metrics.decide)
	defer phase.end(t.loop.metrics.append)
	appended, err := t.loop.store.Append(ctx, t.turn())
	if keyring.Taken(err) {
		return eventstore.Appended{Other: true}, nil
	}
	return appended, err
}

// attemptLocked decides again while nobody else can append. It first answers the
// calls whose outcome is already stored.
func (t *turn) attemptLocked(ctx context.Context) (appended eventstore.Appended, err error) {
	phase := lap{t, time.Now()}
	defer phase.end(t.loop.metrics.locked)
	err = t.loop.store.Locked(ctx, func(log *eventstore.LockedLog) error {
		if err := t.answerKnown(ctx, log); err != nil {
			return err
		}
		t.load, t.locked = log.Load, true
		if log.Incarnation != t.loop.incarnation {
			t.forgetAll(log.Incarnation)
			if err := t.prefetch(ctx); err != nil {
				return err
			}
		}
		if err := t.catchUp(ctx); err != nil {
			return err
		}
		if err := t.recheck(ctx); err != nil {
			return err
		}
		if err := t.decide(ctx); err != nil {
			return err
		}
		if appended, err = log.Append(ctx, t.turn()); err != nil {
			return err
		}
		if appended.Refused() {
			return errors.New("a turn decided under the log's lock was refused")
		}
		return nil
	})
	return appended, err
}

// forgetAll drops what was read from a log that was perhaps longer than this one:
// nothing may be decided on events that were lost.
func (t *turn) forgetAll(incarnation string) {
	t.loop.cache, t.loop.incarnation = newCache(), incarnation
	clear(t.base)
	clear(t.states)
	clear(t.unreadable)
}

// answerKnown answers, and takes out of the turn, calls that have a stored outcome.
func (t *turn) answerKnown(ctx context.Context, log *eventstore.LockedLog) error {
	keys := make([]eventstore.ReceiptKey, len(t.calls))
	for i, c := range t.calls {
		keys[i] = eventstore.ReceiptKey{CommandID: c.Meta.CommandID, Org: c.Meta.Org, Caller: c.Meta.Actor.Sub, Key: c.IdempotencyKey}
	}
	found, err := log.FindReceipts(ctx, keys)
	if err != nil || len(found) == 0 {
		return err
	}
	var open []*call
	for _, c := range t.calls {
		if !answerFrom(found, c) {
			open = append(open, c)
		}
	}
	t.calls = open
	return nil
}

func answerFrom(found []eventstore.StoredOutcome, c *call) bool {
	for _, o := range found {
		sameCommand := o.CommandID == c.Meta.CommandID
		sameKey := c.IdempotencyKey != "" && scope{o.Org, o.Caller, o.IdempotencyKey} == c.scope()
		if !sameCommand && !sameKey {
			continue
		}
		receipt, err := replay(o)
		if sameCommand {
			// Our own earlier try: this is the first answer, not a replay.
			receipt.Replayed = false
			c.answer(receipt, err)
		} else {
			c.replayTo(o.RequestHash, receipt, err)
		}
		return true
	}
	return false
}

// turn is what the log is asked to write: every boundary used, every outcome kept.
// Nothing was decided on an unreadable one, so it may move.
func (t *turn) turn() eventstore.Turn {
	out := eventstore.Turn{Incarnation: t.loop.incarnation}
	for boundary, f := range t.base {
		if t.unreadable[boundary] != nil {
			continue
		}
		out.Marks = append(out.Marks, eventstore.Mark{Boundary: boundary, Head: f.head})
	}
	for _, d := range t.decided {
		if d.kept() {
			out.Outcomes = append(out.Outcomes, d.outcome)
		}
	}
	if keys, tokens := t.kept(); len(keys)+len(tokens) > 0 {
		out.With = keyring.Keep(keys, tokens)
	}
	return out
}

// finish remembers the states that the log has confirmed and answers all calls.
func (t *turn) finish(appended eventstore.Appended) {
	position := appended.Base
	if keys, _ := t.kept(); len(keys) > 0 {
		t.loop.keys.Remember(keys)
	}
	for _, d := range t.decided {
		if d.call.Represent != "" {
			d.call.keys = t.vault.keys
		}
		if d.err != nil {
			d.call.answer(Receipt{}, d.err)
			continue
		}
		r := d.receipt(position, appended.RecordedAt)
		if !d.call.DryRun {
			position = r.Position
		}
		d.call.answer(r, nil)
	}
	for boundary, f := range t.states {
		if t.unreadable[boundary] != nil {
			t.loop.cache.evict(boundary)
			continue
		}
		// None of them had moved before the turn and all of the turn is folded in.
		f = f.recorded(appended.RecordedAt)
		f.head = position
		if f.unsaved >= snapshotEvery && position > appended.Base && t.loop.snapshots.offer(boundary, f, t.lastEvent()) {
			f.unsaved = 0
		}
		t.loop.cache.put(boundary, f)
	}
	t.loop.metrics.events.Add(float64(position - appended.Base))
	t.loop.metrics.cacheBytes.Set(float64(t.loop.cache.bytes))
	if position > appended.Base && t.loop.appended != nil {
		t.loop.appended(position)
	}
}

// lastEvent is the event that the turn wrote last.
func (t *turn) lastEvent() (id uuid.UUID) {
	for _, d := range t.decided {
		if n := len(d.outcome.Events); n > 0 && d.err == nil && !d.call.DryRun {
			id = d.outcome.Events[n-1].ID
		}
	}
	return id
}

// receipt is the answer to an accepted call whose events come after a position. Those
// of a dry run have no positions, and it tells their data instead.
func (d decided) receipt(after int64, at time.Time) Receipt {
	r := Receipt{
		ID: d.outcome.ResourceID, Version: d.outcome.Version, Position: after,
		Events: make([]ReceiptEvent, 0, len(d.outcome.Events)), Created: d.outcome.Created,
	}
	for _, event := range d.outcome.Events {
		if d.call.DryRun {
			r.Events = append(r.Events, ReceiptEvent{Type: event.Type, Data: event.Data})
			continue
		}
		r.Position++
		r.Events = append(r.Events, ReceiptEvent{Type: event.Type, Position: r.Position})
	}
	if d.call.Represent != "" {
		r.Resource = d.resource.recorded(at).resource(r.ID)
	}
	return r
}

// fail answers all calls with a fault and forgets what they had read.
func (t *turn) fail(err error) {
	for boundary := range t.base {
		t.loop.cache.evict(boundary)
	}
	for _, c := range t.calls {
		if p := problem.Of(err); c.DryRun && p != nil && p.Kind == problem.OutcomeUnknown {
			c.answer(Receipt{}, unavailable(err))
			continue
		}
		c.answer(Receipt{}, err)
	}
}
