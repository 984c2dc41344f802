package hubtest

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/internal/local"
)

// Broker is a NATS server of one test, and a connection to it.
type Broker struct {
	StoreDir  string
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	server    *local.NATS
	t         testing.TB
}

// NATS starts a server with JetStream in the test's process, on an empty store.
func NATS(tb testing.TB) *Broker {
	tb.Helper()
	b := &Broker{StoreDir: tb.TempDir(), t: tb}
	b.Start()
	tb.Cleanup(b.Stop)
	return b
}

// Connect makes one more connection, closed after the test.
func (b *Broker) Connect(options ...nats.Option) *nats.Conn {
	b.t.Helper()
	conn, err := b.server.Connect(options...)
	if err != nil {
		b.t.Fatalf("connect to NATS: %v", err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// Stop ends the server, as an outage; Start brings it back on what is then in
// StoreDir, with a new Conn and JetStream. Connections made before stay lost.
func (b *Broker) Stop() {
	b.Conn.Close()
	b.server.Stop()
}

// Start is for after Stop.
func (b *Broker) Start() {
	b.t.Helper()
	server, err := local.StartNATS(local.NATSOptions{StoreDir: b.StoreDir})
	if err != nil {
		b.t.Fatalf("start NATS: %v", err)
	}
	b.server = server
	b.Conn = b.Connect()
	if b.JetStream, err = jetstream.New(b.Conn); err != nil {
		b.t.Fatalf("JetStream: %v", err)
	}
}
