package hubtest_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
)

const proxyTime = 30 * time.Second

// echo is a server that answers each line with "<" and the line, and says what it got.
func echo(t *testing.T) (address string, got <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	lines := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				scanner := bufio.NewScanner(conn)
				for scanner.Scan() {
					lines <- scanner.Text()
					_, _ = conn.Write([]byte("<" + scanner.Text() + "\n"))
				}
			}()
		}
	}()
	return listener.Addr().String(), lines
}

// client is a connection through a proxy.
type client struct {
	net.Conn
	t      *testing.T
	reader *bufio.Reader
}

func connect(t *testing.T, p *hubtest.Proxy) client {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(proxyTime)))
	return client{conn, t, bufio.NewReader(conn)}
}

// refused expects a connection that ends at once, perhaps before we have it.
func refused(t *testing.T, p *hubtest.Proxy) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.Address(), proxyTime)
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNRESET)
		return
	}
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(proxyTime)))
	client{conn, t, bufio.NewReader(conn)}.broken()
}

func (c client) send(line string) {
	c.t.Helper()
	_, err := c.Write([]byte(line + "\n"))
	require.NoError(c.t, err)
}

func (c client) read() (string, error) { return c.reader.ReadString('\n') }

// answers sends a line and expects it back.
func (c client) answers(line string) {
	c.t.Helper()
	c.send(line)
	answer, err := c.read()
	require.NoError(c.t, err)
	require.Equal(c.t, "<"+line+"\n", answer)
}

// broken expects that the connection ends without another byte.
func (c client) broken() {
	c.t.Helper()
	left, err := io.ReadAll(c.reader)
	require.Empty(c.t, left)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the connection is still open")
}

func TestProxyCutsNow(t *testing.T) {
	t.Parallel()
	address, _ := echo(t)
	p := hubtest.NewProxy(t, address)
	one, two := connect(t, p), connect(t, p)
	one.answers("a")
	two.answers("b")
	require.Equal(t, 2, p.Connections())
	p.Cut()
	one.broken()
	two.broken()
	connect(t, p).answers("new ones are taken")

	p.Refuse()
	refused(t, p)
	p.Accept()
	connect(t, p).answers("again")
}

func TestProxyCutsAfterSomeBytes(t *testing.T) {
	t.Parallel()
	address, got := echo(t)
	p := hubtest.NewProxy(t, address)
	c := connect(t, p)
	there := p.CutAfter(hubtest.ToServer, int64(len("12\n3")))
	c.answers("12")
	hubtest.Silent(t, "cut too early", there)
	c.send("345")
	hubtest.Wait(t, proxyTime, "the cut", there)
	c.broken()
	require.Equal(t, "12", hubtest.Wait(t, proxyTime, "the first line", got))
	connect(t, p).answers("only once")

	c = connect(t, p)
	back := p.CutAfter(hubtest.ToClient, 3)
	c.send("abc")
	hubtest.Wait(t, proxyTime, "the cut", back)
	answer, _ := io.ReadAll(c.reader) // it may be lost with the connection
	require.LessOrEqual(t, len(answer), 3)
}

func TestProxyLosesAReply(t *testing.T) {
	t.Parallel()
	address, got := echo(t)
	p := hubtest.NewProxy(t, address)
	c, other := connect(t, p), connect(t, p)
	lost := p.LoseReply(hubtest.Executes("ORDER"))
	c.answers("hello")
	c.send("order 1")
	hubtest.Wait(t, proxyTime, "the reply", lost)
	c.broken()
	require.Equal(t, "hello", <-got)
	require.Equal(t, "order 1", <-got, "the server got it")
	other.answers("order 2")
}

func TestProxyHoldsAReply(t *testing.T) {
	t.Parallel()
	address, _ := echo(t)
	p := hubtest.NewProxy(t, address)
	c := connect(t, p)
	for _, deliver := range []bool{true, false} {
		reply := p.CatchReply(hubtest.Executes("order"))
		c.send("order")
		hubtest.Wait(t, proxyTime, "the reply", reply.Arrived())
		connect(t, p).answers("others go on")
		if !deliver {
			reply.Cut()
			c.broken()
			return
		}
		reply.Deliver()
		answer, err := c.read()
		require.NoError(t, err)
		require.Equal(t, "<order\n", answer)
	}
}

func TestProxyPausesAndIsSlow(t *testing.T) {
	t.Parallel()
	address, got := echo(t)
	p := hubtest.NewProxy(t, address)
	c := connect(t, p)
	c.answers("a")
	require.Equal(t, "a", <-got)
	p.Pause()
	p.Pause()
	c.send("b")
	direct, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = direct.Close() })
	_, err = direct.Write([]byte("c\n"))
	require.NoError(t, err)
	require.Equal(t, "c", hubtest.Wait(t, proxyTime, "the way beside the proxy", got))
	hubtest.Silent(t, "a paused proxy lets something through", got)
	p.Resume()
	p.Resume()
	answer, err := c.read()
	require.NoError(t, err)
	require.Equal(t, "<b\n", answer)

	p.Slow(time.Millisecond)
	began := time.Now()
	c.answers("d")
	require.GreaterOrEqual(t, time.Since(began), 2*time.Millisecond)
	p.Slow(0)

	// A paused connection can be cut.
	p.Pause()
	c.send("e")
	p.Cut()
	c.broken()
}

func TestProxyOfAServerThatIsAway(t *testing.T) {
	t.Parallel()
	refused(t, hubtest.NewProxy(t, filepath.Join(t.TempDir(), "nothing")))
}

// The server commits, the client does not learn it: with a prepared statement, and at
// the end of a transaction.
func TestPostgresProxyLosesTheReplyToACommit(t *testing.T) {
	t.Parallel()
	direct := hubtest.Database(t, hubtest.Migration{})
	p := hubtest.PostgresProxy(t, direct)
	beside := hubtest.Pool(t, direct, "")
	_, err := beside.Exec(t.Context(), "CREATE TABLE notes (text text)")
	require.NoError(t, err)

	through := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), p.Through(t, direct))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	insert := func(conn *pgx.Conn, text string) error {
		var back string
		return conn.QueryRow(t.Context(), "INSERT INTO notes VALUES ($1) RETURNING text", text).Scan(&back)
	}
	conn := through()
	require.NoError(t, insert(conn, "prepares"))
	lost := p.LoseReply(hubtest.Executes("insert into NOTES"))
	require.Equal(t, "1", value(t, hubtest.Pool(t, p.Through(t, direct), ""), "SELECT count(*)::text FROM notes"), "other SQL goes through")
	require.Error(t, insert(conn, "committed"))
	hubtest.Wait(t, proxyTime, "the reply", lost)
	require.Equal(t, "2", value(t, beside, "SELECT count(*)::text FROM notes"))

	conn = through()
	lost = p.LoseReply(hubtest.Executes("commit"))
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO notes VALUES ('in a transaction')")
	require.NoError(t, err)
	require.Error(t, tx.Commit(t.Context()))
	hubtest.Wait(t, proxyTime, "the reply", lost)
	require.Equal(t, "3", value(t, beside, "SELECT count(*)::text FROM notes"))
}
