package readmodels_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/ledger"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/organization"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/projections"
	"github.com/reactdjango-hub/backend/readmodels"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

const patience = time.Minute

var cursorKey = []byte("a key for cursors in tests")

// hub is a log, its views and a reader of them.
type hub struct {
	url       string
	command   *eventstore.Store
	projector *pgxpool.Pool
	options   projections.Options
	reads     *readmodels.Store
	trips     *counter
	versions  map[domain.Tag]int64
}

func newHub(t testing.TB) *hub {
	t.Helper()
	url := hubtest.Database(t, hubtest.LogAndViews())
	h := &hub{
		url: url, command: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))),
		projector: hubtest.Pool(t, url, string(eventstore.RoleProjector)), trips: &counter{}, versions: map[domain.Tag]int64{},
	}
	h.options = projections.Options{
		Pool: h.projector, Store: eventstore.New(h.projector), Codec: eventstore.NewCodec(slices.Concat(entity.Kinds(), ledger.Kinds(), member.Kinds(), organization.Kinds())...),
	}
	h.reads = readmodels.New(readmodels.Options{Pool: h.queryPool(t), CursorKey: cursorKey})
	return h
}

// queryPool acts as hub_query and counts in h.trips.
func (h *hub) queryPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(h.url)
	require.NoError(t, err)
	config.MaxConns = 4
	config.ConnConfig.Tracer = h.trips
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET ROLE hub_query")
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// append writes one event and returns its position.
func (h *hub) append(t testing.TB, org string, stream domain.Tag, payload domain.Payload) int64 {
	t.Helper()
	kind, schemaVersion, data, err := h.options.Codec.Encode(payload)
	require.NoError(t, err)
	h.versions[stream]++
	appended, err := h.command.Append(context.Background(), eventstore.Turn{Outcomes: []eventstore.Outcome{{
		Meta: domain.Meta{
			Org: org, Actor: domain.Actor{Sub: "ana", Person: "p"}, Now: time.Now().UTC(), CommandID: uuid.Must(uuid.NewV7()),
		},
		ResourceID: stream.Name(), Version: h.versions[stream],
		Events: []eventstore.NewEvent{{
			ID: uuid.Must(uuid.NewV7()), Stream: stream, Version: h.versions[stream], Type: kind, SchemaVersion: schemaVersion,
			Tags: []domain.Tag{stream}, Data: data,
		}},
	}}})
	require.NoError(t, err)
	return appended.Base + 1
}

// create appends a new entity of acme; attributes are JSON.
func (h *hub) create(t testing.TB, kind, key, attributes string, tags ...string) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	var values map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(attributes), &values))
	h.append(t, "acme", entity.Stream(id), entity.Created{Type: kind, Key: key, Attributes: values, Tags: tags})
	return id
}

// project brings the views to the end of the log.
func (h *hub) project(t testing.TB) {
	t.Helper()
	for _, view := range projections.All() {
		require.NoError(t, projections.Rebuild(context.Background(), h.options, view.Name, nil))
	}
}

func requireProblem(t require.TestingT, kind problem.Kind, code string, err error) {
	p := problem.Of(err)
	require.NotNil(t, p, "%v", err)
	require.Equal(t, code, p.Code)
	require.Equal(t, kind, p.Kind)
}

// attr are filters that ask attributes to be equal to values.
func attr(namesAndValues ...string) []readmodels.Filter {
	var filters []readmodels.Filter
	for i := 0; i < len(namesAndValues); i += 2 {
		filters = append(filters, readmodels.Filter{Field: readmodels.AttributePrefix + namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return filters
}

// ids are those of the page's items.
func ids(page readmodels.EntityPage) []uuid.UUID {
	found := []uuid.UUID{}
	for _, e := range page.Items {
		found = append(found, e.ID)
	}
	return found
}

// counter counts what is sent to the server.
type counter struct {
	mu                         sync.Mutex
	batches, queries, prepares int
}

func (c *counter) count(n *int) {
	c.mu.Lock()
	*n++
	c.mu.Unlock()
}

// reset returns what was counted since the last reset.
func (c *counter) reset() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("%d batches, %d queries, %d prepares", c.batches, c.queries, c.prepares)
	c.batches, c.queries, c.prepares = 0, 0, 0
	return text
}

func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.count(&c.batches)
	return ctx
}
func (c *counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.count(&c.queries)
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (c *counter) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	c.count(&c.prepares)
	return ctx
}
func (c *counter) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

// anybody is a reader of an organisation whom no ACL names.
func anybody(org string) readmodels.Reader {
	return readmodels.Reader{Org: org, Principals: []string{"user:ana", "role:viewer", "group:sales"}}
}
