package local_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

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
