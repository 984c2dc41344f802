package readmodels_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/projections"
	"github.com/reactdjango-hub/backend/readmodels"
)

// pastSchema is the one of the history after the first rebuild.
const pastSchema = "entity_history_v1_2"

// past is the history of one organisation, in the view as the projector writes it.
type past struct {
	h        *hub
	org      string
	events   []projections.Event
	versions map[domain.Tag]int64
	now      time.Time
}

var pastStart = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func (p *past) add(stream domain.Tag, payload domain.Payload, after time.Duration) {
	p.versions[stream]++
	p.now = p.now.Add(after)
	n := int64(len(p.events)) + 1
	p.events = append(p.events, projections.Event{Payload: payload, Event: domain.Event{
		Position: n, ID: uuid.New(), Org: p.org, Stream: stream, Version: p.versions[stream], Type: payload.EventType(),
		Actor: domain.Actor{Sub: "ana"}, RecordedAt: p.now, RequestID: "r", CorrelationID: "c",
	}})
}

// apply writes all of it, in one batch. The view is beyond when others have written since.
func (p *past) apply(t require.TestingT, beyond bool) {
	batch := &pgx.Batch{}
	require.NoError(t, projections.EntityHistory().Apply(batch, pastSchema, p.events))
	at, position := p.now, int64(len(p.events))
	if beyond {
		at, position = at.Add(time.Hour), position+100
	}
	batch.Queue(`UPDATE view_checkpoints SET position = $2, recorded_at = $3 WHERE schema = $1`, pastSchema, position, at)
	require.NoError(t, p.h.projector.SendBatch(context.Background(), batch).Close())
}

func drawPast(t *rapid.T, h *hub, org string) *past {
	p := &past{h: h, org: org, versions: map[domain.Tag]int64{}, now: pastStart}
	value := rapid.SampledFrom([]string{`"Paris"`, `"Lyon"`, `3`})
	tags := rapid.SliceOfN(rapid.SampledFrom([]string{"vip", "eu"}), 0, 2)
	var streams []domain.Tag
	archived := map[domain.Tag]bool{}
	for range rapid.IntRange(1, 30).Draw(t, "events") {
		// None is often, so that many events have one time.
		after := time.Duration(rapid.IntRange(0, 2).Draw(t, "after")) * time.Microsecond
		if len(streams) == 0 || rapid.IntRange(0, 3).Draw(t, "create") == 0 {
			stream := entity.Stream(uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")))
			if p.versions[stream] > 0 {
				continue
			}
			streams = append(streams, stream)
			p.add(stream, entity.Created{
				Type: rapid.SampledFrom([]string{"customer", "airport"}).Draw(t, "type"), Key: rapid.SampledFrom([]string{"", "a", "B"}).Draw(t, "key"),
				Attributes: map[string]json.RawMessage{"city": json.RawMessage(value.Draw(t, "city"))}, Tags: tags.Draw(t, "tags"), TypeVersion: 1,
			}, after)
			continue
		}
		stream := rapid.SampledFrom(streams).Draw(t, "stream")
		switch change := rapid.IntRange(0, 5).Draw(t, "change"); {
		case change == 4: // what changes neither value nor status is a version, too
			p.add(stream, entity.AccessChanged{Entries: []entity.ACLEntry{}}, after)
		case change == 5:
			p.add(stream, entity.RelationshipAdded{Kind: "k", TargetID: uuid.Max, SourceType: "customer", TargetType: "customer"}, after)
		case archived[stream]:
			p.add(stream, entity.Restored{TypeVersion: rapid.Int64Range(0, 3).Draw(t, "type_version")}, after)
			archived[stream] = false
		case change == 0:
			p.add(stream, entity.Archived{}, after)
			archived[stream] = true
		case change == 1:
			p.add(stream, entity.Updated{Tags: append([]string{}, tags.Draw(t, "tags")...)}, after)
		default:
			p.add(stream, entity.Updated{Attributes: map[string]json.RawMessage{"city": json.RawMessage(rapid.SampledFrom([]string{`"Paris"`, `3`, "null"}).Draw(t, "to"))}}, after)
		}
	}
	return p
}

// replayed are the entities that the log makes of its events until a time, and the
// position of the last of these.
func (p *past) replayed(t require.TestingT, at time.Time) (entities map[uuid.UUID]readmodels.Entity, position int64) {
	states := map[domain.Tag]entity.Entity{}
	entities = map[uuid.UUID]readmodels.Entity{}
	for _, e := range p.events {
		if e.RecordedAt.After(at) {
			break
		}
		position = e.Position
		state := states[e.Stream].Evolve(domain.Fact{Stream: e.Stream, Payload: e.Payload}).(entity.Entity)
		states[e.Stream] = state
		id := uuid.MustParse(e.Stream.Name())
		found := entities[id]
		if e.Version == 1 {
			found = readmodels.Entity{ID: id, Type: state.Type, CreatedAt: e.RecordedAt, CreatedBy: "ana"}
			if state.Key != "" {
				found.Key = &state.Key
			}
		}
		found.Status, found.Tags, found.Version, found.TypeVersion = "active", append([]string{}, state.Tags...), e.Version, state.TypeVersion
		if state.Archived {
			found.Status = "archived"
		}
		found.UpdatedAt, found.UpdatedBy = e.RecordedAt, "ana"
		var err error
		found.Attributes, err = json.Marshal(state.Attributes)
		require.NoError(t, err)
		entities[id] = found
	}
	return entities, position
}

// listed is what the query selects of entities, in its order.
func listed(entities map[uuid.UUID]readmodels.Entity, q readmodels.EntityQuery) []readmodels.Entity {
	rows, kept := []row{}, []readmodels.Entity{}
	for _, e := range entities {
		city := strings.Contains(string(e.Attributes), `"Paris"`)
		if (q.Status == "all" || e.Status == q.Status) && (q.Type == "" || e.Type == q.Type) && (q.Filters == nil || city) &&
			(q.Tag == "" || slices.Contains(e.Tags, q.Tag)) {
			r := row{id: e.ID, created: e.CreatedAt, updated: e.UpdatedAt}
			if e.Key != nil {
				r.key = *e.Key
			}
			rows = append(rows, r)
		}
	}
	for _, id := range expected(rows, q.Sort) {
		kept = append(kept, entities[id])
	}
	return kept
}

// A list as of a time is what a replay of the log up to there gives, with every filter, in
// every order, page by page, counted, and at the position that the time stands for. So is
// each entity on its own, and each of its versions.
func TestAListOfThePastEqualsAReplay(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.project(t)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		p := drawPast(r, h, fmt.Sprint("org", n))
		beyond := rapid.Bool().Draw(r, "beyond")
		p.apply(r, beyond)
		at := pastStart.Add(time.Duration(rapid.IntRange(-1, 40).Draw(r, "at")) * time.Microsecond)
		entities, position := p.replayed(r, at)
		if !at.Before(p.now) && !beyond {
			position = int64(len(p.events))
		}
		q := readmodels.EntityQuery{
			AsOf: &at, Limit: rapid.IntRange(1, 5).Draw(r, "limit"), Count: true,
			Sort:   rapid.SampledFrom([]string{"created_at", "-created_at", "updated_at", "-updated_at", "key", "-key"}).Draw(r, "sort"),
			Status: rapid.SampledFrom([]string{"active", "archived", "all"}).Draw(r, "status"),
			Type:   rapid.SampledFrom([]string{"", "customer"}).Draw(r, "type"), Tag: rapid.SampledFrom([]string{"", "vip"}).Draw(r, "tag"),
		}
		if rapid.Bool().Draw(r, "filter") {
			q.Filters = attr("city", "Paris")
		}
		want, got := listed(entities, q), []readmodels.Entity{}
		for {
			page, snapshot, err := h.reads.Entities(context.Background(), anybody(p.org), q)
			require.NoError(r, err)
			require.Equal(r, position, snapshot.Position)
			require.EqualValues(r, len(want), *page.Count)
			got = append(got, page.Items...)
			if page.NextCursor == nil {
				break
			}
			q.Cursor = *page.NextCursor
		}
		sameEntities(r, want, got)
		for _, e := range entities {
			one, snapshot, err := h.reads.EntityAt(context.Background(), anybody(p.org), e.ID, readmodels.Moment{AsOf: &at})
			require.NoError(r, err)
			require.Equal(r, position, snapshot.Position)
			versioned, _, err := h.reads.EntityAt(context.Background(), anybody(p.org), e.ID, readmodels.Moment{Version: e.Version})
			require.NoError(r, err)
			sameEntities(r, []readmodels.Entity{e, e}, []readmodels.Entity{one, versioned})
		}
	})
}

// sameEntities compares attributes by what they say.
func sameEntities(t require.TestingT, want, got []readmodels.Entity) {
	require.Len(t, got, len(want))
	for i := range want {
		require.JSONEq(t, string(want[i].Attributes), string(got[i].Attributes))
		w, g := want[i], got[i]
		w.Attributes, g.Attributes = nil, nil
		require.Equal(t, w, g)
	}
}

func TestWhatWasNotYetThereIsNotFound(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create(t, "customer", "", `{}`)
	h.project(t)
	before := time.Now().Add(-time.Hour)
	_, at, err := h.reads.EntityAt(t.Context(), anybody("acme"), id, readmodels.Moment{AsOf: &before})
	requireProblem(t, problem.NotFound, "not_found", err)
	require.Zero(t, at.Position, "before the first event")
	_, at, err = h.reads.EntityAt(t.Context(), anybody("acme"), id, readmodels.Moment{Version: 2})
	requireProblem(t, problem.NotFound, "not_found", err)
	require.EqualValues(t, 1, at.Position)
	page, at, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{AsOf: &before, Count: true})
	require.NoError(t, err)
	require.Empty(t, page.Items)
	require.Zero(t, *page.Count)
	require.Zero(t, at.Position)
	now := time.Now()
	for _, when := range []readmodels.Moment{{AsOf: &now}, {Version: 1}} {
		_, _, err = h.reads.EntityAt(t.Context(), anybody("other"), id, when)
		requireProblem(t, problem.NotFound, "not_found", err)
	}
	_, _, err = h.reads.EntityVersions(t.Context(), anybody("other"), id, readmodels.EntityVersionQuery{})
	requireProblem(t, problem.NotFound, "not_found", err)
}

func TestACursorBelongsToItsTime(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for range 3 {
		h.create(t, "thing", "", `{}`)
	}
	h.project(t)
	now := time.Now()
	later := now.Add(time.Microsecond)
	page, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{AsOf: &now, Limit: 1})
	require.NoError(t, err)
	require.NotNil(t, page.NextCursor)
	for _, asOf := range []*time.Time{nil, &later} {
		_, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{AsOf: asOf, Limit: 1, Cursor: *page.NextCursor})
		requireProblem(t, problem.Malformed, "invalid_cursor", err)
	}
	inParis := now.In(time.FixedZone("Paris", 3600))
	next, _, err := h.reads.Entities(t.Context(), anybody("acme"), readmodels.EntityQuery{AsOf: &inParis, Limit: 2, Cursor: *page.NextCursor})
	require.NoError(t, err, "the same time, written differently")
	require.Len(t, next.Items, 2)
}
