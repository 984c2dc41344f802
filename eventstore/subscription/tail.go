package subscription

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

// What is kept of each organisation that somebody follows. It serves those who are at the
// end of the log and wake at the same moment; who is further back reads the log.
const (
	recentEvents = 256
	// recentBytes is room for one event of the largest, and for hundreds of usual ones.
	recentBytes = 256 << 10
)

const (
	// lingerTime is for how long the log is followed after the last one has left: whoever
	// asks again and again must not have a consumer made each time.
	lingerTime = 10 * time.Second
	// lookInterval is how often that is looked at while the log is silent.
	lookInterval = 5 * time.Second
	// tailPause is between two attempts to go on when the log cannot be read.
	tailPause = 500 * time.Millisecond
)

// Tail lets any number in a process wait for events of their organisations by one
// subscription: it says who has news, and a follower reads them from the log as
// eventstore.RoleQuery, so that row-level security decides what anybody gets. Followers
// of one organisation share that reading.
//
//	HUB_EVENTS, log's head ──▶ Tail ──▶ news ──▶ Follower ──▶ recent events, or the log
//
// While nobody follows, nothing is read.
type Tail struct {
	options Options
	came    chan struct{}
	metrics tailMetrics

	mu       sync.Mutex
	orgs     map[string]*recent
	lastLeft time.Time
}

// NewTail makes a tail; Run must run for followers to have news. The store acts as
// eventstore.RoleQuery; a filter has no meaning.
func NewTail(options Options) *Tail {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	options.Filter, options.HeadsOnly = Filter{}, true
	return &Tail{options: options, came: make(chan struct{}, 1), orgs: map[string]*recent{}, metrics: newTailMetrics(options.Metrics)}
}

// tailMetrics tell how soon followers hear of events.
type tailMetrics struct {
	delay    *telemetry.Histogram
	failures *telemetry.Counter
}

func newTailMetrics(registry *telemetry.Registry) tailMetrics {
	return tailMetrics{
		delay:    registry.Histogram("hub_event_tail_delay_seconds", "From the recording of an event until those who follow here are woken, of the first event of a batch.", telemetry.Seconds()),
		failures: registry.Counter("hub_event_tail_failures_total", "Times that the end of the log could not be followed; tried again soon."),
	}
}

// Head is the end of the log now. Error: ErrLogAway.
func (t *Tail) Head(ctx context.Context) (Place, error) {
	position, epoch, err := t.options.Store.Head(ctx)
	if err != nil {
		return Place{}, errors.Join(ErrLogAway, err)
	}
	return Place{Position: position, Epoch: epoch}, nil
}

// Read returns what there is now, for those who do not wait. It is as Follower.Read.
func (t *Tail) Read(ctx context.Context, filter Filter, after Place, within Bounds) (Batch, error) {
	return NewReader(t.options.Store, filter).Page(ctx, after, 0, within)
}

// Run follows the log while there are followers, until the context ends; then it returns
// nil.
func (t *Tail) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.came:
			t.follow(ctx)
		}
	}
}

// follow returns when nobody has followed for a while.
func (t *Tail) follow(ctx context.Context) {
	s := New(t.options)
	defer s.Close()
	var at Place
	for failing := false; ctx.Err() == nil && !t.deserted(); {
		next, err := t.step(ctx, s, at)
		if err == nil {
			at, failing = next, false
			continue
		}
		t.metrics.failures.Inc()
		if !failing {
			t.options.Log.Warn("events: waiting for the log", "error", err)
			failing = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(tailPause):
		}
	}
}

// step goes on from a place, or begins at the end of the log: who came before that is
// told to look once more.
func (t *Tail) step(ctx context.Context, s *Subscription, at Place) (Place, error) {
	limited, cancel := context.WithTimeout(ctx, lookInterval)
	defer cancel()
	if at == (Place{}) {
		head, err := t.Head(limited)
		if err == nil {
			t.tell(Batch{Unseen: true})
		}
		return head, err
	}
	batch, err := s.Next(limited, at)
	var forked *ForkedError
	switch {
	case err == nil:
		t.tell(batch)
		return batch.At, nil
	case errors.As(err, &forked):
		t.tell(Batch{Unseen: true}) // each finds out about its own place
		return forked.From, nil
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrLogAway):
		return at, nil
	}
	return at, err
}

// tell wakes the followers of the organisations that have news.
func (t *Tail) tell(batch Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if batch.Unseen {
		for _, org := range t.orgs {
			org.wake()
		}
		return
	}
	if len(batch.Events) > 0 {
		t.metrics.delay.Observe(time.Since(batch.Events[0].RecordedAt).Seconds())
	}
	told := map[string]bool{}
	for _, e := range batch.Events {
		if org := t.orgs[e.Org]; org != nil && !told[e.Org] {
			told[e.Org] = true
			org.wake()
		}
	}
}

func (t *Tail) deserted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.orgs) == 0 && time.Since(t.lastLeft) > lingerTime
}

// Follow joins those who follow an organisation, which the filter must name. The follower
// is closed by whoever asked for it.
func (t *Tail) Follow(filter Filter) *Follower {
	t.mu.Lock()
	defer t.mu.Unlock()
	org := t.orgs[filter.Org]
	if org == nil {
		org = &recent{
			reader:  NewReader(t.options.Store, Filter{Org: filter.Org}),
			reading: make(chan struct{}, 1), followers: map[*Follower]struct{}{},
		}
		org.stale.Store(true)
		t.orgs[filter.Org] = org
	}
	f := &Follower{tail: t, org: org, filter: filter, reader: NewReader(t.options.Store, filter), news: make(chan struct{}, 1)}
	org.followers[f] = struct{}{}
	select {
	case t.came <- struct{}{}:
	default:
	}
	return f
}

// Follower reads the events of one organisation that pass a filter, and hears when there
// are more. It is used by one goroutine.
type Follower struct {
	tail   *Tail
	org    *recent
	filter Filter
	reader *Reader
	news   chan struct{}
	// end is where the log ended when this one read it last: from there on, recent events
	// are enough.
	end Place
}

// News has an element when there may be something to read since it was taken last.
func (f *Follower) News() <-chan struct{} { return f.news }

// Read returns what there is after a place, without waiting. It follows the log of the
// database and no copy: an event that PostgreSQL has lost is not in it. The batch is that
// of Reader.Page. Errors: those of Reader.Read, and the context's.
func (f *Follower) Read(ctx context.Context, after Place, within Bounds) (Batch, error) {
	batch, served, err := f.fromRecent(ctx, after, within)
	if served || err != nil {
		return batch, err
	}
	batch, err = f.reader.Page(ctx, after, 0, within)
	if err == nil && !batch.More {
		f.end = batch.At
	}
	return batch, err
}

// fromRecent does without the log, if the recent events reach back to the place.
func (f *Follower) fromRecent(ctx context.Context, after Place, within Bounds) (batch Batch, served bool, err error) {
	r := f.org
	select {
	case r.reading <- struct{}{}:
		defer func() { <-r.reading }()
	case <-ctx.Done():
		return Batch{}, false, ctx.Err()
	}
	if after == f.end && after.Epoch != uuid.Nil && (r.at.Epoch != after.Epoch || r.at.Position < after.Position) {
		r.begin(after) // nobody has kept it up to date
	}
	if !r.reachesBackTo(after) {
		return Batch{}, false, nil
	}
	current, err := r.update(ctx)
	if err != nil || !current || !r.reachesBackTo(after) {
		return Batch{}, false, err
	}
	return r.after(after, f.filter, within), true, nil
}

// Close leaves.
func (f *Follower) Close() {
	t := f.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(f.org.followers, f)
	if len(f.org.followers) == 0 {
		delete(t.orgs, f.filter.Org)
		t.lastLeft = time.Now()
	}
}

// recent is the end of one organisation's log, shared by its followers.
type recent struct {
	reader *Reader
	// reading is held by whoever reads or changes what follows it.
	reading chan struct{}
	// events are all of the organisation after from and up to at, where the zero epoch is
	// nowhere.
	events []domain.Event
	size   int
	from   int64
	at     Place

	// stale says that the log has gone on since it was read.
	stale atomic.Bool
	// followers is guarded by the tail's mutex.
	followers map[*Follower]struct{}
}

func (r *recent) wake() {
	r.stale.Store(true)
	for f := range r.followers {
		select {
		case f.news <- struct{}{}:
		default:
		}
	}
}

// begin forgets all, and goes on from a place.
func (r *recent) begin(at Place) {
	r.events, r.size, r.from, r.at = nil, 0, at.Position, at
	r.stale.Store(true)
}

func (r *recent) reachesBackTo(place Place) bool {
	return r.at.Epoch != uuid.Nil && place.Epoch == r.at.Epoch && place.Position >= r.from
}

// update reads what has come; false says that there is more than recent events are for.
func (r *recent) update(ctx context.Context) (current bool, err error) {
	if !r.stale.Swap(false) {
		return true, nil
	}
	batch, err := r.reader.Page(ctx, r.at, 0, Bounds{Events: recentEvents, Bytes: recentBytes})
	var forked *ForkedError
	switch {
	case errors.As(err, &forked), errors.Is(err, ErrLogBehind):
		r.begin(Place{}) // the log has lost what is kept here
		return false, nil
	case err != nil:
		r.stale.Store(true)
		return false, err
	}
	r.events, r.at = append(r.events, batch.Events...), batch.At
	for _, e := range batch.Events {
		r.size += len(e.Data)
	}
	drop := 0
	for ; len(r.events)-drop > recentEvents || r.size > recentBytes && drop < len(r.events); drop++ {
		r.size -= len(r.events[drop].Data)
		r.from = r.events[drop].Position
	}
	r.events = append([]domain.Event(nil), r.events[drop:]...) // lets go of those dropped
	if batch.More {
		r.stale.Store(true)
	}
	return !batch.More, nil
}

// after is what passes a filter after a place.
func (r *recent) after(place Place, filter Filter, within Bounds) Batch {
	batch, size := Batch{At: Place{Position: max(place.Position, r.at.Position), Epoch: r.at.Epoch}}, 0
	for _, e := range r.events {
		if e.Position <= place.Position || !filter.Wants(e) {
			continue
		}
		if len(batch.Events) == within.Events || size >= within.Bytes {
			batch.At.Position, batch.More = batch.Events[len(batch.Events)-1].Position, true
			break
		}
		batch.Events = append(batch.Events, e)
		size += len(e.Data)
	}
	return batch
}
