package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
)

var thisLog = uuid.MustParse("00000000-0000-4000-8000-000000000001")

// emptySchema makes one more schema of the view at position 0.
func (h *hub) emptySchema(t testing.TB, name string) checkpoint {
	t.Helper()
	at := checkpoint{schema: name, epoch: thisLog}
	require.NoError(t, changeViews(context.Background(), h.options.Pool, func(tx pgx.Tx) error {
		return createSchema(context.Background(), tx, Entities(), at)
	}))
	return at
}

// history draws events that the domain could have decided.
type history struct {
	codec    *eventstore.Codec
	org      string
	before   int64 // the position that it goes on from
	states   map[domain.Tag]domain.State
	versions map[domain.Tag]int64
	folds    domain.Folds
	events   []domain.Event
	related  map[string]bool
}

var attributeNames = []string{"a", "b", `q"{},\x`, "ü b"}

var attributeValues = []string{
	`1`, `2.50`, `-0.1e3`, `"text"`, `"q\"\\ü<&>"`, `true`, `{"x":{"y":[1,"{}"]}}`, `[]`, `""`, `{"deep":["zzz"]}`,
}

var acls = [][]entity.ACLEntry{
	{},
	{{Principal: `group:"a\{},ü`, Rights: []entity.Right{entity.MayWrite}}, {Principal: "user:ana", Rights: entity.Rights()}},
	{{Principal: "role:editor", Rights: []entity.Right{entity.MayRead}}, {Principal: "user:eve", Rights: []entity.Right{entity.MayRead}, Deny: true}},
}

func (h *history) add(stream domain.Tag, payload domain.Payload) {
	kind, schemaVersion, data, err := h.codec.Encode(payload)
	if err != nil {
		panic(err)
	}
	h.versions[stream]++
	n := h.before + int64(len(h.events)) + 1
	e := domain.Event{
		Position: n, Epoch: thisLog, ID: uuid.New(), Org: h.org, Stream: stream, Version: h.versions[stream],
		Type: kind, SchemaVersion: schemaVersion, Data: data,
		Actor:      domain.Actor{Sub: fmt.Sprint("user", n%3)},
		RecordedAt: time.Date(2026, 3, 1, 0, 0, 0, int(n)*1000, time.UTC),
	}
	h.events = append(h.events, e)
	fact, err := h.codec.Fact(e)
	if err != nil {
		panic(err)
	}
	state, known := h.states[stream]
	if !known {
		state = h.folds[stream.Kind()]
	}
	h.states[stream] = state.Evolve(fact)
}

func drawHistory(t *rapid.T, codec *eventstore.Codec, org string, before int64) *history {
	h := &history{codec: codec, org: org, before: before, related: map[string]bool{}, states: map[domain.Tag]domain.State{}, versions: map[domain.Tag]int64{}, folds: entity.Folds()}
	tags := rapid.SliceOfN(rapid.SampledFrom([]string{"vip", `a"b\c{}`, "NULL", "ü"}), 0, 3)
	values := rapid.MapOfN(rapid.SampledFrom(attributeNames), rapid.SampledFrom(attributeValues), 0, 4)
	raw := func(label string) map[string]json.RawMessage {
		drawn := map[string]json.RawMessage{}
		for name, value := range values.Draw(t, label) {
			drawn[name] = json.RawMessage(value)
		}
		return drawn
	}
	var streams []domain.Tag
	for range rapid.IntRange(1, 40).Draw(t, "events") {
		choice := rapid.IntRange(0, 9).Draw(t, "choice")
		switch {
		case choice == 0:
			name := rapid.SampledFrom([]string{"customer", "airport"}).Draw(t, "type")
			h.add(entity.TypeStream(name), entity.TypeDefined{
				Name: name, Title: rapid.SampledFrom([]string{"", "T ü"}).Draw(t, "title"),
				Schema:        json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"b":1.0,"a":[]}`}).Draw(t, "schema")),
				Relationships: rapid.SampledFrom([][]entity.RelationshipKind{nil, {{Kind: "owner", Target: "customer", OnArchive: "detach"}}}).Draw(t, "kinds"),
				Search:        rapid.SliceOfNDistinct(rapid.SampledFrom(attributeNames), 0, 3, rapid.ID).Draw(t, "search"),
			})
		case choice <= 3 || len(streams) == 0:
			stream := entity.Stream(uuid.New())
			streams = append(streams, stream)
			h.add(stream, entity.Created{
				Type: "customer", Key: rapid.SampledFrom([]string{"", "K-1", `"\{`}).Draw(t, "key"),
				Attributes: raw("attributes"), Tags: tags.Draw(t, "tags"), TypeVersion: rapid.Int64Range(0, 2).Draw(t, "type version"),
			})
		default:
			stream := rapid.SampledFrom(streams).Draw(t, "stream")
			switch {
			case h.states[stream].(entity.Entity).Archived:
				h.add(stream, entity.Restored{TypeVersion: rapid.Int64Range(0, 3).Draw(t, "type version")})
			case choice == 4:
				h.add(stream, entity.Archived{})
			case choice <= 6:
				h.relate(t, stream, rapid.SampledFrom(streams).Draw(t, "target"))
			case choice == 7:
				h.add(stream, entity.AccessChanged{Entries: rapid.SampledFrom(acls).Draw(t, "entries")})
			default:
				updated := entity.Updated{Attributes: raw("changes"), TypeVersion: rapid.Int64Range(0, 3).Draw(t, "type version")}
				for _, name := range rapid.SliceOf(rapid.SampledFrom(attributeNames)).Draw(t, "removed") {
					updated.Attributes[name] = json.RawMessage("null")
				}
				if rapid.Bool().Draw(t, "retag") {
					updated.Tags = tags.Draw(t, "tags")
				}
				h.add(stream, updated)
			}
		}
	}
	return h
}

// relate removes a relationship if there is one of the kind drawn, and adds it if not.
func (h *history) relate(t *rapid.T, source, target domain.Tag) {
	kind, id := rapid.SampledFrom([]string{"owner", "parent"}).Draw(t, "kind"), uuid.MustParse(target.Name())
	if name := fmt.Sprint(source.Name(), kind, id); h.related[name] {
		delete(h.related, name)
		h.add(source, entity.RelationshipRemoved{Kind: kind, TargetID: id})
	} else {
		h.related[name] = true
		h.add(source, entity.RelationshipAdded{Kind: kind, TargetID: id, SourceType: "customer", TargetType: "customer"})
	}
}

// However a history is cut into batches, the rows are the same, and they are what the
// domain folds it to.
func TestRowsDoNotDependOnBatchesAndEqualTheFold(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	one, cut := h.writer(t, h.emptySchema(t, "entities_v1_91").schema), h.writer(t, h.emptySchema(t, "entities_v1_92").schema)
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
		require.Equal(r, h.rowsOf(r, one.at.schema, history.org), h.rowsOf(r, cut.at.schema, history.org))
		for stream, state := range history.states {
			if folded, ok := state.(entity.Entity); ok {
				h.checkRow(t, r, cut.at.schema, stream, folded, history.versions[stream])
			}
		}
		var related []string
		require.NoError(r, h.admin.QueryRow(t.Context(), `SELECT array_agg(source || kind || target) FROM `+quoted(cut.at.schema)+`.relationships WHERE org = $1`,
			history.org).Scan(&related))
		require.ElementsMatch(r, slices.Collect(maps.Keys(history.related)), related)
		requireTerms(t, r, h, cut.at.schema, history.org)
	})
}

// requireTerms holds that the terms of all rows are those that the function makes, which
// knows no short cut.
func requireTerms(t *testing.T, r require.TestingT, h *hub, schema, org string) {
	t.Helper()
	var wrong []string
	require.NoError(r, h.admin.QueryRow(t.Context(), `SELECT array_agg(e.attributes::text || e.tags::text) FROM `+quoted(schema)+`.entities e
		CROSS JOIN LATERAL `+quoted(schema)+`.terms(e.org, e.type, e.attributes, e.tags, e.sealed) AS t(terms)
		WHERE e.org = $1 AND NOT (e.terms <@ t.terms AND t.terms <@ e.terms AND (e.terms <> '{}' OR e.tags = '{}' AND NOT e.attributes @? '$.* ? (@.type() != "object" && @.type() != "array")'))`,
		org).Scan(&wrong))
	require.Empty(r, wrong)
}

func (h *hub) checkRow(t *testing.T, r *rapid.T, schema string, stream domain.Tag, want entity.Entity, version int64) {
	t.Helper()
	var (
		key, status string
		attributes  []byte
		tags        []string
		got, typ    int64
	)
	err := h.admin.QueryRow(t.Context(), `SELECT coalesce(key, ''), status, attributes, tags, version, type_version FROM `+quoted(schema)+`.entities WHERE id = $1`,
		uuid.MustParse(stream.Name())).Scan(&key, &status, &attributes, &tags, &got, &typ)
	require.NoError(r, err)
	require.Equal(r, version, got)
	require.Equal(r, want.Key, key)
	require.Equal(r, want.TypeVersion, typ)
	require.Equal(r, map[bool]string{false: "active", true: "archived"}[want.Archived], status)
	require.ElementsMatch(r, want.Tags, tags)
	var found map[string]json.RawMessage
	require.NoError(r, json.Unmarshal(attributes, &found))
	require.ElementsMatch(r, slices.Collect(maps.Keys(want.Attributes)), slices.Collect(maps.Keys(found)))
	for name, value := range want.Attributes {
		require.JSONEq(r, string(value), string(found[name]), name)
	}
	h.checkAccess(r, schema, stream, want)
}

// checkAccess holds who may see an entity, as a view has it, against its state.
func (h *hub) checkAccess(r *rapid.T, schema string, stream domain.Tag, want entity.Entity) {
	var (
		raw             []byte
		readers, denied []string
	)
	err := h.admin.QueryRow(context.Background(), `SELECT entries, readers, denied FROM `+quoted(schema)+`.entity_access WHERE id = $1`,
		uuid.MustParse(stream.Name())).Scan(&raw, &readers, &denied)
	if len(want.ACL) == 0 {
		require.ErrorIs(r, err, pgx.ErrNoRows)
		return
	}
	require.NoError(r, err)
	var entries []entity.ACLEntry
	require.NoError(r, json.Unmarshal(raw, &entries))
	require.Equal(r, want.ACL, entries)
	allowed, kept := entity.Readers(want.ACL)
	require.ElementsMatch(r, allowed, readers)
	require.ElementsMatch(r, kept, denied)
}

func TestTypeSchemaKeepsItsText(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.append(t, happening{"acme", entity.TypeStream("customer"), entity.TypeDefined{Name: "customer", Title: "Customer", Schema: json.RawMessage(`{"b":1.0,"a":1e2}`)}})
	require.NoError(t, Rebuild(t.Context(), h.options, "entities", nil))
	var text string
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT schema::text FROM `+h.view(t).Schema+`.entity_types`).Scan(&text))
	require.Equal(t, `{"b":1.0,"a":1e2}`, text)
}

// counter counts round trips.
type counter struct{ batches, queries, prepares int }

func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.batches++
	return ctx
}
func (c *counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.queries++
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (c *counter) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	c.prepares++
	return ctx
}
func (c *counter) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

func TestABatchIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	stream, other := entity.Stream(uuid.New()), entity.Stream(uuid.New())
	defined := entity.TypeDefined{Name: "thing", Schema: json.RawMessage(`{}`)}
	h.append(t, happening{"acme", stream, entity.Created{Type: "thing"}}, happening{"acme", entity.TypeStream("thing"), defined},
		happening{"acme", stream, entity.Archived{}}, happening{"acme", other, entity.Created{Type: "thing"}},
		happening{"acme", other, entity.Archived{}}, happening{"acme", stream, entity.Restored{}}, happening{"acme", entity.TypeStream("thing"), defined},
		happening{"acme", entity.Stream(uuid.New()), entity.Created{Type: "thing"}}, happening{"acme", entity.TypeStream("thing"), defined},
		happening{"acme", other, entity.Restored{}})
	v, err := ensureView(t.Context(), h.options, Entities())
	require.NoError(t, err)
	events := h.events(t)

	config, err := pgx.ParseConfig(h.url)
	require.NoError(t, err)
	trips := &counter{}
	config.Tracer = trips
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	w := h.writer(t, v.schema)
	for _, batch := range [][]domain.Event{events[:1], events[1:7], events[7:]} {
		*trips = counter{}
		require.NoError(t, w.send(t.Context(), conn, batch))
	}
	require.Equal(t, counter{batches: 1}, *trips, "prepared before, the third batch needs nothing but itself")
}
