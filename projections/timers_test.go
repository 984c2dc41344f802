package projections

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/organization"
)

// timezoneTimers set a timer by the time zone of an organisation's settings, which here is
// a key, a time, or a key alone, which cancels.
func timezoneTimers(name string) domain.Timer {
	return domain.Timer{Name: name, Types: []string{organization.Updated{}.EventType()}, Change: func(_ domain.Event, p domain.Payload) (domain.TimerChange, bool) {
		updated, _ := p.(organization.Updated)
		key, due, set := strings.Cut(updated.Timezone, " ")
		if key == "nothing" {
			return domain.TimerChange{}, false
		}
		change := domain.TimerChange{Key: key, Set: set}
		if set {
			change.Due, _ = time.Parse(time.RFC3339Nano, due)
		}
		return change, true
	}}
}

func setting(org, stream, text string) happening {
	return happening{org, organization.Stream(stream), organization.Updated{Settings: organization.Settings{Timezone: text}}}
}

func (h *hub) timers(t *testing.T) []string {
	t.Helper()
	var schema string
	require.NoError(t, h.options.Pool.QueryRow(t.Context(), `SELECT schema FROM view_pointers WHERE name = 'timers'`).Scan(&schema))
	rows, err := h.options.Pool.Query(t.Context(), `
		SELECT concat_ws(' ', t.org, t.kind, t.key, to_char(t.due_at AT TIME ZONE 'UTC', 'HH24:MI:SS.US'), t.set_at, t.stream, t.set_by = e.id)
		  FROM `+schema+`.timers t JOIN read_log(0, 1000) e ON e.position = t.set_at ORDER BY t.due_at, t.org, t.kind`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

func TestTheLastWordOnEachTimer(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	options := h.with(Timers([]domain.Timer{timezoneTimers("one"), timezoneTimers("two")}))
	h.append(t,
		setting("acme", "a", "a 2026-03-01T09:00:00Z"),
		setting("acme", "b", "b 2026-03-01T10:00:00Z"),
		setting("other", "a", "a 2026-03-01T11:00:00.0000001Z"), // later than PostgreSQL could say, not earlier
		setting("acme", "a", "a 2026-03-01T08:00:00Z"),
		setting("acme", "b", "nothing"),
		setting("acme", "c", "c 2026-03-01T07:00:00Z"),
		setting("acme", "c", "c"),
	)
	want := []string{
		"acme one a 08:00:00.000000 4 organization:a t", "acme two a 08:00:00.000000 4 organization:a t",
		"acme one b 10:00:00.000000 2 organization:b t", "acme two b 10:00:00.000000 2 organization:b t",
		"other one a 11:00:00.000001 3 organization:a t", "other two a 11:00:00.000001 3 organization:a t",
	}
	require.NoError(t, Rebuild(t.Context(), options, "timers", nil))
	require.Equal(t, want, h.timers(t))

	// Event by event it comes to the same.
	one, err := loadView(t.Context(), options.Pool, "timers")
	require.NoError(t, err)
	_, err = options.Pool.Exec(t.Context(), `DELETE FROM `+one.schema+`.timers`)
	require.NoError(t, err)
	_, err = options.Pool.Exec(t.Context(), `UPDATE view_checkpoints SET position = 0 WHERE schema = $1`, one.schema)
	require.NoError(t, err)
	w, err := openWriter(t.Context(), options, options.Projections[0], one.schema)
	require.NoError(t, err)
	for _, e := range h.events(t) {
		require.NoError(t, w.write(t.Context(), []domain.Event{e}))
	}
	require.Equal(t, want, h.timers(t))
}

// A timer without a time or a key is the event's fault: its stream is parked.
func TestATimerThatCannotBeParksItsStream(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	options := h.with(Timers([]domain.Timer{timezoneTimers("one")}))
	h.append(t, setting("acme", "a", "a never"), setting("acme", "b", ""), setting("acme", "c", strings.Repeat("k", maxTimerKey+1)),
		setting("acme", "d", "d 2026-03-01T07:00:00Z"))
	engine := New(options)
	h.run(t, engine)
	h.until(t, "the view is there", func() bool { return engine.Status()[0].Position == 4 })
	require.Equal(t, []string{"acme one d 07:00:00.000000 4 organization:d t"}, h.timers(t))
	require.Equal(t, 3, engine.Status()[0].Parked)
}
