package reactions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/member"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/relay"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// patience ends a test that has failed; nothing that works takes this long.
const patience = time.Minute

// The area of these tests: notes, and copies that a reaction makes of them. Nothing in
// the domain keeps a note from being copied twice: only the reaction does.
type (
	noted struct {
		Text string `json:"text"`
	}
	copied struct {
		Text string `json:"text"`
	}
	count struct{ events int }
)

func (noted) EventType() string  { return "note.noted" }
func (copied) EventType() string { return "note.copied" }

func (c count) Evolve(domain.Fact) domain.State { return count{c.events + 1} }
func (count) Size() int                         { return 8 }

// write records a payload on a stream.
type write struct {
	stream  domain.Tag
	payload domain.Payload
	refuse  *atomic.Bool
}

func (w write) Boundaries(domain.Reader) []domain.Tag { return []domain.Tag{w.stream} }

func (w write) Decide(domain.Reader, domain.Meta) (domain.Decision, error) {
	if w.refuse != nil && w.refuse.Load() {
		return domain.Decision{}, problem.New(problem.Conflict, "not_today", "Try another day.")
	}
	return domain.Decision{ResourceID: w.stream.Name(), Stream: w.stream, Facts: []domain.Fact{{Stream: w.stream, Payload: w.payload}}}, nil
}

// What a note says decides how its copy fails, while fails says so.
const (
	refused = "refused"
	panics  = "panics"
	errs    = "errs"
)

// copying is the reaction of these tests.
func copying(fails *atomic.Bool) Reaction {
	return Reaction{Name: "copying", Types: []string{noted{}.EventType()}, React: func(e Event) ([]domain.Decider, error) {
		note, ok := e.Payload.(noted)
		if !ok {
			return nil, fmt.Errorf("an event of type %s", e.Type)
		}
		command := write{stream: domain.NewTag("copy", "all"), payload: copied(note)}
		switch {
		case note.Text == refused:
			command.refuse = fails
		case note.Text == panics && fails.Load():
			panic("on purpose, with a value")
		case note.Text == errs && fails.Load():
			return nil, errors.New("a value that must stay inside")
		}
		return []domain.Decider{command}, nil
	}}
}

// hub is a log with a loop, and a database for reactions.
type hub struct {
	url     string
	admin   *pgxpool.Pool
	loop    *commands.Loop
	options Options
	keys    *keyring.Keyring
	// fails makes those notes fail that say so.
	fails *atomic.Bool
}

func newHub(t *testing.T) *hub {
	t.Helper()
	url := hubtest.Database(t, hubtest.LogAndViews())
	codec := eventstore.NewCodec(append(member.Kinds(), domain.Kind[noted](), domain.Kind[copied](), domain.Kind[alarmChanged](), domain.Kind[rung]())...)
	folds := member.Folds()
	for _, kind := range []string{"note", "copy", "alarm", "ring"} {
		folds[kind] = count{}
	}
	pool := hubtest.Pool(t, url, string(eventstore.RoleProjector))
	commandPool := hubtest.Pool(t, url, string(eventstore.RoleCommand))
	masters, err := keyring.NewMasters(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	keys := keyring.New(keyring.Options{Pool: commandPool, Masters: masters})
	h := &hub{url: url, keys: keys, admin: hubtest.Pool(t, url, ""), fails: new(atomic.Bool), loop: commands.New(commands.Options{
		Store: eventstore.New(commandPool), Codec: codec,
		Folds: folds, Log: slog.New(slog.DiscardHandler), Keys: keys,
	})}
	h.fails.Store(true)
	h.options = Options{
		Pool: pool, Store: eventstore.New(pool), Codec: codec, Submit: h.loop.Submit, LeaseTTL: time.Second,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: telemetry.New("test"),
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		h.loop.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		hubtest.Wait(t, patience, "the loop to stop", stopped)
	})
	return h
}

// note records notes on a stream and returns the last position.
func (h *hub) note(t require.TestingT, stream string, texts ...string) (position int64) {
	for _, text := range texts {
		receipt, err := h.loop.Submit(context.Background(), commands.Submission{
			Decider: write{stream: domain.NewTag("note", stream), payload: noted{text}},
			Meta:    domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, CorrelationID: "c-" + text},
		})
		require.NoError(t, err)
		position = receipt.Position
	}
	return position
}

// run runs an engine until the test ends or stop is called.
func (h *hub) run(t *testing.T, options Options) (engine *Engine, stop func()) {
	t.Helper()
	engine = newEngine(options, []Reaction{copying(h.fails)})
	return engine, h.runEngine(t, engine)
}

func (h *hub) runEngine(t *testing.T, engine *Engine) (stop func()) {
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

// begin lets the reaction take its place at the beginning of the log.
func (h *hub) begin(t *testing.T) {
	t.Helper()
	_, err := h.admin.Exec(t.Context(), `INSERT INTO reaction_checkpoints (name, position, epoch, updated_at)
		SELECT 'copying', 0, epoch, clock_timestamp() FROM log_head()`)
	require.NoError(t, err)
}

func (h *hub) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// copies are the texts of all copies in the order of the log.
func (h *hub) copies(t *testing.T) []string {
	t.Helper()
	rows, err := h.admin.Query(t.Context(), `SELECT convert_from(data, 'UTF8')::json->>'text' FROM events WHERE type = 'note.copied' ORDER BY position`)
	require.NoError(t, err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return texts
}

// copied waits until there are as many copies as texts, and compares them.
func (h *hub) copied(t *testing.T, texts ...string) {
	t.Helper()
	h.until(t, fmt.Sprintf("there are %d copies", len(texts)), func() bool { return len(h.copies(t)) >= len(texts) })
	require.Equal(t, texts, h.copies(t))
}

// listing is the reaction as the database has it.
func (h *hub) listing(t *testing.T) Listing {
	t.Helper()
	listings, err := List(t.Context(), h.options.Pool)
	require.NoError(t, err)
	require.Len(t, listings, 1)
	return listings[0]
}

// parked waits until so many events are parked, and returns them.
func (h *hub) parked(t *testing.T, count int) []Parked {
	t.Helper()
	h.until(t, fmt.Sprintf("%d events are parked", count), func() bool { return h.listing(t).Parked == int64(count) })
	return h.listing(t).Items
}

// publish sends what the log has after a position and returns where it ends.
func (h *hub) publish(t *testing.T, js jetstream.JetStream, after int64) int64 {
	t.Helper()
	_, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: relay.StreamName, Subjects: []string{"hub.events.>"}, FirstSeq: uint64(after) + 1,
	})
	require.NoError(t, err)
	entries, err := h.options.Store.ReadLog(t.Context(), after, eventstore.MaxReadLimit)
	require.NoError(t, err)
	for _, entry := range entries {
		_, err := js.PublishMsg(t.Context(), relay.Encode(entry))
		require.NoError(t, err)
		after = entry.Position
	}
	return after
}
