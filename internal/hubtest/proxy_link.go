package hubtest

import (
	"net"
	"slices"
	"sync"
	"time"
)

// link is one connection: two sockets, and whose answer on it is wanted.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	closed         chan struct{}
	once           sync.Once
	wanted         *Reply // guarded by proxy.mu
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	network, target := p.network, p.target
	p.mu.Unlock()
	server, err := net.DialTimeout(network, target, dialTimeout)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{proxy: p, client: client, server: server, closed: make(chan struct{})}
	p.mu.Lock()
	if p.refusing {
		l.close()
	}
	p.links[l] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.copy(ToServer, client, server, p.watch()) })
	both.Go(func() { l.copy(ToClient, server, client, nil) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// close breaks both sides hard: what was not read yet is lost, as with a dead machine.
func (l *link) close() {
	l.once.Do(func() {
		close(l.closed)
		for _, conn := range []net.Conn{l.client, l.server} {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
		}
	})
}

// copy passes on one direction until either side ends.
func (l *link) copy(direction Direction, from, to net.Conn, watch watcher) {
	defer l.close()
	buffer := make([]byte, proxyChunk)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.pass(direction, to, buffer[:n], watch) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass passes on some bytes, or reports that the connection is to end.
func (l *link) pass(direction Direction, to net.Conn, chunk []byte, watch watcher) bool {
	if !l.wait() {
		return false
	}
	if direction == ToServer {
		l.want(watch(chunk))
	} else if reply := l.takeWanted(); reply != nil && !l.deliver(reply) {
		return false
	}
	length, done := l.proxy.spend(direction, len(chunk))
	if _, err := to.Write(chunk[:length]); err != nil {
		return false
	}
	if done == nil {
		return true
	}
	l.close()
	close(done)
	return false
}

// wait holds bytes back while the proxy is paused or slow.
func (l *link) wait() bool {
	l.proxy.mu.Lock()
	resumed, delay := l.proxy.resumed, l.proxy.delay
	l.proxy.mu.Unlock()
	select {
	case <-resumed:
	case <-l.closed:
		return false
	}
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}

// want notes that the next answer on this link is one that a test waits for.
func (l *link) want(asked []string) {
	p := l.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, request := range asked {
		for i, reply := range p.catches {
			if l.wanted == nil && reply.match(request) {
				p.catches = slices.Delete(p.catches, i, i+1)
				l.wanted = reply
				return
			}
		}
	}
}

func (l *link) takeWanted() *Reply {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	reply := l.wanted
	l.wanted = nil
	return reply
}

// deliver tells the test of an answer and does what it decides.
func (l *link) deliver(reply *Reply) bool {
	// A cut that was decided before takes effect before the test hears of it.
	select {
	case delivered := <-reply.decided:
		if !delivered {
			l.close()
		}
		close(reply.arrived)
		return delivered
	default:
	}
	close(reply.arrived)
	select {
	case delivered := <-reply.decided:
		return delivered
	case <-l.closed:
		return false
	}
}
