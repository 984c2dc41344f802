package torture

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

// One fault each, at the moment that matters, where TestTorture breaks things anywhere.

// scenario is a load of one client, who has defined the types.
type scenario struct {
	*load
	client *client
}

func newScenario(t *testing.T, roles ...[]string) scenario {
	t.Helper()
	l := newLoad(newSystem(t, roles...))
	l.defineTypes()
	return scenario{l, l.client(1, 0)}
}

// settled settles what is open and looks whether all promises about commands are kept.
func (s scenario) settled() {
	t := s.system.t
	t.Helper()
	s.settle(1)
	report(t, 1, History{Operations: s.finished, Reads: s.reads, Log: s.system.readLog()})
}

func (s scenario) operation(kind Kind, keyed bool) Operation {
	return Operation{ID: int(s.asked.Add(1)), Kind: kind, Org: s.client.org, Value: 1, Keyed: keyed}
}

// create makes an entity, which must succeed at once.
func (s scenario) create(t *testing.T) Receipt {
	t.Helper()
	o := s.operation(Create, false)
	o.Type = types[0]
	s.client.attempt(&o, s.system.nodes[0])
	require.Equal(t, http.StatusCreated, o.Attempts[0].Status)
	s.finish(o)
	return o.Attempts[0].Receipt
}

// createSoon makes an entity as soon as the log takes one.
func (s *scenario) createSoon(t *testing.T) {
	t.Helper()
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	for deadline := time.After(settleTime); ; {
		o := s.operation(Create, false)
		o.Type = types[0]
		s.client.attempt(&o, s.system.nodes[0])
		s.finish(o)
		if o.Attempts[0].Status == http.StatusCreated {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("the log takes nothing: %+v", o.Attempts)
		}
	}
}

// The connection breaks between commit and reply: the process finds out by itself, so
// callers are told the outcome, with a key and without.
func TestAReplyFromTheDatabaseIsLost(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front)
	for i, sql := range []string{"append_events(", "append_events(", "commit", "commit"} {
		o := s.operation(Create, i%2 == 0)
		o.Type, o.Key = types[0], fmt.Sprint(i)
		lost := s.system.nodes[0].proxy.LoseReply(hubtest.Executes(sql))
		if sql == "commit" {
			// A turn is decided under the lock when the first try was on what is over: a
			// second process has changed what this one remembers.
			s.behindItsBack(t)
		}
		s.client.attempt(&o, s.system.nodes[0])
		hubtest.Wait(t, settleTime, "the reply to get lost", lost)
		require.Equal(t, http.StatusCreated, o.Attempts[0].Status)
		assert.False(t, o.Attempts[0].Replayed)
		if o.Keyed {
			s.client.attempt(&o, s.system.nodes[0])
			assert.True(t, o.Attempts[1].Replayed)
		}
		s.finish(o)
	}
	s.settled()
}

// behindItsBack changes the type as another process would, through a node that is
// started for that.
func (s scenario) behindItsBack(t *testing.T) {
	t.Helper()
	if len(s.system.nodes) == 1 {
		s.system.add(front)
	}
	o := s.operation(Define, false)
	o.Type, o.Value = types[0], o.ID
	s.client.attempt(&o, s.system.nodes[1])
	require.Equal(t, http.StatusOK, o.Attempts[0].Status)
	s.finish(o)
}

// The process dies between commit and reply. Who asks again with the key is told what
// happened; without one it is another request.
func TestTheProcessDiesBetweenCommitAndReply(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front)
	node := s.system.nodes[0]
	for _, keyed := range []bool{true, false} {
		// A process that has just started decides its first turn twice.
		s.create(t)
		o := s.operation(Create, keyed)
		o.Type = types[0]
		reply := node.proxy.CatchReply(hubtest.Executes("append_events("))
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			s.client.attempt(&o, node)
		}()
		hubtest.Wait(t, settleTime, "the commit", reply.Arrived())
		node.process.Kill()
		reply.Cut()
		hubtest.Wait(t, settleTime, "the client to notice", asked)
		require.Zero(t, o.Attempts[0].Status)
		node.start()
		if keyed {
			s.client.attempt(&o, node)
			require.Equal(t, http.StatusCreated, o.Attempts[1].Status)
			require.True(t, o.Attempts[1].Replayed)
			s.finish(o)
			continue
		}
		s.finish(o)
		s.create(t)
	}
	s.settled()
	assert.Len(t, s.system.readLog(), len(organisations)*len(types)+2+1+2, "the types, one before each, one for the key, two without")
}

// The same request with the same key arrives at two processes at once, round after
// round: both are told the same, and one of them that it is a replay.
func TestOneKeyOnTwoProcessesAtOnce(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front, front)
	for round := range 100 {
		o := s.operation(Create, true)
		o.Type, o.Key = types[0], fmt.Sprint(round/2) // every second one is refused
		s.client.together(&o)
		require.ElementsMatch(t, []bool{false, true}, []bool{o.Attempts[0].Replayed, o.Attempts[1].Replayed}, "%+v", o)
		s.finish(o)
	}
	s.settled()
}

// Writers at two processes are released together, round after round, and want one key,
// then one entity at the version they know, then that entity at any: the first two go to
// one of them, and the last is refused to nobody.
func TestRacersAtTwoProcesses(t *testing.T) {
	t.Parallel()
	const racers, rounds = 8, 70
	s := newScenario(t, front, front)
	for round := range rounds {
		key := s.race(racers, func(o *Operation) { o.Kind, o.Type, o.Key = Create, types[0], fmt.Sprint(round) })
		require.Equal(t, map[int]int{http.StatusCreated: 1, http.StatusConflict: racers - 1}, statusesOf(key))
		winner := key[slices.IndexFunc(key, func(o Operation) bool { return o.Attempts[0].accepted() })].Attempts[0].Receipt
		at := s.race(racers, func(o *Operation) { o.Kind, o.Entity, o.Value, o.IfMatch = Patch, winner.ID, o.ID, winner.Version })
		require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusPreconditionFailed: racers - 1}, statusesOf(at))
		anyhow := s.race(racers, func(o *Operation) { o.Kind, o.Entity, o.Value = Patch, winner.ID, o.ID })
		require.Equal(t, map[int]int{http.StatusOK: racers}, statusesOf(anyhow))
	}
	s.settled()
}

// race has several operations, each made by what it is given, arrive at the fronts at
// once.
func (s scenario) race(racers int, is func(*Operation)) []Operation {
	fronts := s.system.fronts()
	operations := make([]Operation, racers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range operations {
		operations[i] = s.operation("", false)
		is(&operations[i])
		operations[i].Attempts = []Attempt{{Request: fmt.Sprintf("%d.0", operations[i].ID), Began: s.clock.Add(1)}}
		group.Go(func() {
			<-start
			s.client.ask(operations[i], &operations[i].Attempts[0], fronts[i%len(fronts)])
		})
	}
	close(start)
	group.Wait()
	for _, o := range operations {
		s.finish(o)
	}
	return operations
}

func statusesOf(operations []Operation) map[int]int {
	statuses := make(map[int]int)
	for _, o := range operations {
		statuses[o.Attempts[0].Status]++
	}
	return statuses
}

// PostgreSQL is restarted, in order and without shutting down, in the middle of a
// thousand commands: each ends accepted or refused, in the log once or not at all.
func TestPostgresIsRestartedAmongAThousandCommands(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front, front)
	done := s.write(t)
	for i, stop := range []func(){s.system.postgres.StopFast, s.system.postgres.StopImmediate, nil} {
		s.untilAsked(t, int64(i+1)*1000/3)
		if stop != nil {
			stop()
			s.system.postgres.Start()
		}
	}
	done()
	s.settled()
	for _, n := range s.system.nodes {
		n.alive()
	}
}

// write has clients write, without reads, until the function returned is called.
func (l *load) write(t *testing.T) (done func()) {
	t.Helper()
	working, end := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for number := range uint64(clients) {
		c := l.client(1, number)
		group.Go(func() {
			for working.Err() == nil {
				c.write(working)
			}
		})
	}
	done = func() {
		end()
		group.Wait()
	}
	t.Cleanup(done)
	return done
}

// untilAsked waits until clients have begun so many operations.
func (l *load) untilAsked(t *testing.T, operations int64) {
	t.Helper()
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	deadline := time.After(settleTime)
	for l.asked.Load() < operations {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%d of %d operations in %s", l.asked.Load(), operations, settleTime)
		}
	}
}

// Somebody's long transaction in another database of the server, with changes in it and
// an old snapshot, delays neither commands, nor the copy, nor reads of what was written.
func TestALongTransactionElsewhereDelaysNobody(t *testing.T) {
	t.Parallel()
	s := newScenario(t)
	execute := func(database, sql string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), s.system.postgres.URL(database))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		_, err = conn.Exec(t.Context(), sql)
		require.NoError(t, err)
		return conn
	}
	execute("postgres", "CREATE DATABASE elsewhere")
	execute("elsewhere", "CREATE TABLE numbers (n int)")
	long := execute("elsewhere", "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO numbers VALUES (1)")

	consuming, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	consumed := s.system.consume(consuming)
	for range 50 {
		s.client.read(s.create(t).ID)
		require.Equal(t, http.StatusOK, s.reads[len(s.reads)-1].Status, "a read of what was just written")
	}
	log := s.system.readLog()
	require.Len(t, consumed.upTo(int64(len(log))), len(log))
	s.settled()
	_, err := long.Exec(t.Context(), "COMMIT")
	require.NoError(t, err, "it was open all the time")
}

// The log goes from one partition into the next while clients write. A superuser's
// INSERT stands in for the millions of events before.
func TestTheLogCrossesAPartitionUnderLoad(t *testing.T) {
	t.Parallel()
	const before = 1<<24 - 100
	l := newLoad(newSystem(t, front, front))
	conn, err := pgx.Connect(t.Context(), l.system.postgres.URL("postgres"))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), `INSERT INTO events
		SELECT $1, 1, epoch, gen_random_uuid(), 'old', 'a:0', 1, 'thing.happened', 1, '{a:0}', '{}', '{}', '{}', NULL,
		       NULL, NULL, NULL, NULL, gen_random_uuid(), now(), now(), sha256('') FROM log_head()`, before)
	require.NoError(t, err)
	l.defineTypes()
	done := l.write(t)
	l.untilAsked(t, 500)
	done()
	l.settle(1)

	// Counted from the stand-in on, all is as ever.
	log := l.system.readLog()[1:]
	require.Greater(t, len(log), 150, "the log went on in its second partition")
	for i := range log {
		log[i].Position -= before
	}
	for i := range l.finished {
		for j := range l.finished[i].Attempts {
			receipt := &l.finished[i].Attempts[j].Receipt
			receipt.Position = max(0, receipt.Position-before)
			for k := range receipt.Events {
				receipt.Events[k].Position -= before
			}
		}
	}
	report(t, 1, History{Operations: l.finished, Log: log})
	var partitions int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(DISTINCT tableoid) FROM events`).Scan(&partitions))
	assert.Equal(t, 2, partitions)
}

// PostgreSQL comes back as it was some time ago, and NATS has all that came later: the
// log gets it back, with what was answered, and goes on as if it had never been away.
func TestTheLogGetsItsEndBackFromNATS(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front, back)
	consuming, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	consumed := s.system.consume(consuming)
	s.some()
	s.system.postgres.StopFast()
	restore := s.system.postgres.Keep()
	s.system.postgres.Start()
	s.some()
	s.settle(1)
	before := s.system.readLog()
	require.Len(t, consumed.upTo(int64(len(before))), len(before), "NATS has all of it")
	s.system.postgres.Kill()
	restore()
	s.system.postgres.Start()
	s.untilLog(t, len(before))
	assert.Equal(t, before, s.system.readLog(), "row for row, in the same epoch")

	// Receipts travel with events: an answer without any was not kept by NATS.
	for i := range s.finished {
		if o := &s.finished[i]; o.Keyed && len(o.Attempts[0].Receipt.Events) > 0 {
			s.client.attempt(o, s.system.nodes[0])
		}
	}
	s.some()
	s.settle(1)
	h := History{Operations: s.finished, Log: s.system.readLog()}
	h.Delivered, h.Stream = consumed.upTo(int64(len(h.Log))), s.system.stream(int64(len(h.Log)))
	h.Views = []View{s.view("the view", s.system.nodes[0], int64(len(h.Log)))}
	report(t, 1, h)
}

// some does a few things, every second one with a key.
func (s scenario) some() {
	for n := range 30 {
		o := s.client.next()
		o.Keyed = n%2 == 0
		s.client.attempt(&o, s.system.nodes[0])
		s.finish(o)
	}
}

// PostgreSQL comes back as it was some time ago, and takes commands before anybody sees
// that NATS has what it lost: the log goes on in a new epoch, the stream follows it, and
// so does the view, built anew by itself where it had taken what was lost.
func TestTheLogGoesOnWithoutItsEnd(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front, back)
	s.some()
	s.system.postgres.StopFast()
	restore := s.system.postgres.Keep()
	s.system.postgres.Start()
	s.settle(1)
	kept := len(s.finished)
	epoch := s.epoch(t)
	s.some()
	s.settle(1)
	lost := int64(len(s.system.readLog()))
	require.Len(t, s.system.stream(lost), int(lost), "NATS has all of it")

	s.system.nodes[1].process.Kill()
	s.system.postgres.Kill()
	restore()
	s.system.postgres.Start()
	s.finished, s.client.seen = s.finished[:kept], 0
	s.createSoon(t)
	s.system.nodes[1].start()
	s.some()
	s.settle(1)
	log := s.system.readLog()
	for !slices.ContainsFunc(log, func(e Event) bool { return e.Type == "log.forked" }) {
		s.untilLog(t, len(log)+1)
		log = s.system.readLog()
	}
	head := int64(len(log))
	report(t, 1, History{
		Operations: s.finished, Log: log, Stream: s.system.stream(head),
		Views: []View{s.view("the view", s.system.nodes[0], head)},
	})
	assert.NotEqual(t, epoch, s.epoch(t))
	response := s.client.do(s.system.nodes[0], http.MethodGet, "/api/v1/entity-types", nil, http.Header{
		"Hub-Epoch": {epoch}, "Hub-Min-Position": {strconv.FormatInt(max(lost, head)+1, 10)}, "Prefer": {"wait=1"},
	}, &struct{}{})
	require.NotNil(t, response)
	assert.Equal(t, http.StatusConflict, response.StatusCode, "who asks for a position of the old epoch is told")
}

// epoch is the one that reads tell, once there is a view to read.
func (s scenario) epoch(t *testing.T) string {
	t.Helper()
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	for deadline := time.After(settleTime); ; {
		response := s.client.do(s.system.nodes[0], http.MethodGet, "/api/v1/entity-types", nil, http.Header{}, &struct{}{})
		if response != nil && response.StatusCode == http.StatusOK {
			return response.Header.Get("Hub-Epoch")
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("reads tell no epoch, but %v", response)
		}
	}
}

// untilLog waits until the log has so many events.
func (l *load) untilLog(t *testing.T, events int) {
	t.Helper()
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	for deadline := time.After(settleTime); len(l.system.readLog()) < events; {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("the log has %d events and should have %d", len(l.system.readLog()), events)
		}
	}
}

// A projector is stopped for so long that the stream no longer has what it needs next:
// its view goes on from the log, with nothing left out.
func TestAStreamThatKeepsLessThanTheLag(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front)
	s.system.settings = []string{"HUB_STREAM_MAX_BYTES=1MiB"}
	s.system.add([]string{"relay"})
	s.system.add([]string{"projector"})
	projector := s.system.nodes[2].process
	first := s.create(t)
	s.client.read(first.ID)
	projector.Signal(syscall.SIGSTOP)
	for range 40 {
		o := s.operation(Create, false)
		o.Type, o.Text = types[0], strings.Repeat("x", 50<<10)
		s.client.attempt(&o, s.system.nodes[0])
		s.finish(o)
	}
	head := int64(len(s.system.readLog()))
	stream := s.system.stream(head)
	require.Equal(t, head, stream[len(stream)-1].Sequence)
	require.Less(t, len(stream), 30, "the stream has forgotten the first of them")
	projector.Signal(syscall.SIGCONT)
	report(t, 1, History{Operations: s.finished, Reads: s.reads, Log: s.system.readLog(), Views: []View{s.view("the view", s.system.nodes[0], head)}})
}

// The disk of NATS is full: commands are accepted as ever and the view goes on from the
// log. When NATS is back with room, the stream is filled up.
func TestTheDiskOfNATSIsFull(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front, back)
	s.client.read(s.create(t).ID)
	s.system.nats.LimitFiles("60000")
	for range 60 {
		created := s.create(t)
		s.client.read(created.ID)
		require.Equal(t, http.StatusOK, s.reads[len(s.reads)-1].Status, "a read of what was just written")
	}
	head := int64(len(s.system.readLog()))
	require.Less(t, s.system.published(), head, "NATS has room for some of them only")
	s.system.nats.Kill()
	s.system.nats.Start()
	report(t, 1, History{
		Operations: s.finished, Reads: s.reads, Log: s.system.readLog(), Stream: s.system.stream(head),
		Views: []View{s.view("the view", s.system.nodes[0], head)},
	})
}

// The disk is full: tables cannot grow. Commands that need room are refused as not done,
// and once there is room the same requests succeed.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front)
	// The log's segments have this size and are written over and over: they fit.
	const limit = 16 << 20
	s.system.postgres.LimitFiles(strconv.Itoa(limit))
	// Random text does not get smaller when it is compressed.
	random := make([]byte, 100<<10)
	_, err := rand.Read(random)
	require.NoError(t, err)
	text := base64.StdEncoding.EncodeToString(random)

	refused := 0
	for n := 0; refused < 20; n++ {
		require.Less(t, n, 2*limit/len(text), "the limit is never reached")
		o := s.operation(Create, true)
		o.Type, o.Text = types[0], text
		s.client.attempt(&o, s.system.nodes[0])
		a := o.Attempts[0]
		if a.Status == http.StatusServiceUnavailable {
			refused++
			assert.Equal(t, "log_unavailable", a.Code)
		} else {
			require.Equal(t, http.StatusCreated, a.Status)
		}
		s.finish(o)
	}
	head := len(s.system.readLog())
	s.system.postgres.LimitFiles("unlimited")
	s.settled()
	assert.Len(t, s.system.readLog(), head+refused, "each of the refused ones once")
}

// Not even the server's own log can be written: PostgreSQL stops itself. Nothing that
// was acknowledged is lost, and all is settled once there is room.
func TestADiskWithoutRoomForTheServersLog(t *testing.T) {
	t.Parallel()
	s := newScenario(t, front)
	s.system.postgres.LimitFiles("65536")
	statuses := make(map[int]int)
	for range 10 {
		o := s.operation(Create, true)
		o.Type, o.Text = types[0], strings.Repeat("x", 10<<10)
		s.client.attempt(&o, s.system.nodes[0])
		statuses[o.Attempts[0].Status]++
		s.finish(o)
		if o.Attempts[0].Status != http.StatusCreated {
			break
		}
	}
	require.Zero(t, statuses[http.StatusInternalServerError], "%v", statuses)
	require.Positive(t, statuses[http.StatusServiceUnavailable]+statuses[http.StatusGatewayTimeout]+statuses[0], "%v", statuses)
	// The server may be gone, or try to start again and fail; a new one has no limit.
	s.system.postgres.StopImmediate()
	s.system.postgres.Start()
	s.settled()
}
