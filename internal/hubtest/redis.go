package hubtest

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Redis starts a redis-server for one test and returns the proxy in front of it, which
// takes it away, silences it and slows it down. On a machine without that program a
// server in the process stands in, which runs the same commands and scripts.
func Redis(tb testing.TB) *Proxy {
	tb.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		tb.Log("there is no redis-server on this machine; a server in the process stands in")
		return NewProxy(tb, miniredis.RunT(tb).Addr())
	}
	return NewProxy(tb, startRedis(tb, program))
}

// SecuredRedis starts a redis-server, or what stands in for it, that speaks TLS only, to
// clients with a certificate of the authority. It returns the address.
func SecuredRedis(tb testing.TB, a *Authority) string {
	tb.Helper()
	a.Issue("redis", time.Now().Add(time.Hour))
	program, err := exec.LookPath("redis-server")
	if err != nil {
		server := miniredis.NewMiniRedis()
		if err := server.StartTLS(a.Server("redis")); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(server.Close)
		return server.Addr()
	}
	port := strconv.Itoa(FreePort(tb))
	startRedis(tb, program, "--bind", "127.0.0.1", "--tls-port", port, "--tls-auth-clients", "yes",
		"--tls-cert-file", a.Path("redis.crt"), "--tls-key-file", a.Path("redis.key"), "--tls-ca-cert-file", a.Path("ca.crt"))
	return net.JoinHostPort("127.0.0.1", port)
}

// startRedis starts a server for one test and returns the path of its socket.
func startRedis(tb testing.TB, program string, arguments ...string) (socket string) {
	tb.Helper()
	socket = filepath.Join(tb.TempDir(), "redis.sock")
	ctx, kill := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, program, append([]string{"--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", tb.TempDir()}, arguments...)...)
	if err := server.Start(); err != nil {
		kill()
		tb.Fatalf("start redis-server: %v", err)
	}
	tb.Cleanup(func() {
		kill()
		_ = server.Wait() // it was killed, and says so
	})
	awaitRedis(tb, socket)
	return socket
}

// awaitRedis returns when the server answers.
func awaitRedis(tb testing.TB, socket string) {
	tb.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for waited := time.After(time.Minute); ; {
		if pong(socket) {
			return
		}
		select {
		case <-poll.C:
		case <-waited:
			tb.Fatal("redis-server does not answer")
		}
	}
}

func pong(socket string) bool {
	var dialer net.Dialer
	conn, err := dialer.DialContext(context.Background(), "unix", socket)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // all has been said
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && answer == "+PONG\r\n"
}
