package reactions

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

var seenKey = []byte("the key of these tests")

// seen is a member of acme, by a token issued in this minute.
func seen(sub string, minute int, roles ...string) SeenMember {
	return SeenMember{Org: "acme", Sub: sub, Person: "p-" + sub, Roles: roles, IssuedAt: time.Date(2026, 3, 1, 9, minute, 0, 0, time.UTC)}
}

// observer tells over a connection of its own until the test ends.
func observer(t *testing.T, broker *hubtest.Broker, key []byte) *Observer {
	t.Helper()
	o := NewObserver(broker.Connect(), key, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, hubtest.Wait(t, patience, "the observer to stop", ended))
	})
	return o
}

// members are the events of the directory, in order: sub, person and roles.
func (h *hub) members(t *testing.T) []string {
	t.Helper()
	rows, err := h.admin.Query(t.Context(), `
		SELECT concat_ws(' ', org, stream, actor->>'sub', convert_from(data, 'UTF8')::json->>'person', convert_from(data, 'UTF8')::json->>'roles')
		  FROM events WHERE type = 'member.changed' ORDER BY position`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

func (h *hub) changed(t *testing.T, members ...string) {
	t.Helper()
	h.until(t, fmt.Sprintf("there are %d changes", len(members)), func() bool { return len(h.members(t)) >= len(members) })
	require.Equal(t, members, h.members(t))
}

// What tokens say becomes the directory, once, by several APIs and reactors.
func TestMembersSeenBecomeTheDirectory(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.Conn, h.options.SeenKey = broker.Conn, seenKey
	h.run(t, h.options)
	h.run(t, h.options)
	h.listens(t, broker)
	apis := []*Observer{observer(t, broker, seenKey), observer(t, broker, seenKey)}
	for _, api := range apis {
		api.Seen(seen("ana", 1, "viewer", "editor"))
	}
	first := `acme member:first system:reactor p-first []`
	h.changed(t, first, `acme member:ana system:reactor p-ana ["editor","viewer"]`)
	for _, api := range apis {
		api.Seen(seen("ana", 2, "editor", "viewer"))
		api.Seen(seen("ana", 3, "admin"))
		api.Seen(seen("ana", 1, "viewer", "editor")) // of an earlier token, still in use
	}
	h.changed(t, first, `acme member:ana system:reactor p-ana ["editor","viewer"]`, `acme member:ana system:reactor p-ana ["admin"]`)
	apis[0].Seen(seen("bob", 1))
	h.changed(t, first, `acme member:ana system:reactor p-ana ["editor","viewer"]`, `acme member:ana system:reactor p-ana ["admin"]`, `acme member:bob system:reactor p-bob []`)
}

// listens waits until reactors hear what is told.
func (h *hub) listens(t *testing.T, broker *hubtest.Broker) {
	t.Helper()
	data, err := json.Marshal(seen("first", 1))
	require.NoError(t, err)
	h.until(t, "a reactor hears", func() bool {
		require.NoError(t, broker.Conn.Publish(SeenSubject, newEnvelope(seenKey).close(data)))
		return len(h.members(t)) > 0
	})
}

// Whoever can publish on NATS cannot write the directory.
func TestForgedMembersAreNotBelieved(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.Conn, h.options.SeenKey = broker.Conn, seenKey
	h.run(t, h.options)
	h.listens(t, broker)
	data, err := json.Marshal(seen("eve", 1, "admin"))
	require.NoError(t, err)
	changed := newEnvelope(seenKey).close(data)
	changed[len(changed)-1]++
	for _, message := range [][]byte{data, nil, changed, newEnvelope([]byte("another key")).close(data)} {
		require.NoError(t, broker.Conn.Publish(SeenSubject, message))
	}
	observer(t, broker, []byte("another key")).Seen(seen("eve", 1, "admin"))
	right := observer(t, broker, seenKey)
	right.Seen(SeenMember{Org: "acme", Sub: "no\nlogin", Person: "p"}) // not to be stored, and given up
	right.Seen(seen("ana", 1))
	h.changed(t, `acme member:first system:reactor p-first []`, `acme member:ana system:reactor p-ana []`)
}

// A log that is away loses nobody.
func TestMembersWaitForTheLog(t *testing.T) {
	t.Parallel()
	h, broker := newHub(t), hubtest.NATS(t)
	var away atomic.Bool
	tried := make(chan struct{}, 100)
	h.options.Conn, h.options.SeenKey = broker.Conn, seenKey
	h.options.Submit = func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
		if away.Load() {
			tried <- struct{}{}
			return commands.Receipt{}, problem.New(problem.Unavailable, "log_unavailable", "Later.")
		}
		return h.loop.Submit(ctx, s)
	}
	h.run(t, h.options)
	h.listens(t, broker)
	away.Store(true)
	o := observer(t, broker, seenKey)
	o.Seen(seen("ana", 1))
	o.Seen(seen("bob", 1))
	hubtest.Wait(t, patience, "an attempt", tried)
	away.Store(false)
	h.changed(t, `acme member:first system:reactor p-first []`, `acme member:ana system:reactor p-ana []`, `acme member:bob system:reactor p-bob []`)
}

// told are those that an observer would tell now.
func told(o *Observer) (subs []string) {
	for {
		select {
		case m := <-o.queue:
			subs = append(subs, m.Sub)
		default:
			return subs
		}
	}
}

func TestObserverTellsWhatIsNew(t *testing.T) {
	t.Parallel()
	o := NewObserver(nil, nil, slog.New(slog.DiscardHandler))
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	o.now = func() time.Time { return now }
	o.Seen(seen("ana", 1, "editor", "viewer"))
	o.Seen(seen("ana", 2, "viewer", "editor", "viewer"))
	other := seen("ana", 1, "admin")
	other.Org = "other"
	o.Seen(other)
	require.Equal(t, []string{"ana", "ana"}, told(o), "once in each organisation")

	o.Seen(seen("ana", 3, "admin"))
	require.Equal(t, []string{"ana"}, told(o))
	o.Seen(seen("ana", 2, "viewer", "editor"))
	o.Seen(seen("ana", 3, "admin"))
	require.Empty(t, told(o), "an earlier token says nothing")

	now = now.Add(tellAgain)
	o.Seen(seen("ana", 3, "admin"))
	require.Equal(t, []string{"ana"}, told(o), "should it have got lost")
}

func TestObserverIsBoundedAndNeverWaits(t *testing.T) {
	t.Parallel()
	o := NewObserver(nil, nil, slog.New(slog.DiscardHandler))
	for n := range maxTelling + 10 {
		o.Seen(seen(fmt.Sprint(n), 1))
	}
	require.Len(t, told(o), maxTelling)
	o.Seen(seen("0", 1))
	require.Empty(t, told(o))
	o.Seen(seen(fmt.Sprint(maxTelling), 1))
	require.Len(t, told(o), 1, "what found no room comes another time")

	for n := range 2 * maxObserved {
		o.Seen(seen(fmt.Sprint("m", n), 1))
		told(o)
	}
	require.LessOrEqual(t, len(o.told), maxObserved)
}

// NATS is away: the request goes on, and the member is told of by a later token.
func TestObserverWithoutNATSForgetsWhatItCouldNotTell(t *testing.T) {
	t.Parallel()
	broker := hubtest.NATS(t)
	o := observer(t, broker, seenKey)
	o.conn.Close()
	o.Seen(seen("ana", 1))
	(&hub{}).until(t, "it is forgotten", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.told) == 0
	})
	require.Empty(t, o.queue)
}

// Name and address go from the token into the log without being readable on the way, change
// when a later token says so, and are not taken again of who was erased; roles are.
func TestNamesOfMembersTravelAndStaySealed(t *testing.T) {
	t.Parallel()
	const planted = "planted-name-4714"
	h, broker := newHub(t), hubtest.NATS(t)
	h.options.Conn, h.options.SeenKey = broker.Conn, seenKey
	heard, err := broker.Connect().SubscribeSync(">")
	require.NoError(t, err)
	h.run(t, h.options)
	h.listens(t, broker)
	o := observer(t, broker, seenKey)
	ana := func(minute int, name string, roles ...string) SeenMember {
		m := seen("ana", minute, roles...)
		m.Name, m.Email = name, planted+"@example.com"
		return m
	}
	o.Seen(ana(1, planted))
	first, once := `acme member:first system:reactor p-first []`, `acme member:ana system:reactor p-ana []`
	h.changed(t, first, once)
	o.Seen(ana(2, planted+" the second"))
	h.changed(t, first, once, once)
	var text string
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT string_agg(convert_from(data, 'UTF8') || e::text, ' ') FROM events e`).Scan(&text))
	require.NotContains(t, text, planted)
	require.Contains(t, text, `"name":{"$sealed":`)
	require.Contains(t, text, `"email":{"$sealed":`)
	for range 2 { // at least what the observer has told
		msg, err := heard.NextMsgWithContext(t.Context())
		require.NoError(t, err)
		require.NotContains(t, string(msg.Data), planted)
	}

	o.Seen(seen("bob", 1))
	bob := `acme member:bob system:reactor p-bob []`
	h.changed(t, first, once, once, bob)
	for _, sub := range []string{"ana", "bob"} {
		require.NoError(t, h.keys.Erase(t.Context(), keyring.Ref{Org: "acme", Subject: "member:" + sub}, nil))
	}
	o.Seen(ana(3, "another name", "admin"))
	h.changed(t, first, once, once, bob, `acme member:ana system:reactor p-ana ["admin"]`)
	named := seen("bob", 2, "viewer")
	named.Name = "a first name"
	o.Seen(named)
	h.changed(t, first, once, once, bob, `acme member:ana system:reactor p-ana ["admin"]`, `acme member:bob system:reactor p-bob ["viewer"]`)
	var sealed int
	require.NoError(t, h.admin.QueryRow(t.Context(), `SELECT count(*) FROM events WHERE convert_from(data, 'UTF8') LIKE '%$sealed%'`).Scan(&sealed))
	require.Equal(t, 2, sealed, "none since the erasure")
}
