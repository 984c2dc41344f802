package local_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/local"
)

func startNATS(t *testing.T, options local.NATSOptions) *local.NATS {
	t.Helper()
	server, err := local.StartNATS(options)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server
}

func TestStreamsSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startNATS(t, local.NATSOptions{StoreDir: dir})
	require.Empty(t, first.URL(), "nobody else can connect")
	conn, err := first.Connect()
	require.NoError(t, err)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "kept", []byte("it"))
	require.NoError(t, err)
	conn.Close()
	first.Stop()

	second := startNATS(t, local.NATSOptions{StoreDir: dir})
	conn, err = second.Connect()
	require.NoError(t, err)
	defer conn.Close()
	js, err = jetstream.New(conn)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "KEPT")
	require.NoError(t, err)
	message, err := stream.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "it", string(message.Data))
}

func TestListensWhenAsked(t *testing.T) {
	t.Parallel()
	server := startNATS(t, local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	conn, err := nats.Connect(server.URL())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Flush())
}

// Who comes over the network reads streams in all ways there are, and changes nothing.
func TestClientsOfTheNetworkOnlyRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said bytes.Buffer
	server := startNATS(t, local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: "127.0.0.1:0", ReadOnly: true, Log: slog.New(slog.NewTextHandler(&said, nil))})
	require.Empty(t, said.String(), "there is nothing to warn of")
	own, err := server.Connect()
	require.NoError(t, err)
	defer own.Close()
	ownStreams, err := jetstream.New(own)
	require.NoError(t, err)
	stream, err := ownStreams.CreateStream(ctx, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, AllowDirect: true})
	require.NoError(t, err)
	for range 3 {
		_, err = ownStreams.Publish(ctx, "events.a", []byte("true"))
		require.NoError(t, err)
	}

	refused := make(chan string, 100)
	conn, err := nats.Connect(server.URL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err.Error() }))
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)

	read, err := js.Stream(ctx, "EVENTS")
	require.NoError(t, err)
	_, err = read.GetMsg(ctx, 2)
	require.NoError(t, err)
	names := js.StreamNames(ctx)
	require.Equal(t, "EVENTS", hubtest.Wait(t, time.Minute, "a name", names.Name()))
	durable, err := js.CreateConsumer(ctx, "EVENTS", jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	next, err := durable.Next()
	require.NoError(t, err)
	require.NoError(t, next.DoubleAck(ctx))
	ordered, err := js.OrderedConsumer(ctx, "EVENTS", jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	messages, err := ordered.Messages()
	require.NoError(t, err)
	defer messages.Stop()
	for range 3 {
		_, err = messages.Next(jetstream.NextContext(ctx))
		require.NoError(t, err)
	}
	older, err := conn.JetStream()
	require.NoError(t, err)
	pushed, err := older.SubscribeSync("events.>", nats.OrderedConsumer(), nats.BindStream("EVENTS"))
	require.NoError(t, err)
	for range 3 {
		_, err = pushed.NextMsgWithContext(ctx)
		require.NoError(t, err)
	}
	live, err := conn.SubscribeSync("events.>")
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	_, err = ownStreams.Publish(ctx, "events.a", []byte("true"))
	require.NoError(t, err)
	_, err = live.NextMsgWithContext(ctx)
	require.NoError(t, err)

	for _, subject := range []string{
		"events.a", "other", "$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.UPDATE.EVENTS", "$JS.API.STREAM.DELETE.EVENTS", "$JS.API.STREAM.PURGE.EVENTS",
		"$JS.API.STREAM.MSG.DELETE.EVENTS", "$JS.API.STREAM.RESTORE.MINE", "$JS.API.STREAM.SNAPSHOT.EVENTS", "$JS.API.ACCOUNT.PURGE.x", "$SYS.REQ.SERVER.PING",
	} {
		require.NoError(t, conn.Publish(subject, []byte("{}")))
		require.Contains(t, hubtest.Wait(t, time.Minute, "a refusal of "+subject, refused), fmt.Sprintf("Publish to %q", subject))
	}
	info, err := stream.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(4), info.State.LastSeq)
	require.Equal(t, uint64(4), info.State.Msgs)

	guessed, err := nkeys.CreateUser()
	require.NoError(t, err)
	name, err := guessed.PublicKey()
	require.NoError(t, err)
	_, err = nats.Connect(server.URL(), nats.Nkey(name, guessed.Sign))
	require.ErrorIs(t, err, nats.ErrAuthorization)
}

func TestRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"nowhere", "127.0.0.1:none", "127.0.0.1:70000"} {
		_, err := local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: address})
		require.Error(t, err, address)
	}
}

func TestRefusesATakenAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	address := fmt.Sprintf("127.0.0.1:%d", listener.Addr().(*net.TCPAddr).Port)
	_, err = local.StartNATS(local.NATSOptions{StoreDir: t.TempDir(), ListenAddr: address})
	require.ErrorContains(t, err, address)
}
