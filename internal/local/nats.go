package local

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Bounds of the embedded JetStream. Everything of ours is stored in files; the
// memory is for what a curious client makes. The store is generous because a
// stream that reaches it stops taking messages: streams need a limit of their
// own (MaxBytes, oldest first out) well below MaxNATSStoreBytes.
const (
	maxNATSMemoryBytes = 64 << 20
	MaxNATSStoreBytes  = 16 << 30
)

// natsReadyTime is how long the server may take to come up; 12 ms when cold, and
// a tenth of a second for each 50,000 stored messages on a slow disk.
const natsReadyTime = 30 * time.Second

// NATSOptions say how to run NATS in this process.
type NATSOptions struct {
	// StoreDir keeps the streams; made if missing.
	StoreDir string
	// ListenAddr is "host:port" for clients of other processes, port 0 for any
	// that is free. Empty means that only this process can connect.
	ListenAddr string
	// ReadOnly lets those clients read streams, and do nothing else.
	ReadOnly bool
	// Log gets warnings and errors of the server; nil is silence.
	Log *slog.Logger
}

// NATS is a server with JetStream in this process.
type NATS struct {
	server *server.Server
	// own is the key of this process's own connections, nil where everybody may do as much.
	own nkeys.KeyPair
}

// readOnly makes two users: this process, with a key of the moment, which may do everything,
// and everybody else, without one, who may read streams: ask what there is, get single
// messages, have consumers and acknowledge. What else they publish is refused, so that nobody
// makes events or takes them away. A client can still have the server put one of its answers
// into a stream, by naming a subject of it as the place to answer to; that is no event, and
// the relay makes the stream anew.
func readOnly(settings *server.Options) (own nkeys.KeyPair, err error) {
	allowed := []string{
		"$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
		"$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.>", "$JS.ACK.>", "$JS.FC.>",
	}
	for _, permissions := range []*server.Permissions{{Publish: &server.SubjectPermission{Allow: allowed}}, nil} {
		if own, err = nkeys.CreateUser(); err != nil {
			return nil, err
		}
		name, err := own.PublicKey()
		if err != nil {
			return nil, err
		}
		settings.Nkeys = append(settings.Nkeys, &server.NkeyUser{Nkey: name, Permissions: permissions})
	}
	settings.NoAuthUser = settings.Nkeys[0].Nkey
	return own, nil
}

// StartNATS returns when clients can connect.
func StartNATS(options NATSOptions) (*NATS, error) {
	settings := &server.Options{
		ServerName: "hub-local",
		JetStream:  true, StoreDir: options.StoreDir,
		JetStreamMaxMemory: maxNATSMemoryBytes, JetStreamMaxStore: MaxNATSStoreBytes,
		DontListen: options.ListenAddr == "",
		NoSigs:     true, // signals are the process's own business
		NoLog:      true, // set below
	}
	if options.ListenAddr != "" {
		// The server itself only says that it did not come up.
		listener, err := net.Listen("tcp", options.ListenAddr)
		if err != nil {
			return nil, fmt.Errorf("address for NATS clients: %w", err)
		}
		address := listener.Addr().(*net.TCPAddr)
		settings.Host, settings.Port = address.IP.String(), address.Port
		if err := listener.Close(); err != nil {
			return nil, err
		}
	}
	n := &NATS{}
	if options.ReadOnly {
		var err error
		if n.own, err = readOnly(settings); err != nil {
			return nil, fmt.Errorf("embedded NATS: %w", err)
		}
	}
	s, err := server.NewServer(settings)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	if options.Log != nil {
		s.SetLogger(natsLog{options.Log.With("component", "nats")}, false, false)
	}
	s.Start()
	n.server = s
	if !s.ReadyForConnections(natsReadyTime) {
		n.Stop()
		return nil, errors.New("embedded NATS did not come up: is its address taken, or its store damaged?")
	}
	return n, nil
}

// Connect makes a connection within the process, without a socket, that may do everything.
func (n *NATS) Connect(options ...nats.Option) (*nats.Conn, error) {
	options = append(options, nats.InProcessServer(n.server))
	if n.own != nil {
		name, err := n.own.PublicKey()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Nkey(name, n.own.Sign))
	}
	return nats.Connect("", options...)
}

// URL is where other processes connect; empty when they cannot.
func (n *NATS) URL() string {
	if n.server.Addr() == nil {
		return ""
	}
	return n.server.ClientURL()
}

// Stop ends the server and waits for its files to be closed. Connections of this
// process go on trying to reconnect to it; close them first.
func (n *NATS) Stop() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// natsLog passes on what a person should know; the server's notices are chatter
// to everybody but its developers.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l natsLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l natsLog) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l natsLog) Fatalf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l natsLog) Debugf(string, ...any)           {}
func (l natsLog) Tracef(string, ...any)           {}
