package hubtest

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxyChunk is how much is passed on at once: more than any answer of the log.
const proxyChunk = 64 << 10

// dialTimeout bounds connecting to a server of the same machine, which answers at
// once unless it is stopped.
const dialTimeout = 30 * time.Second

// Direction is one of the two ways through a proxy.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// Proxy stands between programs and a server, and breaks their connections when the
// test says so: at once, after some bytes, or when the server has done what it was
// asked and its answer is on the way.
type Proxy struct {
	listener net.Listener
	watch    func() watcher

	mu              sync.Mutex
	network, target string
	links           map[*link]bool
	refusing        bool
	resumed         chan struct{} // closed unless paused
	delay           time.Duration
	cuts            []*cut
	catches         []*Reply
	running         sync.WaitGroup
}

// watcher sees the bytes of one connection to the server, in order, and tells what
// was asked for in them.
type watcher func(sent []byte) (asked []string)

// cut is an order to break the connection on which the last of its bytes goes.
type cut struct {
	direction Direction
	left      int64
	done      chan struct{}
}

// NewProxy listens on a port of 127.0.0.1 for a server at "host:port" or at the path
// of a Unix socket. The server need not run yet. All ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	return newProxy(tb, target, func() watcher {
		return func(sent []byte) []string { return []string{string(sent)} }
	})
}

func newProxy(tb testing.TB, target string, watch func() watcher) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{
		network: networkOf(target), target: target, listener: listener, watch: watch,
		links: make(map[*link]bool), resumed: make(chan struct{}),
	}
	close(p.resumed)
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		p.Refuse()
		_ = listener.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// PostgresProxy is a proxy for the server that a URL names, which knows what SQL is
// executed through it: that is what CatchReply and LoseReply look at.
func PostgresProxy(tb testing.TB, databaseURL string) *Proxy {
	tb.Helper()
	address, err := url.Parse(databaseURL)
	if err != nil {
		tb.Fatal(err)
	}
	target := address.Host
	if folder := address.Query().Get("host"); folder != "" {
		target = folder + "/.s.PGSQL." + address.Query().Get("port")
	}
	return newProxy(tb, target, watchPostgres)
}

// Address is where the proxy listens, as host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Through is a URL of the server with the proxy in between.
func (p *Proxy) Through(tb testing.TB, serverURL string) string {
	tb.Helper()
	address, err := url.Parse(serverURL)
	if err != nil {
		tb.Fatal(err)
	}
	address.Host = p.Address()
	query := address.Query()
	query.Del("host")
	query.Del("port")
	if strings.HasPrefix(address.Scheme, "postgres") {
		query.Set("sslmode", "disable") // what is encrypted cannot be watched
	}
	address.RawQuery = query.Encode()
	return address.String()
}

// Target makes another server the one that new connections go to.
func (p *Proxy) Target(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.target = networkOf(target), target
}

func networkOf(target string) string {
	if strings.HasPrefix(target, "/") {
		return "unix"
	}
	return "tcp"
}

// Cut breaks all connections now. New ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Connections is how many are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// CutAfter breaks the connection on which the last of the next bytes goes in this
// direction, right behind that byte, and then closes the channel.
func (p *Proxy) CutAfter(direction Direction, bytes int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	order := &cut{direction, max(bytes, 1), make(chan struct{})}
	p.cuts = append(p.cuts, order)
	return order.done
}

// Refuse breaks every new connection at once, as a server that is gone; Accept ends that.
func (p *Proxy) Refuse() { p.refuse(true) }

// Accept takes new connections again.
func (p *Proxy) Accept() { p.refuse(false) }

func (p *Proxy) refuse(refusing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = refusing
}

// Pause lets nothing through any more and breaks nothing, as a machine that hangs.
// What is under way already may still arrive. Resume ends that.
func (p *Proxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.resumed:
		p.resumed = make(chan struct{})
	default: // paused already
	}
}

// Resume lets through what waited.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.resumed:
	default:
		close(p.resumed)
	}
}

// Slow delays every packet in both directions; 0 ends that.
func (p *Proxy) Slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// Calm takes back all that was ordered and has not happened yet.
func (p *Proxy) Calm() {
	p.Resume()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing, p.delay, p.cuts, p.catches = false, 0, nil, nil
}

// Reply is the server's answer to a request that a test waits for, or will be.
type Reply struct {
	match   func(asked string) bool
	arrived chan struct{}
	decided chan bool // true delivers, false cuts
	once    sync.Once
}

// CatchReply waits for the next request that match accepts (the SQL through a
// PostgresProxy, otherwise the bytes sent), lets it through and keeps its answer.
func (p *Proxy) CatchReply(match func(asked string) bool) *Reply {
	r := &Reply{match: match, arrived: make(chan struct{}), decided: make(chan bool, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catches = append(p.catches, r)
	return r
}

// LoseReply breaks the connection of the next request that match accepts, when the
// server has done it and answered, before any of that is delivered; then it closes
// the channel.
func (p *Proxy) LoseReply(match func(asked string) bool) <-chan struct{} {
	r := p.CatchReply(match)
	r.Cut()
	return r.Arrived()
}

// Arrived is closed when the server has answered and nobody has been told.
func (r *Reply) Arrived() <-chan struct{} { return r.arrived }

// Deliver passes the answer on; Cut breaks the connection instead. The first counts.
func (r *Reply) Deliver() { r.once.Do(func() { r.decided <- true }) }

// Cut breaks the connection without delivering the answer.
func (r *Reply) Cut() { r.once.Do(func() { r.decided <- false }) }

// Executes matches SQL that holds the text, as "append_events(" or "commit",
// whatever its case.
func Executes(text string) func(string) bool {
	return func(sql string) bool { return strings.Contains(strings.ToLower(sql), strings.ToLower(text)) }
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// spend counts bytes towards the cuts that are ordered: how many may go before one
// is due, and its channel.
func (p *Proxy) spend(direction Direction, length int) (int, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, order := range p.cuts {
		if order.direction != direction {
			continue
		}
		if order.left > int64(length) {
			order.left -= int64(length)
			continue
		}
		p.cuts = slices.Delete(p.cuts, i, i+1)
		return int(order.left), order.done
	}
	return length, nil
}
