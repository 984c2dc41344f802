package readmodels_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/readmodels"
)

// What the past costs does not depend on how many entities and versions there are, also
// when the plans were made while there were few: a page of fifty reads some fifty rows
// twice, wherever it is, and an entity or a page of its history what it shows. Only a
// version by its number is looked for among all of its entity.
func TestThePastCostsWhatItShows(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	pool, err := eventstore.OpenPool(t.Context(), h.url, eventstore.RoleQuery, 1)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reads := readmodels.New(readmodels.Options{Pool: pool, CursorKey: cursorKey})

	p := &past{h: h, org: "acme", versions: map[domain.Tag]int64{}, now: pastStart}
	var streams []domain.Tag
	create := func(n int) {
		for range n {
			stream := entity.Stream(uuid.New())
			streams = append(streams, stream)
			p.add(stream, entity.Created{Type: "thing", Key: fmt.Sprint("k", len(streams)), Attributes: map[string]json.RawMessage{"n": json.RawMessage("0")}}, time.Millisecond)
		}
	}
	create(2)
	p.apply(t, false)
	middle := pastStart
	queries, lists := map[string]func() (cursor *string, err error){}, map[string]bool{}
	for _, sort := range []string{"created_at", "-created_at", "-updated_at", "key", "-key"} {
		for _, kind := range []string{"", "thing"} {
			var cursor string
			if kind == "" && strings.HasSuffix(sort, "key") {
				continue // as now: keys are sorted within a type
			}
			name := "list by " + sort + " of " + kind
			lists[name] = true
			queries[name] = func() (*string, error) {
				page, _, err := reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{AsOf: &middle, Sort: sort, Type: kind, Cursor: cursor})
				if page.NextCursor != nil {
					cursor = *page.NextCursor
				}
				return page.NextCursor, err
			}
		}
	}
	hot := uuid.MustParse(streams[0].Name())
	queries["one"] = func() (*string, error) {
		_, _, err := reads.EntityAt(t.Context(), anybody("acme"), hot, readmodels.Moment{AsOf: &middle})
		return nil, err
	}
	queries["one version"] = func() (*string, error) {
		_, _, err := reads.EntityAt(t.Context(), anybody("acme"), hot, readmodels.Moment{Version: 2})
		return nil, err
	}
	queries["history"] = func() (*string, error) {
		page, _, err := reads.EntityVersions(t.Context(), anybody("acme"), hot, readmodels.EntityVersionQuery{})
		return page.NextCursor, err
	}
	p.events = nil
	p.add(streams[0], entity.Archived{}, time.Millisecond)
	p.apply(t, false)
	middle = p.now
	for name, query := range queries {
		for range 8 { // PostgreSQL settles on a general plan after five
			_, err := query()
			require.NoError(t, err, name)
		}
	}

	p.events = nil
	create(1500)
	for round := range 4 {
		for _, stream := range streams {
			p.add(stream, entity.Updated{Attributes: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(round))}}, time.Millisecond)
		}
		if round == 1 {
			middle = p.now
		}
	}
	for n := range 2000 {
		p.add(streams[0], entity.Updated{Attributes: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(n))}}, time.Millisecond)
	}
	p.apply(t, false)
	cost := func(name string) (rows int64, cursor *string) {
		before := rowsRead(t, h, pool, pastSchema)
		cursor, err := queries[name]()
		require.NoError(t, err, name)
		return rowsRead(t, h, pool, pastSchema) - before, cursor
	}
	// Even before PostgreSQL has looked at what there is now.
	for name, most := range map[string]int64{"one": 10, "one version": 2100, "history": 3 * 51} {
		rows, _ := cost(name)
		require.Positive(t, rows, name)
		require.LessOrEqual(t, rows, most, name)
	}
	_, err = h.projector.Exec(t.Context(), `ANALYZE `+pastSchema+`.entity_versions`)
	require.NoError(t, err)
	for name := range lists {
		for page := range 10 {
			rows, cursor := cost(name)
			require.NotNil(t, cursor, name)
			require.Positive(t, rows, name)
			require.LessOrEqual(t, rows, int64(3*51), "%s, page %d", name, page)
		}
	}
}

// rowsRead is how many rows of a schema, of tables and of indexes, were read so far.
func rowsRead(t *testing.T, h *hub, pool *pgxpool.Pool, schema string) (rows int64) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`)
	require.NoError(t, err)
	require.NoError(t, h.projector.QueryRow(t.Context(), `SELECT
		(SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE schemaname = $1) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = $1)`,
		schema).Scan(&rows))
	return rows
}
