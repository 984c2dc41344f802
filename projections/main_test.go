package projections

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/organization"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// patience ends a test that has failed; nothing that works takes this long.
const patience = time.Minute

// hub is a log and a read database (the same one here) with what works on them.
type hub struct {
	url      string
	command  *eventstore.Store
	relay    *eventstore.Store // not the engine's, whose connections get killed
	admin    *pgxpool.Pool
	options  Options
	versions map[domain.Tag]int64
	moved    chan struct{} // after each commit of an engine
}

func newHub(t testing.TB) *hub {
	t.Helper()
	url := hubtest.Database(t, hubtest.LogAndViews())
	h := &hub{
		url:      url,
		command:  eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))),
		relay:    eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleRelay))),
		admin:    hubtest.Pool(t, url, ""),
		versions: map[domain.Tag]int64{},
		moved:    make(chan struct{}, 1),
	}
	pool, err := eventstore.OpenPool(context.Background(), url, eventstore.RoleProjector, 4)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	h.options = Options{
		Pool: pool, Store: eventstore.New(pool), Codec: eventstore.NewCodec(slices.Concat(entity.Kinds(), ledger.Kinds(), member.Kinds(), organization.Kinds())...),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Projections: []Projection{Entities()}, // one is enough for most tests
		Notify: func() {
			select {
			case h.moved <- struct{}{}:
			default:
			}
		},
	}.withDefaults()
	return h
}

// with are the options of a program that has these projections and no others.
func (h *hub) with(projections ...Projection) Options {
	options := h.options
	options.Projections = projections
	return options
}

// writer goes on where the schema is.
func (h *hub) writer(t testing.TB, schema string) *writer {
	t.Helper()
	w, err := openWriter(context.Background(), h.options, Entities(), schema)
	require.NoError(t, err)
	return w
}

// happening is what a test lets happen to a stream of an organisation.
type happening struct {
	org     string
	stream  domain.Tag
	payload domain.Payload
}

// append writes events, one command each, and returns the last position.
func (h *hub) append(t testing.TB, happenings ...happening) int64 {
	t.Helper()
	var turn eventstore.Turn
	for _, p := range happenings {
		kind, schemaVersion, data, err := h.options.Codec.Encode(p.payload)
		require.NoError(t, err)
		key := domain.Tag(p.org + "/" + string(p.stream))
		h.versions[key]++
		turn.Outcomes = append(turn.Outcomes, eventstore.Outcome{
			Meta: domain.Meta{
				Org: p.org, Actor: domain.Actor{Sub: "ana", Person: "ana"}, Now: time.Now().UTC(), CommandID: uuid.Must(uuid.NewV7()),
			},
			ResourceID: p.stream.Name(), Version: h.versions[key],
			Events: []eventstore.NewEvent{{
				ID: uuid.Must(uuid.NewV7()), Stream: p.stream, Version: h.versions[key], Type: kind, SchemaVersion: schemaVersion,
				Tags: []domain.Tag{p.stream}, Data: data,
			}},
		})
	}
	appended, err := h.command.Append(t.Context(), turn)
	require.NoError(t, err)
	require.False(t, appended.Refused())
	return appended.Base + int64(len(happenings))
}

// events are those of the whole log.
func (h *hub) events(t testing.TB) []domain.Event {
	t.Helper()
	batch, err := subscription.NewReader(h.options.Store, subscription.Filter{}).Read(t.Context(), subscription.Place{}, 0)
	require.NoError(t, err)
	return batch.Events
}

// newEntities are n happenings, each a new entity of acme.
func newEntities(n int) []happening {
	happenings := make([]happening, n)
	for i := range happenings {
		happenings[i] = happening{"acme", entity.Stream(uuid.Must(uuid.NewV7())), entity.Created{Type: "thing", Key: fmt.Sprint("k", i)}}
	}
	return happenings
}

// run runs the engine until the test ends or stop is called.
func (h *hub) run(t testing.TB, engine *Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, hubtest.Wait(t, patience, "the engine to stop", ended))
		}
	}
	t.Cleanup(stop)
	return stop
}

// until waits for the engines' commits until the condition holds; the ticker is for
// what changes without a commit.
func (h *hub) until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-h.moved:
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// view is where the entities view is now.
func (h *hub) view(t testing.TB) Listing {
	t.Helper()
	views, err := List(t.Context(), h.admin)
	require.NoError(t, err)
	require.Len(t, views, 1)
	return views[0]
}

// job is the latest one.
func (h *hub) job(t testing.TB) Job {
	t.Helper()
	jobs, err := Jobs(t.Context(), h.admin)
	require.NoError(t, err)
	require.NotEmpty(t, jobs)
	return jobs[0]
}

func (h *hub) reaches(t testing.TB, position int64) {
	t.Helper()
	h.until(t, fmt.Sprintf("the view is at position %d", position), func() bool {
		views, err := List(t.Context(), h.admin)
		require.NoError(t, err)
		return len(views) == 1 && views[0].Position >= position
	})
}

// rows are all rows of a schema as JSON, in order.
func (h *hub) rows(t testing.TB, schema string) []string { return h.rowsOf(t, schema, "%") }

// rowsOf are those of organisations that are like this.
func (h *hub) rowsOf(t require.TestingT, schema, org string) []string {
	rows, err := h.admin.Query(context.Background(), `
		SELECT row FROM (
			SELECT 1 AS kind, org, id::text AS name, to_jsonb(e)::text AS row FROM `+quoted(schema)+`.entities e
			UNION ALL SELECT 2, org, name, to_jsonb(t)::text FROM `+quoted(schema)+`.entity_types t
			UNION ALL SELECT 3, org, source || kind || target, to_jsonb(r)::text FROM `+quoted(schema)+`.relationships r) all_rows
		WHERE org LIKE $1 ORDER BY kind, org, name`, org)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

// checkAgainstRebuild holds the live view against one built from the log alone.
func (h *hub) checkAgainstRebuild(t testing.TB) {
	t.Helper()
	before := h.view(t)
	live := h.rows(t, before.Schema)
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	after := h.view(t)
	require.NotEqual(t, before.Schema, after.Schema)
	require.Equal(t, before.Position, after.Position)
	require.Equal(t, live, h.rows(t, after.Schema))
}

// schemas are the views' schemas in the database.
func (h *hub) schemas(t testing.TB) []string {
	t.Helper()
	rows, err := h.admin.Query(t.Context(), `SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'entities%' ORDER BY 1`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

// stream makes a stream at a first sequence, as a relay would, and publishes what
// the log has from there on.
func (h *hub) stream(t testing.TB, js jetstream.JetStream, first int64) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: relay.StreamName, Subjects: []string{"hub.events.>"}, FirstSeq: uint64(first),
	})
	require.NoError(t, err)
	h.publish(t, js, first-1)
	return stream
}

// publish sends what the log has after a position.
func (h *hub) publish(t testing.TB, js jetstream.JetStream, after int64) {
	t.Helper()
	entries, err := h.relay.ReadLog(t.Context(), after, eventstore.MaxReadLimit)
	require.NoError(t, err)
	for _, entry := range entries {
		ack, err := js.PublishMsg(t.Context(), relay.Encode(entry))
		require.NoError(t, err)
		require.EqualValues(t, entry.Position, ack.Sequence)
	}
}
