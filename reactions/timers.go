package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/lease"
)

// Timers fire from the view "timers", which the log makes as any view:
//
//	view, due and not marked ──▶ Watermill's router ──▶ Command ──▶ commands.Loop ──▶ mark
//	(as far as the log is)       (retries, time-outs)   (pure)      once, by its id
//
// A timer that was set by one event fires once. The id of its command is made from that
// event's, so a crash before the mark leads to the same command, which the receipts
// answer; the mark is in no view, so a view built again fires nothing again. What was
// due while nobody looked fires late, the earliest first. Before anything fires the view
// is as far as the log was when the time had come: what was cancelled by then is not due.
//
// A refusal of the domain is the end of a timer. A command that fails otherwise is parked
// after some attempts, as the reaction timer_NAME, and others go on.
const timersName = "timers"

// Timer is a kind of timer with what happens when it is due.
type Timer struct {
	domain.Timer
	// Command is what to do then. It is pure. Its decider looks whether that is still
	// wanted: between the view and the decision events may have come, and a views'
	// database that is lost has lost what has fired before.
	Command func(DueTimer) domain.Decider
}

// DueTimer is a timer whose time has come.
type DueTimer struct {
	Org, Kind, Key string
	Due            time.Time
	// SetBy is the event that has set it, SetAt its position.
	SetBy         uuid.UUID
	SetAt         int64
	Stream        domain.Tag
	Type          string
	CorrelationID string
	RequestID     string
}

const (
	// maxDue bounds what is taken up at a time: a second or so of commands.
	maxDue = 100
	// lookInterval is how late a timer can be that was set just before it was due.
	lookInterval = time.Second
	// reachTimeout is how long the view may take to get where the log is, and
	// reachInterval between looks.
	reachTimeout  = 10 * time.Second
	reachInterval = 50 * time.Millisecond
	// tidyInterval is between looks for marks that nobody needs.
	tidyInterval = time.Minute
)

// What a message about a timer comes back with.
const (
	refusedKey  = "refused"
	decidedKey  = "decided_at"
	firedMark   = "fired"
	refusedMark = "refused"
	parkedMark  = "parked"
)

var (
	errNoTimers     = errors.New("the view of timers is not there yet")
	errTimersBehind = errors.New("the view of timers is behind the log")
	errTimersForked = errors.New("the log has lost events that the view of timers holds: rebuild it")
)

// timers brings Watermill's router the timers that are due, one at a time.
type timers struct {
	options Options
	kinds   map[string]Timer
	names   []string
	// reactions are the names under which timers are parked, by index of names.
	reactions []string
	metrics   *timerMetrics
	lease     *lease.Lease
	stop      context.CancelFunc

	// Of whoever leads: the epoch that all marks are of, and when it was tidied up.
	epoch  uuid.UUID
	tidied time.Time

	mu     sync.Mutex
	status Status
	// show tells metrics of the status.
	show func(Status)
}

func newTimers(options Options, kinds []Timer) *timers {
	t := &timers{
		options: options, kinds: map[string]Timer{}, status: Status{Name: timersName}, stop: func() {}, show: func(Status) {},
		lease: lease.New(lease.Options{
			Pool: options.Pool, Table: lease.ViewTable, Name: timersName, TTL: options.LeaseTTL, Log: options.Log,
		}),
	}
	for _, kind := range kinds {
		t.kinds[kind.Name] = kind
		t.names, t.reactions = append(t.names, kind.Name), append(t.reactions, parkedAs(kind.Name))
	}
	t.metrics = newTimerMetrics(options.Metrics, t.names)
	return t
}

// parkedAs is the reaction that timers of a kind are listed under.
func parkedAs(kind string) string { return "timer_" + kind }

// Subscribe implements message.Subscriber.
func (t *timers) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	ctx, t.stop = context.WithCancel(ctx)
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		t.lease.Run(ctx, func(ctx context.Context, _ int64) { t.lead(ctx, out) })
	}()
	return out, nil
}

// Close implements message.Subscriber.
func (t *timers) Close() error {
	t.stop()
	return nil
}

// lead fires what is due until the lease is lost.
func (t *timers) lead(ctx context.Context, out chan<- *message.Message) {
	defer t.update(func(status *Status) { *status = Status{Name: timersName} })
	defer t.metrics.looked(nil, time.Time{})
	t.epoch, t.tidied = uuid.Nil, time.Time{}
	backoff := firstBackoff
	for ctx.Err() == nil {
		pause, err := t.round(ctx, out)
		if err != nil && ctx.Err() == nil {
			t.failed(err)
			pause, backoff = backoff, min(2*backoff, lastBackoff)
		} else {
			backoff = firstBackoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// round fires what is due now, the earliest first, and says when to look again.
func (t *timers) round(ctx context.Context, out chan<- *message.Message) (pause time.Duration, err error) {
	now := t.options.Now()
	view, err := t.view(ctx)
	if err != nil {
		return 0, err
	}
	if err := t.note(ctx, view); err != nil {
		return 0, err
	}
	due, err := t.due(ctx, view, now)
	if err != nil {
		return 0, err
	}
	t.metrics.looked(due, now)
	tidy := time.Since(t.tidied) > tidyInterval
	if len(due) == 0 && !tidy {
		return t.untilNext(ctx, view, now)
	}
	if view, err = t.reach(ctx); err != nil {
		return 0, err
	}
	if tidy {
		if err := t.tidy(ctx, view); err != nil {
			return 0, err
		}
		t.tidied = time.Now()
	}
	if due, err = t.due(ctx, view, now); err != nil { // without what was cancelled meanwhile
		return 0, err
	}
	for _, d := range due {
		if err := t.fire(ctx, out, d); err != nil {
			return 0, err
		}
	}
	if len(due) > 0 {
		return 0, nil // there may be more
	}
	return t.untilNext(ctx, view, now)
}

// reach waits until the view is where the log is now, on the history that the log has.
func (t *timers) reach(ctx context.Context) (timersView, error) {
	history, err := t.options.Store.History(ctx)
	if err != nil {
		return timersView{}, fmt.Errorf("%w: %w", subscription.ErrLogAway, err)
	}
	if err := t.forget(ctx, history); err != nil {
		return timersView{}, err
	}
	deadline := time.After(reachTimeout)
	ticker := time.NewTicker(reachInterval)
	defer ticker.Stop()
	for {
		view, err := t.view(ctx)
		switch {
		case err != nil:
			return view, err
		case !history.Has(view.epoch, view.position):
			return view, errTimersForked
		case view.position >= history.Head:
			return view, nil
		}
		select {
		case <-ctx.Done():
			return view, ctx.Err()
		case <-deadline:
			return view, errTimersBehind
		case <-ticker.C:
		}
	}
}

// fire hands a timer to the router until it is done with, and marks it.
func (t *timers) fire(ctx context.Context, out chan<- *message.Message, d DueTimer) error {
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("writing a timer of kind %s as a message: %w", d.Kind, err)
	}
	msg, err := deliver(ctx, out, func() *message.Message {
		msg := message.NewMessageWithContext(ctx, d.SetBy.String(), data)
		msg.Metadata.Set(positionKey, strconv.FormatInt(d.SetAt, 10))
		return msg
	}, func() { t.failed(errWaiting) })
	if err != nil {
		return err
	}
	outcome, err := t.mark(ctx, d, msg)
	if err != nil {
		return err
	}
	t.metrics.fired(d, outcome, t.options.Now())
	return nil
}

// handle gives the command of a timer.
func (t *timers) handle(msg *message.Message) error {
	var d DueTimer
	if err := json.Unmarshal(msg.Payload, &d); err != nil {
		return fmt.Errorf("reading a message about a timer: %w", err)
	}
	receipt, err := t.options.Submit(msg.Context(), commands.Submission{
		Decider: t.kinds[d.Kind].Command(d),
		Meta: domain.Meta{
			Org: d.Org, Actor: actor, CorrelationID: d.CorrelationID, CausationID: d.SetBy.String(), RequestID: d.RequestID,
			// By the clock that says it is due.
			Now:       t.options.Now(),
			CommandID: uuid.NewSHA1(commandIDs, fmt.Appendf(nil, "timer/%s/%s", d.Kind, d.SetBy)),
		},
	})
	if p := problem.Of(err); p != nil && p.Kind != problem.Internal && !isAway(err) {
		msg.Metadata.Set(refusedKey, p.Code)
		return nil
	}
	if err == nil {
		msg.Metadata.Set(decidedKey, strconv.FormatInt(receipt.Position, 10))
	}
	return err
}

// markedLater is where the router parks timers: fire sees that from the message.
type markedLater struct{}

// Publish implements message.Publisher.
func (markedLater) Publish(string, ...*message.Message) error { return nil }

// Close implements message.Publisher.
func (markedLater) Close() error { return nil }

func (t *timers) currentStatus() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

func (t *timers) update(change func(*Status)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.status)
	t.show(t.status)
}

// failed shows a failure; repeated ones are logged once.
func (t *timers) failed(err error) {
	says := "the database of the views does not answer"
	for _, known := range []error{subscription.ErrLogAway, errNoTimers, errTimersBehind, errTimersForked, errWaiting, errParkingFull} {
		if errors.Is(err, known) {
			says = known.Error()
		}
	}
	t.update(func(status *Status) {
		if status.Err != says {
			t.options.Log.Warn("reactions: timers do not go on", "reason", says, "error", err)
		}
		status.Leading, status.Err = true, says
	})
}
