package reactions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/internal/telemetry"
	"github.com/reactdjango-hub/backend/projections"
)

// workshop is a log with the view of its jobs, and entities to work on.
type workshop struct {
	url   string
	admin *pgxpool.Pool
	codec *eventstore.Codec
	// own is a process of whoever tests.
	own *process
}

// process is a loop with its keys.
type process struct {
	loop *commands.Loop
	keys *keyring.Keyring
	pool *pgxpool.Pool
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	url := hubtest.Database(t, hubtest.LogAndViews())
	w := &workshop{url: url, admin: hubtest.Pool(t, url, ""), codec: eventstore.NewCodec(entity.Kinds()...)}
	w.own = w.process(t)
	background(t, func(ctx context.Context) {
		_ = projections.New(projections.Options{
			Pool: w.own.pool, Store: eventstore.New(w.own.pool), Codec: w.codec, Log: slog.New(slog.DiscardHandler),
			Projections: []projections.Projection{projections.WorkJobs()},
		}).Run(ctx)
	})
	w.submit(t, entities.DefineEntityType{Name: "thing", Schema: json.RawMessage(`{}`), Sensitive: []string{"secret"}})
	return w
}

// background runs a part until the test ends or stop is called.
func background(t *testing.T, run func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); run(ctx) }()
	stop = func() {
		cancel()
		hubtest.Wait(t, patience, "a part to stop", ended)
	}
	t.Cleanup(stop)
	return stop
}

func (w *workshop) process(t *testing.T) *process {
	t.Helper()
	masters, err := keyring.NewMasters(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	commanding := hubtest.Pool(t, w.url, string(eventstore.RoleCommand))
	p := &process{
		keys: keyring.New(keyring.Options{Pool: commanding, Masters: masters}),
		pool: hubtest.Pool(t, w.url, string(eventstore.RoleProjector)),
	}
	p.loop = commands.New(commands.Options{
		Store: eventstore.New(commanding), Codec: w.codec, Folds: entity.Folds(), Keys: p.keys, Log: slog.New(slog.DiscardHandler),
	})
	background(t, p.loop.Run)
	return p
}

// reactor runs the jobs in a process of its own, through the submit that around makes.
func (w *workshop) reactor(t *testing.T, around func(Submit) Submit) (engine *Engine, stop func()) {
	t.Helper()
	p := w.process(t)
	submit := Submit(p.loop.Submit)
	if around != nil {
		submit = around(submit)
	}
	engine = New(Options{
		Pool: p.pool, Store: eventstore.New(p.pool), Codec: w.codec, Submit: submit, LeaseTTL: time.Second,
		Erase: func(ctx context.Context, org, subject string) error {
			return p.keys.Erase(ctx, keyring.Ref{Org: org, Subject: subject}, nil)
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: telemetry.New("test"),
	})
	return engine, background(t, func(ctx context.Context) { _ = engine.Run(ctx) })
}

func (w *workshop) submit(t *testing.T, d domain.Decider) commands.Receipt {
	t.Helper()
	receipt, err := w.own.loop.Submit(t.Context(), commands.Submission{Decider: d, Meta: domain.Meta{
		Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "p-7"}, Roles: []string{"editor"}, Reason: "a campaign", CorrelationID: "c-1",
	}})
	require.NoError(t, err)
	return receipt
}

// things makes entities and returns them as they would be selected.
func (w *workshop) things(t *testing.T, count int) []entity.Selected {
	t.Helper()
	made := make([]entity.Selected, count)
	for i := range made {
		made[i] = entity.Selected{ID: uuid.Must(uuid.NewV7()), Version: 1}
		w.submit(t, entities.CreateEntity{ID: made[i].ID, Type: "thing", Attributes: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(i))}})
	}
	return made
}

// start starts a job and returns its id.
func (w *workshop) start(t *testing.T, document string, merge bool, selected ...entity.Selected) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	w.submit(t, entities.StartBulkUpdate{Days: domain.JobDays(time.Now()), Update: entity.NewBulkUpdate{
		ID: id, Document: json.RawMessage(document), Merge: merge, Selected: selected,
	}})
	return id
}

// events are those of the log that the condition holds for, as text.
func (w *workshop) events(t *testing.T, columns, condition string, arguments ...any) []string {
	t.Helper()
	rows, err := w.admin.Query(t.Context(), `SELECT concat_ws(' ', `+columns+`) FROM events WHERE `+condition+` ORDER BY position`, arguments...)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

// until waits until the job has an event of a type.
func (w *workshop) until(t *testing.T, id uuid.UUID, eventType string) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for len(w.events(t, "type", "stream = $1 AND type = $2", string(entity.BulkUpdateStream(id)), eventType)) == 0 {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", eventType)
		}
	}
}

// outcome sums what the job's events say.
func (w *workshop) outcome(t *testing.T, id uuid.UUID) (counts domain.JobCounts, codes []string) {
	t.Helper()
	for _, data := range w.events(t, "convert_from(data, 'UTF8')", "stream = $1 AND type = 'bulk_update.progressed'", string(entity.BulkUpdateStream(id))) {
		var p entity.BulkUpdateProgressed
		require.NoError(t, json.Unmarshal([]byte(data), &p))
		counts.Updated, counts.Unchanged, counts.Failed = counts.Updated+p.Updated, counts.Unchanged+p.Unchanged, counts.Failed+len(p.Failed)
		for _, f := range p.Failed {
			codes = append(codes, f.Code)
		}
	}
	return counts, codes
}

// Whoever dies over it, however many do it at once and whatever answers are lost: each
// entity is changed once, and none is missed.
func TestABulkUpdateChangesEachEntityOnce(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	set := w.things(t, 730)
	var given atomic.Int64
	losing := func(submit Submit) Submit {
		return func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
			receipt, err := submit(ctx, s)
			if given.Add(1)%3 == 0 && !s.DryRun {
				return commands.Receipt{}, problem.New(problem.OutcomeUnknown, "outcome_unknown", "Lost on purpose.")
			}
			return receipt, err
		}
	}
	id := w.start(t, `{"attributes":{"secret":"planted","city":"Paris"}}`, false, set...)
	// Two at once for the whole time, on the same job: as if neither believed the lease.
	for range 2 {
		p := w.process(t)
		background(t, func(ctx context.Context) {
			jobs := newJobs(Options{
				Pool: p.pool, Submit: losing(p.loop.Submit), Log: slog.New(slog.DiscardHandler), Metrics: telemetry.New("test"),
				Erase: func(context.Context, string, string) error { return errors.New("not here") },
			}, JobKinds(func(context.Context, string, string) error { return errors.New("not here") }))
			jobs.lead(ctx)
		})
	}
	// And those that come and go.
	for range 3 {
		before := given.Load()
		_, stop := w.reactor(t, losing)
		deadline := time.After(patience)
		for given.Load() == before {
			select {
			case <-deadline:
				t.Fatal("nobody does anything")
			case <-time.After(time.Millisecond):
			}
		}
		stop()
	}
	w.until(t, id, "bulk_update.completed")
	counts, _ := w.outcome(t, id)
	require.Equal(t, domain.JobCounts{Updated: 730}, counts)
	updated := w.events(t, "stream", "type = 'entity.updated'")
	require.Len(t, updated, 730)
	seen := map[string]bool{}
	for _, stream := range updated {
		require.False(t, seen[stream], "%s was changed twice", stream)
		seen[stream] = true
	}
	// Each of these events is that of who has started the job, and hangs on its start.
	begun := w.events(t, "id", "type = 'bulk_update.started'")
	require.Len(t, w.events(t, "1", "type = 'entity.updated' AND actor->>'sub' = 'ana' AND actor->>'person' = 'p-7' AND reason = 'a campaign' AND correlation_id = 'c-1' AND causation_id = $1", begun[0]), 730)
	require.Empty(t, w.events(t, "1", "position(convert_to('planted', 'UTF8') IN data) > 0"), "a value is in the log in clear")

	// Who can destroys the key, and then nobody can read the patch any more.
	_, stop := w.reactor(t, nil)
	w.until(t, id, "bulk_update.cleared")
	stop()
	key, err := w.own.keys.Load(t.Context(), []keyring.Ref{{Org: "acme", Subject: id.String()}})
	require.NoError(t, err)
	if own := key[keyring.Ref{Org: "acme", Subject: id.String()}]; own != nil && !own.Erased() {
		var erased bool // this process may still have it in memory
		require.NoError(t, w.admin.QueryRow(t.Context(), `SELECT wrapped IS NULL AND erased_at IS NOT NULL FROM hub_keys.subject_keys WHERE subject = $1`, id.String()).Scan(&erased))
		require.True(t, erased)
	}
}

// What is cancelled goes not one step further.
func TestCancellingInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	id := w.start(t, `{"tags":["gold"]}`, false, w.things(t, 350)...)
	var steps atomic.Int64
	w.reactor(t, func(submit Submit) Submit {
		return func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
			if _, step := s.Decider.(entities.AdvanceBulkUpdate); step && steps.Add(1) == 3 {
				w.submit(t, entities.CancelBulkUpdate{ID: id})
			}
			return submit(ctx, s)
		}
	})
	w.until(t, id, "bulk_update.cleared")
	counts, _ := w.outcome(t, id)
	require.Equal(t, domain.JobCounts{Updated: 200}, counts)
	require.Len(t, w.events(t, "1", "type = 'entity.updated'"), 200)
	require.Empty(t, w.events(t, "1", "type = 'bulk_update.completed'"))
}

// Who changes an entity in the meantime is not overwritten, unless the job was to merge.
func TestABulkUpdateAgainstOtherChanges(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	set := w.things(t, 3)
	skipping := w.start(t, `{"attributes":{"city":"Paris"}}`, false, set...)
	w.submit(t, entities.PatchEntity{ID: set[1].ID, Patch: json.RawMessage(`{"attributes":{"city":"Lyon","rating":5}}`)})
	w.submit(t, entities.ArchiveEntity{ID: set[2].ID})
	_, stop := w.reactor(t, nil)
	w.until(t, skipping, "bulk_update.cleared")
	_, codes := w.outcome(t, skipping)
	require.Equal(t, []string{"version_conflict", "version_conflict"}, codes)
	city := func() string {
		events := w.events(t, "convert_from(data, 'UTF8')", "stream = $1 AND type = 'entity.updated'", string(entity.Stream(set[1].ID)))
		return events[len(events)-1]
	}
	require.JSONEq(t, `{"attributes":{"city":"Lyon","rating":5}}`, city())

	merging := w.start(t, `{"attributes":{"city":"Nice"}}`, true, set...)
	w.until(t, merging, "bulk_update.cleared")
	stop()
	counts, codes := w.outcome(t, merging)
	require.Equal(t, domain.JobCounts{Updated: 2, Failed: 1}, counts)
	require.Equal(t, []string{"conflict"}, codes)
	require.JSONEq(t, `{"attributes":{"city":"Nice"}}`, city())
}

// One entity that cannot be done does not hold up the others.
func TestWhatCannotBeDoneIsLeftBehind(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	set := w.things(t, 250)
	large := json.RawMessage(`{"attributes":{"large":{"text":"` + strings.Repeat("x", 200_000) + `"}}}`)
	for _, n := range []int{0, 130, 249} {
		w.submit(t, entities.PatchEntity{ID: set[n].ID, Patch: large})
		set[n].Version = 2
	}
	document := `{"attributes":{"large":{"more":"` + strings.Repeat("y", 63_000) + `"}}}`
	id := w.start(t, document, false, set[120:140]...)
	small := w.start(t, `{"attributes":{"city":"Paris"}}`, false, set[140:]...)
	w.reactor(t, nil)
	w.until(t, id, "bulk_update.cleared")
	counts, codes := w.outcome(t, id)
	require.Equal(t, domain.JobCounts{Updated: 19, Failed: 1}, counts)
	require.Equal(t, []string{"event_too_large"}, codes)
	w.until(t, small, "bulk_update.cleared")
	counts, _ = w.outcome(t, small)
	require.Equal(t, domain.JobCounts{Updated: 110}, counts)
}

// A job waits while the loop has no room, and loses nothing.
func TestAJobWaitsWhileThereIsNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	id := w.start(t, `{"attributes":{"city":"Paris"}}`, false, w.things(t, 220)...)
	var given atomic.Int64
	engine, _ := w.reactor(t, func(submit Submit) Submit {
		return func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
			if n := given.Add(1); n <= 3 || n == 5 {
				return commands.Receipt{}, problem.New(problem.Unavailable, "overloaded", "On purpose.").Retry(time.Second)
			}
			return submit(ctx, s)
		}
	})
	w.until(t, id, "bulk_update.cleared")
	counts, _ := w.outcome(t, id)
	require.Equal(t, domain.JobCounts{Updated: 220}, counts)
	require.Greater(t, given.Load(), int64(6))
	require.Equal(t, jobsName, engine.Status()[len(engine.Status())-1].Name)
}

// What the view says of a history that was lost destroys no key of a job that runs.
func TestNoKeyGoesThatTheLogStillNeeds(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	id := w.start(t, `{"attributes":{"city":"Paris"}}`, false, w.things(t, 1)...)
	erased := false
	jobs := newJobs(Options{Pool: w.own.pool, Submit: w.own.loop.Submit, Log: slog.New(slog.DiscardHandler)}, JobKinds(func(context.Context, string, string) error {
		erased = true
		return nil
	}))
	lost := &jobTurns{OpenJob: OpenJob{Org: "acme", ID: id, Kind: entity.BulkUpdateKind, State: "cancelled", By: domain.Actor{Sub: "ana", Person: "ana"}}, kind: jobs.kinds[entity.BulkUpdateKind]}
	outcome, err := jobs.step(t.Context(), lost)
	require.NoError(t, err)
	require.Equal(t, stepNothing, outcome)
	require.False(t, erased)
	w.submit(t, entities.CancelBulkUpdate{ID: id})
	_, err = jobs.step(t.Context(), lost)
	require.NoError(t, err)
	require.True(t, erased)
	require.Len(t, w.events(t, "1", "type = 'bulk_update.cleared'"), 1)
}
