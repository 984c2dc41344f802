package torture

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/eventstore/relay"
)

// settleTime is how long the copy and the views may take to catch up with the log
// when nothing breaks any more. It only ends a run that has failed.
const settleTime = 2 * time.Minute

// readLog is the log as PostgreSQL has it, past all programs of ours.
func (s *system) readLog() []Event {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.postgres.URL("postgres"))
	require.NoError(s.t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(s.t.Context(), `
		SELECT position, org_position, id::text, org, stream, version, type, coalesce(request_id, 'none'), recorded_at,
		       leaf_hash = sha256('\x00'::bytea || event_leaf(e)), data
		  FROM events e ORDER BY position`)
	require.NoError(s.t, err)
	log, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Event, error) {
		var e Event
		var data []byte
		err := row.Scan(&e.Position, &e.OrgPosition, &e.ID, &e.Org, &e.Stream, &e.Version, &e.Type, &e.Request, &e.RecordedAt, &e.HashAgrees, &data)
		return e, errors.Join(err, json.Unmarshal(data, &e.Data))
	})
	require.NoError(s.t, err)
	return log
}

// view is all that a front shows, no older than head.
func (l *load) view(name string, front *node, head int64) View {
	t := l.system.t
	t.Helper()
	v := View{Name: name, Position: head}
	for i, org := range organisations {
		c := l.client(0, uint64(2*i))
		require.Equal(t, org, c.org)
		for cursor := ""; ; {
			var page struct {
				Items []shownEntity `json:"items"`
				Next  string        `json:"next_cursor"`
			}
			response := c.do(front, http.MethodGet, "/api/v1/entities?status=all&limit=500&sort=created_at"+cursor, nil, http.Header{
				"Hub-Min-Position": {strconv.FormatInt(head, 10)}, "Prefer": {"wait=30"},
			}, &page)
			require.NotNil(t, response, "no answer from a system that is left alone")
			require.Equal(t, http.StatusOK, response.StatusCode)
			for _, item := range page.Items {
				v.Rows = append(v.Rows, item.row(org))
			}
			if page.Next == "" {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(page.Next)
		}
	}
	return v
}

// consumer reads the stream from its first message on, and goes on where it was
// whatever happens to its connection, to NATS or to the stream.
type consumer struct {
	mu       sync.Mutex
	messages []Message
	grown    chan struct{} // has something when messages has
}

func (s *system) jetStream() jetstream.JetStream {
	s.t.Helper()
	conn, err := nats.Connect(s.nats.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(retryPause))
	require.NoError(s.t, err)
	s.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(s.t, err)
	return js
}

// published is the last position that the stream has.
func (s *system) published() int64 {
	s.t.Helper()
	stream, err := s.jetStream().Stream(s.t.Context(), relay.StreamName)
	require.NoError(s.t, err)
	return int64(stream.CachedInfo().State.LastSeq)
}

func (s *system) consume(ctx context.Context) *consumer {
	s.t.Helper()
	js := s.jetStream()
	c := &consumer{grown: make(chan struct{}, 1)}
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			// Whatever ended it: pause, and begin behind what we have.
			_ = c.follow(ctx, js)
			pause(ctx)
		}
	})
	s.t.Cleanup(running.Wait)
	return c
}

// follow takes messages until something breaks or the stream has been silent for long
// enough that the subscription may have been lost.
func (c *consumer) follow(ctx context.Context, js jetstream.JetStream) error {
	ordered, err := js.OrderedConsumer(ctx, relay.StreamName, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(c.last() + 1),
	})
	if err != nil {
		return err
	}
	messages, err := ordered.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		message, err := messages.Next(jetstream.NextContext(limited))
		cancel()
		if err != nil {
			return err
		}
		metadata, err := message.Metadata()
		if err != nil {
			return err
		}
		c.add(Message{int64(metadata.Sequence.Stream), message.Headers().Get("ce-id")})
	}
}

func (c *consumer) add(m Message) {
	c.mu.Lock()
	c.messages = append(c.messages, m)
	c.mu.Unlock()
	select {
	case c.grown <- struct{}{}:
	default:
	}
}

func (c *consumer) last() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.messages) == 0 {
		return 0
	}
	return c.messages[len(c.messages)-1].Sequence
}

// upTo is what was delivered, once that is all up to a position or time is over.
func (c *consumer) upTo(position int64) []Message {
	deadline := time.After(settleTime)
	for c.last() < position {
		select {
		case <-c.grown:
		case <-deadline:
			return c.all()
		}
	}
	return c.all()
}

func (c *consumer) all() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Message{}, c.messages...)
}
