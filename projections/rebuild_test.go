package projections

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/migrations"
)

func TestRebuildUnderWritesEqualsTheLiveView(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.Feed = subscription.NewFeed(broker.JetStream)
	h.stream(t, broker.JetStream, 1)
	h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(500)...))

	// Somebody writes and somebody watches the position all the while.
	done := make(chan struct{})
	var wait sync.WaitGroup
	var last int64
	wait.Go(func() {
		stream := entity.Stream(uuid.New())
		last = h.append(t, happening{"acme", stream, entity.Created{Type: "thing"}})
		for {
			select {
			case <-done:
				return
			default:
				h.append(t, newEntities(5)...)
				last = h.append(t, happening{"acme", stream, entity.Updated{Attributes: map[string]json.RawMessage{"n": json.RawMessage(`1`)}}})
				h.publish(t, broker.JetStream, streamEnd(t, broker.JetStream))
			}
		}
	})
	wait.Go(func() {
		var seen int64
		for {
			select {
			case <-done:
				return
			default:
				at := h.view(t).Position
				if at < seen {
					t.Errorf("the position went from %d back to %d", seen, at)
				}
				seen = at
			}
		}
	})
	for range 5 {
		require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	}
	close(done)
	wait.Wait()
	h.reaches(t, last)
	// On a slow machine a lease is lost and a build is begun again, under a new name.
	live, schemas := h.view(t).Schema, h.schemas(t)
	require.Len(t, schemas, 2, "the live one and the one before it")
	require.Contains(t, schemas, live)
	require.NotContains(t, schemas, "entities_v1")
	h.checkAgainstRebuild(t)
}

func TestRebuildTellsItsProgress(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(1500)...)
	h.append(t, newEntities(700)...)
	var seen []Job
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", func(j Job) { seen = append(seen, j) }))
	for i, j := range seen[1:] {
		require.GreaterOrEqual(t, j.Done, seen[i].Done)
	}
	last := seen[len(seen)-1]
	require.Equal(t, []any{StateCompleted, int64(2200), int64(2200), "", byOperator}, []any{last.State, last.Done, last.Total, last.Error, last.RequestedBy})
	require.Positive(t, last.Rate)
	jobs, err := Jobs(t.Context(), h.admin)
	require.NoError(t, err)
	require.Equal(t, []Job{last}, jobs)
	require.ErrorIs(t, Rebuild(t.Context(), h.options, "nothing", nil), ErrUnknownView)
}

// slow is the entities view of a program that gets stuck at the first batch it builds
// beside the live view, until released.
type slow struct{ reached, release chan struct{} }

func newSlow() *slow { return &slow{reached: make(chan struct{}, 100), release: make(chan struct{})} }

func (s *slow) projection() Projection {
	projection := Entities()
	projection.Apply = func(batch *pgx.Batch, schema string, events []Event) error {
		if schema != quoted("entities_v1") {
			s.reached <- struct{}{}
			<-s.release
		}
		return Entities().Apply(batch, schema, events)
	}
	return projection
}

func TestCancelledRebuildLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, cancel := range map[string]func(*testing.T, *hub, func()){
		"by its caller": func(_ *testing.T, _ *hub, end func()) { end() },
		"from elsewhere": func(t *testing.T, h *hub, _ func()) {
			t.Helper()
			found, err := Cancel(t.Context(), h.admin, "entities")
			require.NoError(t, err)
			require.True(t, found)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, stuck := newHub(t), newSlow()
			h.append(t, newEntities(1500)...)
			// Whoever takes the job gets stuck, the caller or the engine.
			h.run(t, New(h.with(stuck.projection())))
			h.reaches(t, 1500)
			ctx, end := context.WithCancel(t.Context())
			defer end()
			ended := make(chan error, 1)
			go func() { ended <- Rebuild(ctx, h.with(stuck.projection()), "entities", nil) }()
			hubtest.Wait(t, patience, "the rebuild to begin", stuck.reached)
			cancel(t, h, end)
			h.until(t, "the wish has arrived", func() bool { return h.job(t).cancel })
			close(stuck.release)
			err := hubtest.Wait(t, patience, "the rebuild to end", ended)
			require.Error(t, err)
			require.True(t, errors.Is(err, context.Canceled) || errors.Is(err, errCancelled), err)
			h.until(t, "the job has ended", func() bool { return h.job(t).State == StateCancelled })
			h.until(t, "its tables are gone", func() bool { return slices.Equal(h.schemas(t), []string{"entities_v1"}) })
			found, err := Cancel(t.Context(), h.admin, "entities")
			require.NoError(t, err)
			require.False(t, found, "there is nothing to cancel any more")
			h.checkAgainstRebuild(t)
		})
	}
}

// The process that does a rebuild is stopped, or pauses for longer than its lease:
// another takes it up, and the first does no harm when it wakes.
func TestRebuildIsTakenOverFromAProcessThatIsStuck(t *testing.T) {
	t.Parallel()
	h, stuck := newHub(t), newSlow()
	h.append(t, newEntities(1500)...)
	h.run(t, New(h.options))
	h.reaches(t, 1500)
	j, isNew, err := Request(t.Context(), h.admin, "entities", KindRebuild)
	require.NoError(t, err)
	require.True(t, isNew)
	again, isNew, err := Request(t.Context(), h.admin, "entities", KindRebuild)
	require.NoError(t, err)
	require.False(t, isNew)
	require.Equal(t, j.ID, again.ID, "one that is under way is joined")
	_, _, err = Request(t.Context(), h.admin, "entities", KindVerify)
	require.ErrorIs(t, err, ErrBusy)

	// It may also be the engine that has begun it; then there is nothing to take over.
	h.until(t, "the engine has done it", func() bool { return h.job(t).State == StateCompleted })
	dead := newBuilder(h.with(stuck.projection()), Entities(), &progress{})
	require.NoError(t, dead.begin(t.Context()))
	events := h.events(t)
	require.NoError(t, dead.write(t.Context(), events[:4]))
	live := h.view(t).Schema

	// As if its process had claimed a job and died.
	_, err = h.admin.Exec(t.Context(), `INSERT INTO view_jobs (view, version, kind, requested_by, state, attempts, started_at)
		VALUES ('entities', 1, 'rebuild', 'operator', 'running', 1, clock_timestamp())`)
	require.NoError(t, err)
	h.until(t, "the engine has taken it up", func() bool { return h.job(t).State == StateCompleted })
	require.Equal(t, 2, h.job(t).attempts)
	require.Equal(t, live, h.view(t).Previous)
	require.NotContains(t, h.schemas(t), dead.at.schema)

	// Should it not have been dead after all, it does no harm.
	require.ErrorIs(t, dead.write(t.Context(), events[4:8]), errMoved)
	_, err = dead.swap(t.Context())
	require.ErrorIs(t, err, errOvertaken)
	dead.drop(t.Context(), h.view(t).Schema)
	dead.drop(t.Context(), h.view(t).Previous)
	require.Len(t, h.schemas(t), 2, "what is pointed to is never dropped")
	h.checkAgainstRebuild(t)
}

func TestJobThatTakesItsProcessWithItEnds(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(1)...))
	_, err := h.admin.Exec(t.Context(), `INSERT INTO view_jobs (view, version, kind, requested_by, state, attempts, started_at)
		VALUES ('entities', 1, 'rebuild', 'operator', 'running', $1, clock_timestamp())`, maxJobAttempts)
	require.NoError(t, err)
	h.until(t, "it fails", func() bool { return h.job(t).State == StateFailed })
	require.Equal(t, errTooManyAttempts.Error(), h.job(t).Error)
}

func TestRebuildsAtTheSameTimeTakeTurns(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(1200)...)
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			if err := Rebuild(t.Context(), h.options, "entities", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.NotEqual(t, "entities_v1", h.view(t).Schema)
	require.Len(t, h.rows(t, h.view(t).Schema), 1200)
}

// A program with a newer version of a projection builds it beside the old one; a
// program of the old version stops writing then, and says why.
func TestNewVersionIsBuiltBesideTheOld(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(20)...)
	former := New(h.options)
	h.run(t, former)
	h.reaches(t, 20)

	next := Entities()
	next.Version = 2
	newer := New(h.with(next))
	alsoNewer := New(h.with(next))
	h.run(t, newer)
	h.run(t, alsoNewer)
	h.until(t, "the new version is live", func() bool { return h.view(t).Version == 2 })
	require.Equal(t, "entities_v2_2", h.view(t).Schema)
	h.reaches(t, h.append(t, newEntities(5)...))
	require.Len(t, h.rows(t, "entities_v2_2"), 25)
	h.until(t, "the former program says why it stopped", func() bool { return former.Status()[0].Err != "" })
	require.Equal(t, "the view is at version 2 and this program writes version 1", former.Status()[0].Err)
	require.ErrorAs(t, Rebuild(t.Context(), h.options, "entities", nil), new(*versionError))
	// The former program keeps up what it made, so that there is a way back.
	h.until(t, "the former tables are kept up", func() bool { return h.view(t).PreviousPosition == 25 })
	require.Equal(t, "entities_v1", h.view(t).Previous)
	require.Equal(t, h.rows(t, "entities_v2_2"), h.rows(t, "entities_v1"))

	// Going back holds, until somebody asks for the new version again.
	schema, err := Rollback(t.Context(), h.with(next), "entities")
	require.NoError(t, err)
	require.Equal(t, "entities_v1", schema)
	require.Equal(t, 1, h.view(t).Version)
	h.until(t, "the newer program says why it does not build it again", func() bool {
		return strings.Contains(newer.Status()[0].Err+alsoNewer.Status()[0].Err, "it was rolled back")
	})
	h.until(t, "the former program goes on", func() bool { return former.Status()[0].Err == "" && former.Status()[0].Schema == "entities_v1" })
	h.reaches(t, h.append(t, newEntities(5)...))
	require.Len(t, h.rows(t, "entities_v1"), 30)
	require.NoError(t, Rebuild(t.Context(), h.with(next), "entities", nil))
	require.Equal(t, "entities_v2_3", h.view(t).Schema)
	h.reaches(t, h.append(t, newEntities(5)...))
	require.Len(t, h.rows(t, "entities_v2_3"), 35)
}

// The new version is swapped in only when it is as far as the old.
func TestNewVersionBehindTheOldIsNotSwappedIn(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(20)...)
	h.run(t, New(h.options))
	h.reaches(t, 20)
	next := Entities()
	next.Version = 2
	behind := newBuilder(h.with(next), next, &progress{})
	require.NoError(t, behind.begin(t.Context()))
	require.NoError(t, behind.write(t.Context(), h.events(t)[:5]))
	for range maxSwapEvents / 500 {
		h.append(t, newEntities(500)...)
	}
	h.reaches(t, h.append(t, newEntities(1)...))
	swapped, err := behind.swap(t.Context())
	require.NoError(t, err)
	require.False(t, swapped, "too far behind to catch up while others wait")
	require.Equal(t, 1, h.view(t).Version)
	require.NoError(t, behind.build(t.Context()))
	require.Equal(t, 2, h.view(t).Version)
	require.EqualValues(t, 21+maxSwapEvents, h.view(t).Position)
}

// A view that holds an end which the log has lost is replaced by what the log has now,
// though that is shorter.
func TestAViewOfALostEndIsReplaced(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(20)...)
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	lost := h.view(t).Schema
	_, err := h.options.Pool.Exec(t.Context(), `UPDATE view_checkpoints SET position = 48, epoch = gen_random_uuid() WHERE schema = $1`, lost)
	require.NoError(t, err)
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	require.NotEqual(t, lost, h.view(t).Schema)
	require.EqualValues(t, 20, h.view(t).Position)
	require.Len(t, h.rows(t, h.view(t).Schema), 20)
}

// What lacks more than the live view does not take its place.
func TestBuildThatIsWorseIsNotSwappedIn(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	program := &picky{key: "poison", fail: func(*pgx.Batch) error { return errors.New("cannot") }}
	h.append(t, created(entity.Stream(uuid.New()), "poison"))
	stop := h.run(t, New(h.options))
	h.reaches(t, 1)
	stop()
	require.ErrorContains(t, Rebuild(t.Context(), h.with(program.projection()), "entities", nil), errWorse.Error())
	require.Equal(t, []string{"entities_v1"}, h.schemas(t))
	require.Equal(t, StateFailed, h.job(t).State)
	program.mended.Store(true)
	require.NoError(t, Rebuild(t.Context(), h.with(program.projection()), "entities", nil))
}

func TestRollbackAndPrune(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(10)...)
	_, err := Rollback(t.Context(), h.options, "entities")
	require.ErrorIs(t, err, ErrNoPrevious)
	h.run(t, New(h.options))
	h.reaches(t, 10)
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	h.reaches(t, h.append(t, newEntities(10)...))
	h.until(t, "the former tables are kept up", func() bool { return h.view(t).PreviousPosition == 20 })
	require.Equal(t, h.rows(t, "entities_v1_2"), h.rows(t, "entities_v1"))

	schema, err := Rollback(t.Context(), h.options, "entities")
	require.NoError(t, err)
	require.Equal(t, "entities_v1", schema)
	require.Equal(t, "entities_v1", h.view(t).Schema)
	require.Equal(t, "entities_v1_2", h.view(t).Previous)
	h.reaches(t, h.append(t, newEntities(10)...))

	dropped, err := Prune(t.Context(), h.options, "entities")
	require.NoError(t, err)
	require.Equal(t, []string{"entities_v1_2"}, dropped)
	require.Equal(t, []string{"entities_v1"}, h.schemas(t))
	_, err = Rollback(t.Context(), h.options, "entities")
	require.ErrorIs(t, err, ErrNoPrevious)
	_, err = Prune(t.Context(), h.options, "nothing")
	require.ErrorIs(t, err, ErrUnknownView)
	h.reaches(t, h.append(t, newEntities(10)...))
	h.checkAgainstRebuild(t)
}

// Without anybody to keep the former tables up, going back catches up first.
func TestRollbackNeverGoesBackInPositions(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(10)...)
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	live := h.view(t)
	w := h.writer(t, live.Schema)
	for range 5 {
		h.append(t, newEntities(1000)...)
	}
	require.NoError(t, w.catchUpTo(t.Context(), 5010))

	// A program of another version cannot.
	next := Entities()
	next.Version = 2
	_, err := Rollback(t.Context(), h.with(next), "entities")
	require.ErrorIs(t, err, ErrPreviousBehind)
	_, err = Rollback(t.Context(), h.options, "entities")
	require.NoError(t, err)
	require.Equal(t, live.Previous, h.view(t).Schema)
	require.EqualValues(t, 5010, h.view(t).Position)
	require.Equal(t, h.rows(t, live.Schema), h.rows(t, live.Previous))
}

func TestTablesAreSecured(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t,
		happening{"acme", entity.Stream(uuid.New()), entity.Created{Type: "thing"}},
		happening{"acme", entity.TypeStream("thing"), entity.TypeDefined{Name: "thing", Schema: json.RawMessage(`{}`)}},
		happening{"other", entity.Stream(uuid.New()), entity.Created{Type: "thing"}},
	)
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	schema := h.view(t).Schema
	query := hubtest.Pool(t, h.url, string(eventstore.RoleQuery))
	count := func(org, table string) (n int) {
		batch := &pgx.Batch{}
		batch.Queue(`SELECT set_config('hub.org', $1, true)`, org)
		batch.Queue(`SELECT count(*) FROM ` + schema + `.` + table).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
		require.NoError(t, query.SendBatch(t.Context(), batch).Close())
		return n
	}
	require.Equal(t, 1, count("acme", "entities"), "no WHERE, and still nothing of another organisation")
	require.Equal(t, 1, count("other", "entities"))
	require.Equal(t, 0, count("other", "entity_types"))
	require.Equal(t, 0, count("", "entities"))
	var n int
	require.NoError(t, query.QueryRow(t.Context(), `SELECT count(*) FROM `+schema+`.entities`).Scan(&n))
	require.Zero(t, n, "no organisation, no rows")
	for _, statement := range []string{
		`UPDATE ` + schema + `.entities SET type = 'x'`, `DELETE FROM ` + schema + `.entity_types`,
		`TRUNCATE ` + schema + `.entities`, `DROP TABLE ` + schema + `.entities`,
		`UPDATE view_pointers SET schema = 'x'`, `SELECT advance_view('` + schema + `', 3, 4, gen_random_uuid(), now(), 0)`,
	} {
		_, err := query.Exec(t.Context(), statement)
		require.Error(t, err, statement)
	}
}

func TestMigrationsGoDownWithViewsAndUpAgain(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(5)...)
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	dead := newBuilder(h.options, Entities(), &progress{})
	require.NoError(t, dead.begin(t.Context()))
	require.NoError(t, migrations.Projections.Down(t.Context(), h.url))
	require.Empty(t, h.schemas(t))
	require.NoError(t, migrations.Projections.Up(t.Context(), h.url))
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	require.Len(t, h.rows(t, "entities_v1_2"), 5)
}
