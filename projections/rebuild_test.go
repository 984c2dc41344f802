package projections

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/migrations"
)

func TestRebuildUnderWritesEqualsTheLiveView(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.NATS = broker.JetStream
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
	require.Equal(t, "entities_v1_6", h.view(t).Schema)
	require.Equal(t, []string{"entities_v1_6"}, h.schemas(t))
	h.checkAgainstRebuild(t)
}

func TestRebuildTellsItsProgress(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(1500)...)
	h.append(t, newEntities(700)...)
	var steps [][2]int64
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", func(done, total int64) { steps = append(steps, [2]int64{done, total}) }))
	require.Equal(t, [][2]int64{{0, 2200}, {1000, 2200}, {2000, 2200}, {2200, 2200}}, steps)
	require.ErrorIs(t, Rebuild(t.Context(), h.options, "nothing", nil), ErrUnknownView)
}

func TestCancelledRebuildLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(1500)...)
	h.run(t, New(h.options))
	h.reaches(t, 1500)
	ctx, cancel := context.WithCancel(t.Context())
	err := Rebuild(ctx, h.options, "entities", func(done, _ int64) {
		if done > 0 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"entities_v1"}, h.schemas(t))
	h.checkAgainstRebuild(t)
}

// A rebuild whose process died leaves a schema and a checkpoint that stands still.
func TestRebuildCleansUpAfterOneThatDied(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, newEntities(10)...)
	h.run(t, New(h.options))
	h.reaches(t, 10)
	dead := newBuilder(h.options, Entities())
	require.NoError(t, dead.begin(t.Context()))
	events := h.events(t)
	require.NoError(t, dead.write(t.Context(), h.options.Pool, events[:4]))
	require.Equal(t, "entities_v1", h.view(t).Schema, "the live view is untouched")

	// While it may be alive, nobody takes its place.
	require.ErrorIs(t, newBuilder(h.options, Entities()).begin(t.Context()), errBuilding)

	_, err := h.admin.Exec(t.Context(), `UPDATE view_checkpoints SET updated_at = updated_at - interval '1 hour' WHERE schema = 'entities_v1_2'`)
	require.NoError(t, err)
	h.checkAgainstRebuild(t)
	require.Equal(t, []string{"entities_v1_2"}, h.schemas(t))

	// Should it not have been dead after all, it does no harm.
	require.ErrorIs(t, dead.write(t.Context(), h.options.Pool, events[4:8]), errOvertaken)
	_, err = dead.swap(t.Context())
	require.ErrorIs(t, err, errOvertaken)
	dead.drop(t.Context(), dead.at.schema)
	require.Equal(t, []string{"entities_v1_2"}, h.schemas(t), "what is live is never dropped")
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
	require.Equal(t, "entities_v1_4", h.view(t).Schema)
	require.Len(t, h.rows(t, "entities_v1_4"), 1200)
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
	newer := newEngine(h.options, []Projection{next})
	alsoNewer := newEngine(h.options, []Projection{next})
	h.run(t, newer)
	h.run(t, alsoNewer)
	h.until(t, "the new version is live", func() bool { return h.view(t).Version == 2 })
	require.Equal(t, "entities_v2", h.view(t).Schema)
	h.reaches(t, h.append(t, newEntities(5)...))
	require.Len(t, h.rows(t, "entities_v2"), 25)
	h.until(t, "the former program says why it stopped", func() bool { return former.Status()[0].Err != "" })
	require.Equal(t, "the view is at version 2 and this program writes version 1", former.Status()[0].Err)
	require.ErrorAs(t, Rebuild(t.Context(), h.options, "entities", nil), new(*versionError))
	// The engine that came second may have begun to build, too, and drops that.
	h.until(t, "only the live schema is left", func() bool { return slices.Equal(h.schemas(t), []string{"entities_v2"}) })
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
		`UPDATE view_pointers SET schema = 'x'`, `SELECT advance_view('` + schema + `', 3, 4, gen_random_uuid())`,
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
	dead := newBuilder(h.options, Entities())
	require.NoError(t, dead.begin(t.Context()))
	require.NoError(t, migrations.Projections.Down(t.Context(), h.url))
	require.Empty(t, h.schemas(t))
	require.NoError(t, migrations.Projections.Up(t.Context(), h.url))
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	require.Len(t, h.rows(t, "entities_v1_2"), 5)
}
