package commands_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// added is the one event of the tests' own area: a counter with a limit.
type added struct {
	Amount int `json:"amount"`
}

func (added) EventType() string { return "counter.added" }

type counter struct{ total int }

func (c counter) Evolve(f domain.Fact) domain.State {
	if f.Payload.(added).Amount == unfoldable {
		panic("an amount that no fold should meet")
	}
	c.total += f.Payload.(added).Amount
	return c
}

func (counter) Size() int { return 8 }

func (c counter) Keep() ([]byte, error) { return json.Marshal(c.total) }

func (counter) Restore(data []byte) (domain.State, error) {
	var c counter
	err := json.Unmarshal(data, &c.total)
	return c, err
}

const (
	limit      = 1000
	unfoldable = 1_000_001
)

// add adds to a counter; above the limit it refuses. Linked counters are read, so
// that the command depends on them, and found only once the first is loaded.
type add struct {
	counter domain.Tag
	amount  int
	linked  []domain.Tag
	// also are counters that the event adds to, without being read.
	also     []domain.Tag
	subjects []string
	// unnamed says that it does not ask for the keys of its subjects.
	unnamed bool
	fresh   bool
	panics  bool
}

func (a add) Boundaries(r domain.Reader) []domain.Tag {
	named := []domain.Tag{a.counter}
	if domain.Read[counter](r, a.counter).total > 0 {
		named = append(named, a.linked...)
	}
	if !a.unnamed {
		for _, subject := range a.subjects {
			named = append(named, domain.SubjectTag(subject))
		}
	}
	return named
}

func (a add) Fresh() []domain.Tag {
	if a.fresh {
		return []domain.Tag{a.counter}
	}
	return nil
}

func (a add) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	if a.panics {
		panic("on purpose")
	}
	version := r.Version(a.counter)
	if m.IfMatch != nil && *m.IfMatch != version {
		return domain.Decision{}, problem.StaleVersion(version)
	}
	total := domain.Read[counter](r, a.counter).total
	d := domain.Decision{ResourceID: a.counter.Name(), Stream: a.counter, Created: version == 0}
	switch {
	case total+a.amount > limit:
		return domain.Decision{}, problem.New(problem.Conflict, "full", "The counter is full.")
	case a.amount == 0:
		return d, nil
	}
	d.Facts = []domain.Fact{{Stream: a.counter, Tags: a.also, Subjects: a.subjects, Payload: added{a.amount}}}
	return d, nil
}

type system struct {
	url   string
	store *eventstore.Store
}

func newSystem(t *testing.T) system {
	t.Helper()
	url := hubtest.Database(t, hubtest.Log())
	return system{url, eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand)))}
}

// loop starts one more loop, as another process would have, stopped after the test.
func (s system) loop(t *testing.T, kinds ...domain.EventKind) *commands.Loop {
	t.Helper()
	return s.loopAt(t, s.url, kinds...)
}

// loopAt starts a loop that reaches the log by another way.
func (s system) loopAt(t *testing.T, url string, kinds ...domain.EventKind) *commands.Loop {
	t.Helper()
	if kinds == nil {
		kinds = []domain.EventKind{domain.Kind[added]()}
	}
	l := commands.New(commands.Options{
		Store: eventstore.New(hubtest.Pool(t, url, string(eventstore.RoleCommand))), Codec: eventstore.NewCodec(kinds...),
		Folds: domain.Folds{"counter": counter{}}, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
	})
	return l
}

func submission(d domain.Decider) commands.Submission {
	return commands.Submission{Decider: d, Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, Roles: []string{"editor"}}}
}

func keyed(d domain.Decider, key, hash string) commands.Submission {
	s := submission(d)
	s.IdempotencyKey, s.RequestHash = key, []byte(hash)
	return s
}

func (s system) total(t *testing.T, tag domain.Tag) (total int, events int) {
	t.Helper()
	recorded, err := s.store.Read(t.Context(), "acme", eventstore.Query{Stream: tag})
	require.NoError(t, err)
	for i, e := range recorded {
		var payload added
		require.NoError(t, json.Unmarshal(e.Data, &payload))
		require.Equal(t, int64(i+1), e.Version)
		total += payload.Amount
	}
	return total, len(recorded)
}

// stopped is a loop that nobody runs, for turns put together by hand.
func (s system) stopped() *commands.Loop {
	return commands.New(commands.Options{
		Store: s.store, Codec: eventstore.NewCodec(domain.Kind[added]()), Folds: domain.Folds{"counter": counter{}},
		Log: slog.New(slog.DiscardHandler),
	})
}

// raw writes events of counters past the loop, each adding amount.
func (s system) raw(t *testing.T, counter domain.Tag, amount, events int) {
	t.Helper()
	_, err := hubtest.Pool(t, s.url, "").Exec(t.Context(), `
		WITH written AS (
		  INSERT INTO events
		  SELECT head + n, n, epoch, gen_random_uuid(), 'acme', $1, n, 'counter.added', 1, ARRAY[$1], '{}',
		         convert_to(json_build_object('amount', $2::int)::text, 'UTF8'), '{}', NULL,
		         NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('')
		    FROM log_head(), generate_series(1, $3) n RETURNING position)
		INSERT INTO event_tags SELECT 'acme', $1, position FROM written`, string(counter), amount, events)
	require.NoError(t, err)
}
