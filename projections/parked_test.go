package projections

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
)

// picky is the entities view of a program that cannot apply entities that are created
// with the key, until it is mended.
type picky struct {
	key    string
	fail   func(*pgx.Batch) error
	mended atomic.Bool
}

func (p *picky) projection() Projection {
	projection := Entities()
	projection.Apply = func(batch *pgx.Batch, schema string, events []Event) error {
		for _, e := range events {
			created, ok := e.Payload.(entity.Created)
			if ok && created.Key == p.key && !p.mended.Load() {
				return p.fail(batch)
			}
		}
		return Entities().Apply(batch, schema, events)
	}
	return projection
}

// created and updated are happenings of acme.
func created(stream domain.Tag, key string) happening {
	return happening{"acme", stream, entity.Created{Type: "thing", Key: key}}
}

func updated(stream domain.Tag, n int) happening {
	return happening{"acme", stream, entity.Updated{Attributes: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(n))}}}
}

// appendRaw writes an event as no program of this version would.
func (h *hub) appendRaw(t testing.TB, stream domain.Tag, version int64, schemaVersion int, data string) {
	t.Helper()
	_, err := h.command.Append(t.Context(), eventstore.Turn{Outcomes: []eventstore.Outcome{{
		Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, CommandID: uuid.New()}, ResourceID: "1", Version: version,
		Events: []eventstore.NewEvent{{ID: uuid.New(), Stream: stream, Version: version, Type: "entity.created", SchemaVersion: schemaVersion, Tags: []domain.Tag{stream}, Data: []byte(data)}},
	}}})
	require.NoError(t, err)
}

func (h *hub) parked(t testing.TB) []Parked {
	t.Helper()
	found, err := ListParked(t.Context(), h.admin)
	require.NoError(t, err)
	return found
}

func TestPoisonEventParksItsStreamOthersGoOnAndRetrySucceedsAfterTheFix(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*pgx.Batch) error{
		"an error": func(*pgx.Batch) error { return errors.New("cannot") },
		"a panic":  func(*pgx.Batch) error { panic("cannot") },
		"the database": func(batch *pgx.Batch) error {
			batch.Queue(`SELECT 1 / 0`)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			program := &picky{key: "poison", fail: fail}
			options := h.with(program.projection())
			bad, good := entity.Stream(uuid.New()), entity.Stream(uuid.New())
			h.append(t, newEntities(20)...)
			h.append(t, created(bad, "poison"), created(good, "fine"), updated(bad, 1))
			engine := New(options)
			h.run(t, engine)
			h.reaches(t, h.append(t, newEntities(20)...))
			h.reaches(t, h.append(t, updated(good, 2), updated(bad, 2)))

			waiting := h.parked(t)
			require.Len(t, waiting, 1)
			require.Equal(t, Parked{
				View: "entities", Schema: "entities_v1", Org: "acme", Stream: bad, StreamHash: streamID{"acme", bad}.hash(), FirstPosition: 21, LastPosition: 45,
				Events: 3, Reason: reasonRefused, ParkedAt: waiting[0].ParkedAt,
			}, waiting[0])
			require.Len(t, h.rows(t, "entities_v1"), 41, "all but the parked one")
			h.until(t, "the status tells", func() bool { return engine.Status()[0].Parked == 1 && engine.Status()[0].Err == "" })
			require.Equal(t, 1, h.view(t).Parked)

			done, err := Retry(t.Context(), options, "entities")
			require.NoError(t, err)
			require.Equal(t, Retried{View: "entities", Left: 1}, done, "nothing has changed")

			program.mended.Store(true)
			done, err = Retry(t.Context(), options, "entities")
			require.NoError(t, err)
			require.Equal(t, Retried{View: "entities", Freed: 1}, done)
			require.Empty(t, h.parked(t))
			h.reaches(t, h.append(t, updated(bad, 3)))
			h.until(t, "the status tells", func() bool { return engine.Status()[0].Parked == 0 })
			h.checkAgainstRebuild(t)
		})
	}
}

func TestUnreadableEventParksItsStream(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	newer, broken := entity.Stream(uuid.New()), entity.Stream(uuid.New())
	h.append(t, newEntities(2)...)
	h.appendRaw(t, newer, 1, 7, `{}`)
	h.appendRaw(t, broken, 1, 1, `{"type":1}`)
	h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(2)...))
	waiting := h.parked(t)
	require.Len(t, waiting, 2)
	require.Equal(t, []string{reasonNewer, reasonUnreadable}, []string{waiting[0].Reason, waiting[1].Reason})
	require.Equal(t, []domain.Tag{newer, broken}, []domain.Tag{waiting[0].Stream, waiting[1].Stream})
	require.Len(t, h.rows(t, "entities_v1"), 4)
	done, err := Retry(t.Context(), h.options, "entities")
	require.NoError(t, err)
	require.Equal(t, Retried{View: "entities", Left: 2}, done)
}

// An upgraded program takes up by itself what its predecessor was too old for.
func TestEventsOfANewerProgramAreRetriedByIt(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	stream := entity.Stream(uuid.New())
	stop := h.run(t, New(h.options))
	h.reaches(t, h.append(t, created(stream, "a")))
	stop()
	// As if the older program could not read what came second.
	h.append(t, updated(stream, 1), updated(stream, 2))
	_, err := h.admin.Exec(t.Context(), `
		INSERT INTO view_parked (schema, org, stream, stream_hash, next_version, first_position, last_position, events, reason)
		VALUES ('entities_v1', 'acme', $1, 'hash', 2, 2, 2, 1, 'newer');`, string(stream))
	require.NoError(t, err)
	_, err = h.admin.Exec(t.Context(), `UPDATE view_checkpoints SET revision = revision + 1, position = 2`)
	require.NoError(t, err)
	h.run(t, New(h.options))
	h.reaches(t, 3)
	require.Empty(t, h.parked(t))
	h.checkAgainstRebuild(t)
}

// A view of which much is missing is worse than one that stands still and says so.
func TestTooManyPoisonEventsStopTheView(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	program := &picky{key: "poison", fail: func(*pgx.Batch) error { return errors.New("cannot") }}
	happenings := newEntities(5)
	for range maxParked + 1 {
		happenings = append(happenings, created(entity.Stream(uuid.New()), "poison"))
	}
	h.append(t, happenings...)
	engine := New(h.with(program.projection()))
	h.run(t, engine)
	h.until(t, "the view stops", func() bool { return engine.Status()[0].Err == errTooManyParked.Error() })
	require.EqualValues(t, 5+maxParked, h.view(t).Position)
	require.Len(t, h.parked(t), maxParked)
	program.mended.Store(true)
	done, err := Retry(t.Context(), h.with(program.projection()), "entities")
	require.NoError(t, err)
	require.Equal(t, maxParked, done.Freed)
	h.reaches(t, 5+maxParked+1)
	h.checkAgainstRebuild(t)
}

// Retries, in several steps each, race with one another and with the engine, while the
// parked stream goes on: each event takes effect once and in order.
func TestRetryUnderWritesAppliesEachEventOnce(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	program := &picky{key: "poison", fail: func(*pgx.Batch) error { return errors.New("cannot") }}
	options := h.with(program.projection())
	bad := entity.Stream(uuid.New())
	happenings := []happening{created(bad, "poison")}
	for n := range 2*maxRetryEvents + 3 {
		happenings = append(happenings, updated(bad, n))
	}
	h.append(t, happenings...)
	h.run(t, New(options))
	h.run(t, New(options))
	h.until(t, "the stream is parked", func() bool { return len(h.parked(t)) == 1 })
	program.mended.Store(true)
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := Retry(t.Context(), options, "entities")
			ended <- err
		}()
	}
	var last int64
	for n := range 30 {
		last = h.append(t, updated(bad, -n))
	}
	for range 2 {
		require.NoError(t, <-ended)
	}
	h.reaches(t, last)
	require.Empty(t, h.parked(t))
	h.checkAgainstRebuild(t)
}

func TestRetryOfAnUnknownView(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	_, err := Retry(t.Context(), h.options, "nothing")
	require.ErrorIs(t, err, ErrUnknownView)
	done, err := Retry(t.Context(), h.options, "entities")
	require.NoError(t, err)
	require.Equal(t, Retried{View: "entities"}, done)
}
