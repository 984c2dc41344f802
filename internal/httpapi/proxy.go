package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/telemetry"
)

const (
	// proxyDialTimeout is short: the query API is next door or down.
	proxyDialTimeout = 2 * time.Second
	// proxyAnswerTimeout is longer than the longest wait and query together.
	proxyAnswerTimeout = maxWait + maxQuery + 5*time.Second
	// proxyIdleConnections is what a busy front door keeps open to the query API.
	proxyIdleConnections = 64
)

// newQueryProxy forwards reads to the query API as they came: Host (its allowed
// hosts are the same) and Authorization are kept. Streams end when this process stops.
func newQueryProxy(target *url.URL, tracer *telemetry.Tracer, stopping <-chan struct{}) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.SetXForwarded()
			p.Out.Host = p.In.Host
			// What cannot be read is refused there, and not left out here.
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			// That of a read says nothing; that of an operation was read within its bound.
			e := exchangeOf(p.In.Context())
			p.Out.Body, p.Out.ContentLength = http.NoBody, 0
			if len(e.body) > 0 {
				p.Out.Body, p.Out.ContentLength = io.NopCloser(bytes.NewReader(e.body)), int64(len(e.body))
			}
			p.Out.Header.Set("X-Request-Id", e.requestID)
			tracer.Inject(p.In.Context(), p.Out.Header)
			// CORS is answered here; twice would be refused by browsers.
			p.Out.Header.Del("Origin")
		},
		ModifyResponse: func(answer *http.Response) error {
			// The front has set these for its own answer already.
			for _, name := range []string{"X-Request-Id", "X-Content-Type-Options", "Referrer-Policy"} {
				answer.Header.Del(name)
			}
			if answer.Header.Get("Content-Type") == streamMedia {
				answer.Body = newStreamBody(answer.Body, stopping)
			}
			// But what may be cached is for the query API to say.
			exchangeOf(answer.Request.Context()).Header().Del("Cache-Control")
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			e := exchangeOf(r.Context())
			if errors.Is(err, context.Canceled) {
				e.fail(err)
				return
			}
			e.log.WarnContext(r.Context(), "query API not reached", "request_id", e.requestID, "error", err)
			e.fail(problem.New(problem.Unavailable, "query_api_unavailable", "Reads cannot be answered now. Writes can; try the read again later.").Retry(time.Second))
		},
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: proxyDialTimeout}).DialContext,
			ResponseHeaderTimeout: proxyAnswerTimeout,
			MaxIdleConnsPerHost:   proxyIdleConnections,
			IdleConnTimeout:       time.Minute,
			// The body goes through as it is, compressed or not.
			DisableCompression: true,
		},
	}
}

// streamBody passes a stream on until this process stops, and then ends it between two
// events: half of one would be taken for all of it.
type streamBody struct {
	io.ReadCloser
	stopping <-chan struct{}
	closed   chan struct{}
	close    func()
	// last are the last two bytes that were passed on.
	last [2]byte
}

func newStreamBody(of io.ReadCloser, stopping <-chan struct{}) *streamBody {
	b := &streamBody{ReadCloser: of, stopping: stopping, closed: make(chan struct{})}
	b.close = sync.OnceFunc(func() { close(b.closed) })
	go func() {
		select {
		case <-stopping:
			_ = of.Close() // ends the Read that waits
		case <-b.closed:
		}
	}()
	return b
}

// Read is that of the stream, or the event that ends it.
func (b *streamBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case n == 1:
		b.last = [2]byte{b.last[1], p[0]}
	case n > 1:
		b.last = [2]byte{p[n-2], p[n-1]}
	}
	if err == nil || errors.Is(err, io.EOF) || b.last != [2]byte{'\n', '\n'} {
		return n, err
	}
	select {
	case <-b.stopping:
		var end bytes.Buffer
		stopping().write(&end)
		return n + copy(p[n:], end.Bytes()), io.EOF // the reverse proxy reads 32 KiB at a time
	default:
		return n, err
	}
}

// Close lets go of the stream.
func (b *streamBody) Close() error {
	b.close()
	return b.ReadCloser.Close()
}
