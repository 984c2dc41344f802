package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// historyWriter writes to a new schema of the view.
func (h *hub) historyWriter(t testing.TB, name string) *writer {
	t.Helper()
	require.NoError(t, changeViews(context.Background(), h.options.Pool, func(tx pgx.Tx) error {
		return createSchema(context.Background(), tx, EntityHistory(), checkpoint{schema: name, epoch: thisLog})
	}))
	w, err := openWriter(context.Background(), h.options, EntityHistory(), name)
	require.NoError(t, err)
	return w
}

// version is a row as far as the domain knows it.
type version struct {
	Attributes  map[string]any
	Key         *string
	Status      string
	Tags        []string
	Changed     []string
	TypeVersion int64
	EventID     uuid.UUID
	Related     string
}

func (h *hub) versionsOf(t require.TestingT, schema, org string) map[string]version {
	rows, err := h.admin.Query(context.Background(), `SELECT 'entity:' || id || ' ' || version, attributes, key, status, tags, changed, type_version, event_id, coalesce(kind || target, '')
		FROM `+quoted(schema)+`.entity_versions WHERE org = $1`, org)
	require.NoError(t, err)
	found := map[string]version{}
	var (
		name string
		v    version
		raw  []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &raw, &v.Key, &v.Status, &v.Tags, &v.Changed, &v.TypeVersion, &v.EventID, &v.Related}, func() error {
		v.Attributes = nil
		if err := json.Unmarshal(raw, &v.Attributes); err != nil {
			return err
		}
		found[name] = v
		v.Tags, v.Changed, v.Key = nil, nil, nil
		return nil
	})
	require.NoError(t, err)
	return found
}

// folded are the versions that the domain makes of a history.
func folded(t require.TestingT, h *history) map[string]version {
	states, want := map[domain.Tag]entity.Entity{}, map[string]version{}
	for _, e := range h.events {
		if e.Stream.Kind() != entity.StreamKind {
			continue
		}
		fact, err := h.codec.Fact(e)
		require.NoError(t, err)
		state := states[e.Stream].Evolve(fact).(entity.Entity)
		states[e.Stream] = state
		v := version{Attributes: map[string]any{}, Key: orNull(state.Key), Status: statusActive, Tags: append([]string{}, state.Tags...), Changed: []string{}, TypeVersion: state.TypeVersion, EventID: e.ID}
		if state.Archived {
			v.Status = statusArchived
		}
		for name, raw := range state.Attributes {
			var value any
			require.NoError(t, json.Unmarshal(raw, &value))
			v.Attributes[name] = value
		}
		switch p := fact.Payload.(type) {
		case entity.Created:
			v.Changed = append(v.Changed, slices.Sorted(maps.Keys(p.Attributes))...)
		case entity.RelationshipAdded:
			v.Related = p.Kind + p.TargetID.String()
		case entity.RelationshipRemoved:
			v.Related = p.Kind + p.TargetID.String()
		case entity.Updated:
			v.Changed = append(v.Changed, slices.Sorted(maps.Keys(p.Attributes))...)
		}
		want[fmt.Sprint(e.Stream, " ", e.Version)] = v
	}
	return want
}

// However a history is cut into batches, there is a row for each version of each entity,
// and it is what the domain folds the entity to up to there.
func TestVersionsAreWhatTheDomainFoldsEachTo(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	one, cut := h.historyWriter(t, "entity_history_v1_91"), h.historyWriter(t, "entity_history_v1_92")
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		history := drawHistory(r, h.options.Codec, fmt.Sprint("org", n), one.at.position)
		for rest := history.events; len(rest) > 0; {
			size := rapid.IntRange(1, len(rest)).Draw(r, "batch")
			require.NoError(r, cut.write(t.Context(), rest[:size]))
			rest = rest[size:]
		}
		for _, e := range history.events {
			require.NoError(r, one.write(t.Context(), []domain.Event{e}))
		}
		want := folded(r, history)
		require.Equal(r, want, h.versionsOf(r, cut.at.schema, history.org))
		require.Equal(r, want, h.versionsOf(r, one.at.schema, history.org))
		for stream, state := range history.states {
			if entity, ok := state.(entity.Entity); ok {
				h.checkAccess(r, cut.at.schema, stream, entity)
				h.checkAccess(r, one.at.schema, stream, entity)
			}
		}
	})
}

// Without the version before it, an event cannot be applied: it waits, as its stream does
// when an earlier event waits.
func TestAVersionWithoutTheOneBeforeItIsParked(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := h.historyWriter(t, "entity_history_v1_91")
	history := &history{codec: h.options.Codec, org: "acme", states: map[domain.Tag]domain.State{}, versions: map[domain.Tag]int64{}, folds: entity.Folds()}
	stream, other := entity.Stream(uuid.New()), entity.Stream(uuid.New())
	history.versions[stream] = 4
	history.add(stream, entity.Archived{})
	history.add(other, entity.Created{Type: "thing"})
	require.NoError(t, w.write(t.Context(), history.events))
	require.Len(t, w.parked, 1)
	require.Len(t, h.versionsOf(t, w.at.schema, "acme"), 1)
}

// The checkpoint says which time the rows are of.
func TestACheckpointKnowsTheTimeOfItsEvent(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := h.historyWriter(t, "entity_history_v1_91")
	history := &history{codec: h.options.Codec, org: "acme", states: map[domain.Tag]domain.State{}, versions: map[domain.Tag]int64{}, folds: entity.Folds()}
	history.add(entity.Stream(uuid.New()), entity.Created{Type: "thing"})
	history.add(entity.TypeStream("thing"), entity.TypeDefined{Name: "thing", Schema: json.RawMessage(`{}`)}) // not of this view
	require.NoError(t, w.write(t.Context(), history.events))
	var same bool
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT recorded_at = $2 FROM view_checkpoints WHERE schema = $1`,
		w.at.schema, history.events[1].RecordedAt).Scan(&same))
	require.True(t, same)
}

// Many small events of a large entity in one batch go on from one another in several
// statements, so that its attributes are not sent with each of them.
func TestVersionsOfALargeEntityGoOnFromOneAnother(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := h.historyWriter(t, "entity_history_v1_91")
	history := &history{codec: h.options.Codec, org: "acme", states: map[domain.Tag]domain.State{}, versions: map[domain.Tag]int64{}, folds: entity.Folds()}
	stream, other := entity.Stream(uuid.New()), entity.Stream(uuid.New())
	large := json.RawMessage(`"` + strings.Repeat("long ", maxVersionBytes/20) + `"`)
	history.add(stream, entity.Created{Type: "thing", Key: "k", Attributes: map[string]json.RawMessage{"a": large, "b": large}, Tags: []string{"vip"}, TypeVersion: 3})
	history.add(other, entity.Created{Type: "thing"})
	for i := range 12 {
		n := json.RawMessage(strconv.Itoa(i))
		history.add(stream, entity.Updated{Attributes: map[string]json.RawMessage{"n": n, "b": json.RawMessage([]string{"null", `"again"`}[i%2])}})
		history.add(other, entity.Updated{Attributes: map[string]json.RawMessage{"n": n}})
		history.add(stream, entity.RelationshipAdded{Kind: "near", TargetID: uuid.New(), SourceType: "thing", TargetType: "thing"})
	}
	history.add(stream, entity.Archived{})
	batch := &pgx.Batch{}
	var events []Event
	for _, e := range history.events {
		fact, err := h.options.Codec.Fact(e)
		require.NoError(t, err)
		events = append(events, Event{Event: e, Payload: fact.Payload})
	}
	require.NoError(t, applyEntityHistory(batch, quoted(w.at.schema), events))
	require.Equal(t, 2, batch.Len())
	sent := 0
	for _, statement := range batch.QueuedQueries {
		for _, argument := range statement.Arguments {
			texts, _ := argument.([]string)
			sent += len(strings.Join(texts, ""))
		}
	}
	require.Less(t, sent, 2*maxVersionBytes, "of 26 versions that begin with half of that")
	require.NoError(t, w.write(t.Context(), history.events))
	require.Equal(t, folded(t, history), h.versionsOf(t, w.at.schema, "acme"))
}
