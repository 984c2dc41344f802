package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// searched are the texts of a schema, and madeAnew those that its other rows say.
func (h *hub) searched(t require.TestingT, schema, org string) (found, madeAnew []string) {
	schema = quoted(schema)
	list := func(sql string) []string {
		rows, err := h.admin.Query(context.Background(), sql, org)
		require.NoError(t, err)
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return texts
	}
	return list(`SELECT id || type || status || text FROM ` + schema + `.entity_search WHERE org LIKE $1 ORDER BY 1`),
		list(`SELECT e.id || e.type || e.status || ` + schema + `.document(e.attributes, t.search) FROM ` + schema + `.entities e
			JOIN ` + schema + `.entity_types t ON t.org = e.org AND t.name = e.type WHERE e.org LIKE $1 AND t.search <> '{}' ORDER BY 1`)
}

// However batches and the work that they leave for later follow each other, in the end
// what is searched is what the types name of the entities.
func TestWhatIsSearchedFollowsTypesAndEntities(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := h.writer(t, h.emptySchema(t, "entities_v1_91").schema)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		history := drawHistory(r, h.options.Codec, fmt.Sprint("org", n), w.at.position)
		for rest := history.events; len(rest) > 0; {
			size := rapid.IntRange(1, len(rest)).Draw(r, "batch")
			require.NoError(r, w.write(t.Context(), rest[:size]))
			rest = rest[size:]
			if rapid.Bool().Draw(r, "settle") {
				_, err := settleStep(t.Context(), h.options, Entities(), w.at.schema)
				require.NoError(r, err)
			}
		}
		for left := true; left; {
			var err error
			left, err = settleStep(t.Context(), h.options, Entities(), w.at.schema)
			require.NoError(r, err)
		}
		found, want := h.searched(r, w.at.schema, history.org)
		require.Equal(r, want, found)
	})
}

func searching(names ...string) happening {
	return happening{"acme", entity.TypeStream("thing"), entity.TypeDefined{Name: "thing", Schema: json.RawMessage(`{}`), Search: names}}
}

// A type with many entities names other attributes: the view goes on, they are gone
// through bit by bit, and then it is what a rebuild makes.
func TestATypeOfManyEntitiesIsSearchedOtherwise(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, searching("a"))
	for range 3 {
		var made []happening
		for i := range 900 {
			made = append(made, happening{"acme", entity.Stream(uuid.Must(uuid.NewV7())), entity.Created{
				Type: "thing", Attributes: map[string]json.RawMessage{"a": json.RawMessage(fmt.Sprint(i)), "b": json.RawMessage(`"Ü"`)},
			}})
		}
		h.append(t, made...)
	}
	h.append(t, happening{"acme", entity.Stream(uuid.Must(uuid.NewV7())), entity.Created{Type: "other"}})
	h.run(t, New(h.options))
	h.reaches(t, h.append(t, newEntities(1)...))
	settled := func() bool {
		left, err := unsettled(t.Context(), h.admin, Entities(), h.view(t).Schema)
		require.NoError(t, err)
		return !left
	}
	for _, names := range [][]string{{"b"}, {"b", "a"}, nil, {"a"}} {
		h.reaches(t, h.append(t, searching(names...)))
		h.reaches(t, h.append(t, newEntities(5)...)) // it goes on meanwhile
		h.until(t, "all is settled", settled)
		found, want := h.searched(t, h.view(t).Schema, "acme")
		require.Equal(t, want, found, names)
		require.Equal(t, len(names) > 0, len(found) > 0)
	}
	report, err := Verify(t.Context(), h.options, "entities", nil)
	require.NoError(t, err)
	require.Empty(t, report.Details)
	live, _ := h.searched(t, h.view(t).Schema, "acme")
	h.checkAgainstRebuild(t)
	rebuilt, _ := h.searched(t, h.view(t).Schema, "acme")
	require.Equal(t, live, rebuilt)
}

// What a verify finds is not what was only left for later.
func TestVerifyWaitsForWhatIsLeft(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	stream := entity.Stream(uuid.New())
	h.append(t, happening{"acme", stream, entity.Created{Type: "thing", Attributes: map[string]json.RawMessage{"a": json.RawMessage(`"x"`)}}})
	options := h.options
	slow := Entities()
	gate := make(chan struct{})
	slow.Settle = func(ctx context.Context, tx pgx.Tx, schema string) error {
		if schema == quoted("entities_v1") {
			select {
			case <-gate:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return settleEntitySearch(ctx, tx, schema)
	}
	options.Projections = []Projection{slow}
	h.run(t, New(options))
	h.reaches(t, 1)
	h.reaches(t, h.append(t, searching("a")))
	built, done := make(chan struct{}), make(chan error, 1)
	var (
		report Report
		once   sync.Once
	)
	go func() {
		var err error
		report, err = Verify(t.Context(), options, "entities", func(j Job) {
			if j.Done == 2 {
				once.Do(func() { close(built) })
			}
		})
		done <- err
	}()
	hubtest.Wait(t, patience, "the shadow to be built", built)
	select {
	case <-done:
		t.Fatal("the view is not settled yet")
	case <-time.After(4 * lookInterval): // whoever does not wait has ended by then
	}
	close(gate)
	require.NoError(t, hubtest.Wait(t, patience, "the verify", done))
	require.Empty(t, report.Details)
	require.EqualValues(t, 3, report.Rows, "an entity, its type, what is searched of it")
}
