package reactions

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/lease"
	"github.com/reactdjango-hub/backend/projections"
)

// The area of these tests: alarms. Nothing in the domain keeps an alarm from ringing
// twice, and ringing does not take it out of the view: only the timers do.
type (
	alarmChanged struct {
		// Due is nil when the alarm is not to ring.
		Due *time.Time `json:"due"`
	}
	rung struct {
		Alarm string    `json:"alarm"`
		Due   time.Time `json:"due"`
	}
)

func (alarmChanged) EventType() string { return "alarm.changed" }
func (rung) EventType() string         { return "alarm.rung" }

func alarms() domain.Timer {
	return domain.Timer{Name: "alarm", Types: []string{alarmChanged{}.EventType()}, Change: func(e domain.Event, p domain.Payload) (domain.TimerChange, bool) {
		change := domain.TimerChange{Key: e.Stream.Name()}
		alarm, ok := p.(alarmChanged)
		if alarm.Due != nil {
			change.Set, change.Due = true, *alarm.Due
		}
		return change, ok
	}}
}

// ringing is the timer of these tests. What an alarm is called decides how it fails,
// while h.fails says so.
func (h *hub) ringing() Timer {
	return Timer{Timer: alarms(), Command: func(d DueTimer) domain.Decider {
		command := write{stream: domain.NewTag("ring", "all"), payload: rung{d.Key, d.Due}}
		switch {
		case d.Key == refused:
			command.refuse = h.fails
		case d.Key == panics && h.fails.Load():
			panic("on purpose, with a value")
		}
		return command
	}}
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// at is minutes after the clock's beginning.
func at(minutes int) time.Time {
	return time.Date(2031, time.May, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
}

func (c *clock) set(minutes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = at(minutes)
}

// clockwork is a hub with timers.
type clockwork struct {
	*hub
	clock *clock
	views projections.Options
	// stopView ends the keeping of the view.
	stopView func()
}

// newClockwork has a view of timers that is kept until the test ends.
func newClockwork(t *testing.T) *clockwork {
	t.Helper()
	h := &clockwork{hub: newHub(t), clock: &clock{now: at(0)}}
	h.options.Now = h.clock.Now
	pool, err := eventstore.OpenPool(context.Background(), h.url, eventstore.RoleProjector, 4)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	h.views = projections.Options{
		Pool: pool, Store: eventstore.New(pool), Codec: h.options.Codec, Log: slog.New(slog.DiscardHandler),
		Projections: []projections.Projection{projections.Timers([]domain.Timer{alarms()})},
	}
	h.keepView(t)
	return h
}

// keepView lets the view follow the log until the test ends or stopView is called.
func (h *clockwork) keepView(t *testing.T) {
	t.Helper()
	engine := projections.New(h.views)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	h.stopView = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, hubtest.Wait(t, patience, "the view to stop", ended))
	})
	t.Cleanup(h.stopView)
}

// start runs an engine with the timers of these tests.
func (h *clockwork) start(t *testing.T) (engine *Engine, stop func()) {
	t.Helper()
	engine = newEngine(h.options, nil, h.ringing())
	return engine, h.runEngine(t, engine)
}

// alarm sets an alarm of an organisation; a negative minute cancels it.
func (h *clockwork) alarm(t *testing.T, org, name string, minutes int) {
	t.Helper()
	var change alarmChanged
	if minutes >= 0 {
		due := at(minutes)
		change.Due = &due
	}
	_, err := h.loop.Submit(t.Context(), commands.Submission{
		Decider: write{stream: domain.NewTag("alarm", name), payload: change},
		Meta:    domain.Meta{Org: org, Actor: domain.Actor{Sub: "ana", Person: "ana"}, CorrelationID: "c-" + name},
	})
	require.NoError(t, err)
}

// rung waits until so many alarms have rung, and compares them: organisation and name,
// in the order of the log.
func (h *clockwork) rung(t *testing.T, alarms ...string) {
	t.Helper()
	var found []string
	h.until(t, fmt.Sprintf("%v have rung", alarms), func() bool {
		rows, err := h.admin.Query(t.Context(), `SELECT org || '/' || (convert_from(data, 'UTF8')::json->>'alarm') FROM events WHERE type = 'alarm.rung' ORDER BY position`)
		require.NoError(t, err)
		found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return len(found) >= len(alarms)
	})
	require.Equal(t, alarms, found)
}

// purge deletes all receipts, as if a week had passed.
func (h *clockwork) purge(t *testing.T) {
	t.Helper()
	_, err := h.admin.Exec(t.Context(), `DELETE FROM receipts`)
	require.NoError(t, err)
}

// marked waits until so many timers are marked.
func (h *clockwork) marked(t *testing.T, count int) {
	t.Helper()
	h.until(t, fmt.Sprintf("%d timers are marked", count), func() (done bool) {
		require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT count(*) >= $1 FROM timer_marks`, count).Scan(&done))
		return done
	})
}

func TestTimersFireOnceWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	h.start(t)
	h.alarm(t, "acme", "late", 60)
	h.alarm(t, "acme", "early", 10)
	h.alarm(t, "acme", "middle", 20)
	h.clock.set(10)
	h.rung(t, "acme/early")
	h.clock.set(59)
	h.rung(t, "acme/early", "acme/middle")
	h.clock.set(60)
	h.rung(t, "acme/early", "acme/middle", "acme/late")

	var caused, correlates bool
	var actor string
	require.NoError(t, h.admin.QueryRow(t.Context(), `
		SELECT r.causation_id = a.id::text, r.correlation_id = a.correlation_id, r.actor->>'sub' FROM events a, events r
		 WHERE a.stream = 'alarm:late' AND r.type = 'alarm.rung' AND convert_from(r.data, 'UTF8')::json->>'alarm' = 'late'`).Scan(&caused, &correlates, &actor))
	require.True(t, caused)
	require.True(t, correlates)
	require.Equal(t, "system:reactor", actor)
}

// More than are taken up at a time, and set in the opposite order.
func TestTimersFireLateInOrderAfterDowntime(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	var want []string
	for n := range maxDue + 20 {
		h.alarm(t, "acme", fmt.Sprint(n), 1000-n)
		want = append([]string{fmt.Sprint("acme/", n)}, want...)
	}
	h.clock.set(5000)
	h.start(t)
	h.rung(t, want...)
}

func TestCancelledAndReplacedTimers(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	h.start(t)
	h.alarm(t, "acme", "cancelled", 10)
	h.alarm(t, "acme", "later", 10)
	h.alarm(t, "acme", "sooner", 1000)
	h.alarm(t, "acme", "cancelled", -1)
	h.alarm(t, "acme", "later", 30)
	h.alarm(t, "acme", "sooner", 5)
	h.alarm(t, "acme", "between", 20)
	h.clock.set(20)
	h.rung(t, "acme/sooner", "acme/between")
	h.clock.set(2000)
	h.rung(t, "acme/sooner", "acme/between", "acme/later")

	// One that has fired fires again when it is set again.
	h.alarm(t, "acme", "sooner", 2100)
	h.clock.set(2100)
	h.rung(t, "acme/sooner", "acme/between", "acme/later", "acme/sooner")
}

// A view that is behind has what was cancelled in time still.
func TestNothingFiresFromAViewThatIsBehind(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	h.alarm(t, "acme", "cancelled", 10)
	h.until(t, "the view has it", func() bool {
		views, err := projections.List(t.Context(), h.options.Pool)
		require.NoError(t, err)
		return len(views) == 1 && views[0].Position == 1
	})
	h.stopView()
	h.alarm(t, "acme", "cancelled", -1)
	h.clock.set(10)
	engine, _ := h.start(t)
	h.until(t, "it has looked", func() bool { return engine.Status()[0].Err == errTimersBehind.Error() })
	h.keepView(t)
	h.alarm(t, "acme", "next", 10)
	h.rung(t, "acme/next")
	h.until(t, "all is well", func() bool { return engine.Status()[0].Err == "" })
}

func TestTimersOfOrganisationsAreApart(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	h.start(t)
	h.alarm(t, "acme", "same", 10)
	h.alarm(t, "other", "same", 20)
	h.alarm(t, "third", "same", 15)
	h.alarm(t, "third", "same", -1)
	h.clock.set(20)
	h.rung(t, "acme/same", "other/same")
	h.alarm(t, "third", "last", 21)
	h.clock.set(21)
	h.rung(t, "acme/same", "other/same", "third/last")
}

func TestTwoWhoLeadTimersFireOnce(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	for _, name := range []string{"timers", "other"} { // the lease of each is its own
		engine := newEngine(h.options, nil, h.ringing())
		engine.timers.lease = lease.New(lease.Options{Pool: h.options.Pool, Table: lease.ViewTable, Name: name, TTL: h.options.LeaseTTL})
		h.runEngine(t, engine)
	}
	var want []string
	for n := range 30 {
		h.alarm(t, "acme", fmt.Sprint(n), 10+n)
		want = append(want, fmt.Sprint("acme/", n))
	}
	h.clock.set(100)
	h.rung(t, want...)
	h.alarm(t, "acme", "last", 101)
	h.clock.set(101)
	h.rung(t, append(want, "acme/last")...)
}

// A process dies after the command is on disk and before the mark is.
func TestKilledBetweenCommandAndMarkATimerFiresOnce(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	h.alarm(t, "acme", "a", 10)
	h.clock.set(10)
	submit, written := h.options.Submit, make(chan struct{}, 1)
	h.options.Submit = func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
		if _, err := submit(ctx, s); err == nil {
			written <- struct{}{}
		}
		<-ctx.Done()
		return commands.Receipt{}, ctx.Err()
	}
	_, kill := h.start(t)
	hubtest.Wait(t, patience, "the command", written)
	kill()
	var marks int
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT count(*) FROM timer_marks`).Scan(&marks))
	require.Zero(t, marks)

	h.options.Submit = submit
	h.start(t)
	h.marked(t, 1)
	h.alarm(t, "acme", "b", 11)
	h.clock.set(11)
	h.rung(t, "acme/a", "acme/b")
}

// The receipts are gone, too: only the mark knows.
func TestAViewBuiltAgainFiresNothingAgain(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	_, stop := h.start(t)
	h.alarm(t, "acme", "a", 10)
	h.alarm(t, "acme", refused, 11)
	h.alarm(t, "acme", "c", 30)
	h.clock.set(20)
	h.marked(t, 2)
	stop()
	h.fails.Store(false)
	h.purge(t)
	require.NoError(t, projections.Rebuild(t.Context(), h.views, "timers", nil))
	h.start(t)
	h.clock.set(30)
	h.rung(t, "acme/a", "acme/c")
}

// What the log has lost since a timer fired may be what it led to.
func TestATimerFiresAgainWhenTheLogHasLostItsEffect(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	_, stop := h.start(t)
	h.alarm(t, "acme", "a", 10)
	h.alarm(t, "acme", "b", 11)
	h.clock.set(11)
	h.marked(t, 2)
	stop()
	h.purge(t)
	// The mark of a says that it is of a history which this log never had.
	tag, err := h.admin.Exec(t.Context(), `UPDATE timer_marks SET epoch = gen_random_uuid() WHERE set_by = (SELECT id FROM events WHERE stream = 'alarm:a')`)
	require.NoError(t, err)
	require.EqualValues(t, 1, tag.RowsAffected())
	h.start(t)
	h.rung(t, "acme/a", "acme/b", "acme/a")
}

// The domain says no: that is the end of the timer, and the code is kept. What fails
// otherwise is parked, others go on, and a retry after the fix fires it.
func TestRefusedAndParkedTimers(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	engine, _ := h.start(t)
	h.alarm(t, "acme", refused, 10)
	h.alarm(t, "acme", panics, 11)
	h.alarm(t, "acme", "fine", 12)
	h.clock.set(12)
	h.rung(t, "acme/fine")
	var reason string
	var last bool
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT reason, position >= 3 FROM timer_marks WHERE outcome = 'refused'`).Scan(&reason, &last))
	require.Equal(t, "not_today", reason)
	require.True(t, last, "it hangs on all that the log had, not on what has set the timer alone")

	parked := h.parked(t, 1)
	require.Equal(t, "timer_alarm", h.listing(t).Name)
	require.Equal(t, []any{"alarm:" + panics, "the reaction panicked; the log says where", maxAttempts}, []any{parked[0].Stream, parked[0].Reason, parked[0].Attempts})
	h.until(t, "the status tells", func() bool { return engine.Status()[0].Parked == 1 })
	require.True(t, engine.Status()[0].Leading)

	h.fails.Store(false)
	_, err := Retry(t.Context(), h.options.Pool, "timer_alarm", parked[0].Position)
	require.NoError(t, err)
	h.rung(t, "acme/fine", "acme/"+panics)
	h.parked(t, 0)
}

func TestDroppedTimerIsGivenUp(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	h.start(t)
	h.alarm(t, "acme", panics, 10)
	h.clock.set(10)
	h.until(t, "it is listed", func() bool {
		listings, err := List(t.Context(), h.options.Pool)
		require.NoError(t, err)
		return len(listings) == 1 && listings[0].Parked == 1
	})
	h.fails.Store(false)
	dropped, err := Drop(t.Context(), h.options.Pool, "timer_alarm", 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, dropped)
	h.alarm(t, "acme", "next", 11)
	h.clock.set(11)
	h.rung(t, "acme/next")
}

// Whoever begins to lead tidies up: what is not set any more needs no mark after a day,
// and no retry; what is set keeps its mark for ever.
func TestMarksOfTimersThatAreNotSetAreDeleted(t *testing.T) {
	t.Parallel()
	h := newClockwork(t)
	_, stop := h.start(t)
	for n, name := range []string{"set", "fresh", "old", panics} {
		h.alarm(t, "acme", name, 10+n)
	}
	h.clock.set(20)
	h.marked(t, 4)
	stop()
	parked := h.parked(t, 1)
	for _, name := range []string{"fresh", "old", panics} {
		h.alarm(t, "acme", name, -1)
	}
	_, err := Retry(t.Context(), h.options.Pool, "timer_alarm", parked[0].Position)
	require.NoError(t, err)
	_, err = h.admin.Exec(t.Context(), `UPDATE timer_marks SET marked_at = marked_at - interval '25 hours'
		 WHERE set_by IN (SELECT id FROM events WHERE stream IN ('alarm:set', 'alarm:old'))`)
	require.NoError(t, err)
	h.start(t)
	h.parked(t, 0)
	rows, err := h.admin.Query(t.Context(), `SELECT e.stream FROM timer_marks m JOIN events e ON e.id = m.set_by ORDER BY e.position`)
	require.NoError(t, err)
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"alarm:set", "alarm:fresh", "alarm:" + panics}, left)
}

func TestEveryTimerHasItsCommand(t *testing.T) {
	t.Parallel()
	var views, commands []string
	for _, kind := range projections.TimerKinds() {
		views = append(views, kind.Name)
		require.Regexp(t, `^[a-z][a-z_]{0,39}$`, kind.Name)
	}
	for _, timer := range Timers() {
		commands = append(commands, timer.Name)
		require.NotNil(t, timer.Command)
	}
	require.ElementsMatch(t, views, commands)
}
