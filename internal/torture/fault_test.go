package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/lease"
)

// longestFault is how long something stays broken at most; most end when the clients
// have gone on for a while.
const longestFault = 2 * time.Second

// fault breaks something and returns what it was and how to mend it.
type fault func(*saboteur) (what string, mend func())

// pastALease is how long the holder of a lease has to be stopped to lose it.
const pastALease = lease.DefaultTTL + time.Second

// saboteur breaks one thing after the other.
type saboteur struct {
	system *system
	random *rand.Rand
	// snapshot is an old one, held open.
	snapshot *pgx.Conn
	// lasting is how long the clients have to go on at least before it is mended.
	lasting time.Duration
	// copies are earlier states of the storage of NATS.
	copies []string
}

// faults are all that it knows, some of them several times because they come rarely to
// the right moment.
func faults() []fault {
	return []fault{
		killHub, killHub, stopHub, stopHub, loseReply, loseReply, loseReply, cutNow, cutAfter, cutAfter, cutAfter, pauseDatabase, slowDatabase,
		killPostgres, stopPostgresFast, stopPostgresImmediate, holdSnapshot,
		killNATS, stopNATS, cutNATS, wipeNATS, replaceNATS, stopPastALease, rebuildView,
	}
}

// traps break a connection later, when something else may be broken too.
func traps() []fault { return []fault{loseReply, cutAfter} }

func (s *saboteur) node() *node { return s.system.nodes[s.random.IntN(len(s.system.nodes))] }

func (s *saboteur) front() *node { return s.system.fronts()[s.random.IntN(2)] }

func nothing() {}

func killHub(s *saboteur) (string, func()) {
	n := s.node()
	n.process.Kill()
	return fmt.Sprintf("kill -9 of hub serve %v", n.roles), n.start
}

func stopHub(s *saboteur) (string, func()) {
	n := s.node()
	n.process.Signal(syscall.SIGSTOP)
	return fmt.Sprintf("SIGSTOP of hub serve %v", n.roles), func() { n.process.Signal(syscall.SIGCONT) }
}

// loseReply breaks the connection between the commit and its reply, of a turn at the
// first try or of one decided under the lock.
func loseReply(s *saboteur) (string, func()) {
	n := s.front()
	sql := []string{"append_events(", "append_events(", "commit"}[s.random.IntN(3)]
	n.proxy.LoseReply(hubtest.Executes(sql))
	return "the reply to " + sql + " gets lost", nothing
}

func cutNow(s *saboteur) (string, func()) {
	s.node().proxy.Cut()
	return "connections cut", nothing
}

func cutAfter(s *saboteur) (string, func()) {
	direction, bytes := hubtest.Direction(s.random.IntN(2)), s.random.Int64N(20_000)
	s.node().proxy.CutAfter(direction, bytes)
	return fmt.Sprintf("a connection is cut after %d bytes", bytes), nothing
}

func pauseDatabase(s *saboteur) (string, func()) {
	n := s.node()
	n.proxy.Pause()
	return "PostgreSQL falls silent", n.proxy.Resume
}

func slowDatabase(s *saboteur) (string, func()) {
	n := s.node()
	n.proxy.Slow(20 * time.Millisecond)
	return "PostgreSQL is slow", func() { n.proxy.Slow(0) }
}

func killPostgres(s *saboteur) (string, func()) {
	s.system.postgres.Kill()
	return "kill -9 of PostgreSQL", s.system.postgres.Start
}

func stopPostgresFast(s *saboteur) (string, func()) {
	s.system.postgres.StopFast()
	return "PostgreSQL restarted", s.system.postgres.Start
}

func stopPostgresImmediate(s *saboteur) (string, func()) {
	s.system.postgres.StopImmediate()
	return "PostgreSQL restarted, without shutting down", s.system.postgres.Start
}

// holdSnapshot keeps an old snapshot open until it is called again.
func holdSnapshot(s *saboteur) (string, func()) {
	t := s.system.t
	s.release()
	conn, err := pgx.Connect(t.Context(), s.system.postgres.URL("postgres"))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events")
	require.NoError(t, err)
	s.snapshot = conn
	return "a snapshot is held open", nothing
}

func (s *saboteur) release() {
	if s.snapshot != nil {
		_ = s.snapshot.Close(context.Background()) // the server may be another by now
		s.snapshot = nil
	}
}

func killNATS(s *saboteur) (string, func()) {
	s.system.nats.Kill()
	return "kill -9 of NATS", s.system.nats.Start
}

func stopNATS(s *saboteur) (string, func()) {
	s.system.nats.Signal(syscall.SIGSTOP)
	return "SIGSTOP of NATS", func() { s.system.nats.Signal(syscall.SIGCONT) }
}

func cutNATS(s *saboteur) (string, func()) {
	s.system.nats.Proxy.Cut()
	return "connections to NATS cut", nothing
}

func wipeNATS(s *saboteur) (string, func()) {
	s.system.nats.Kill()
	s.empty()
	return "NATS loses everything", s.system.nats.Start
}

// replaceNATS puts an older copy of the storage of NATS in its place, and keeps one of
// what is there now.
func replaceNATS(s *saboteur) (string, func()) {
	t, store := s.system.t, s.system.nats.StoreDir
	s.system.nats.Kill()
	kept := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.CopyFS(kept, os.DirFS(store)))
	s.copies = append(s.copies, kept)
	older := s.copies[s.random.IntN(len(s.copies))]
	s.empty()
	require.NoError(t, os.CopyFS(store, os.DirFS(older)))
	return "NATS has an older copy of its storage", s.system.nats.Start
}

// stopPastALease stops a process of those that relay and project for so long that
// another one takes over, and then lets it go on as if nothing had happened.
func stopPastALease(s *saboteur) (string, func()) {
	backs := slices.DeleteFunc(slices.Clone(s.system.nodes), func(n *node) bool { return !slices.Equal(n.roles, back) })
	n := backs[s.random.IntN(len(backs))]
	n.process.Signal(syscall.SIGSTOP)
	s.lasting = pastALease
	return fmt.Sprintf("hub serve %v is stopped past its leases", n.roles), func() { n.process.Signal(syscall.SIGCONT) }
}

// rebuildView breaks nothing: a view is built anew and swapped in while clients read.
func rebuildView(s *saboteur) (string, func()) {
	return "the view is rebuilt", s.system.command("projections", "rebuild", "entities")
}

// empty removes all that NATS has stored; it must not run.
func (s *saboteur) empty() {
	t := s.system.t
	entries, err := os.ReadDir(s.system.nats.StoreDir)
	require.NoError(t, err)
	for _, entry := range entries {
		require.NoError(t, os.RemoveAll(filepath.Join(s.system.nats.StoreDir, entry.Name())))
	}
}
