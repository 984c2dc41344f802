package httpapi

import (
	"net/http"
	"time"
)

// The limits of a connection. A client that is slower than this holds memory and a
// connection that others need.
const (
	readHeaderTimeout = 5 * time.Second
	// readTimeout is for header and body together. It ends with the body (readBody,
	// observe), because net/http cancels a request whose deadline passes while its
	// handler still works.
	readTimeout = 15 * time.Second
	// writeTimeout covers the longest wait, the longest query and the sending.
	writeTimeout = maxWait + maxQuery + 20*time.Second
	idleTimeout  = 2 * time.Minute
	// maxHeaderBytes has room for the longest token that identity services issue.
	maxHeaderBytes = 64 << 10
)

// NewServer makes a server with these limits.
func NewServer(addr string, handler http.Handler) *http.Server {
	return &http.Server{
		Addr: addr, Handler: handler,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
}
