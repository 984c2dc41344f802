package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzServer writes anything to a connection of a whole system. Whatever comes back is an
// HTTP answer, an error is a problem of the catalogue, and none is a fault of ours. In the
// seeds TOKEN is a token.
func FuzzServer(f *testing.F) {
	e := newSystem(f)
	// Most of what is sent is not complete; it must not be waited for.
	address := e.served(maxConnections, func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	})
	const host = "Host: hub.test\r\n"
	const signed = host + "Authorization: Bearer TOKEN\r\n"
	for _, seed := range []string{
		"GET /api/v1/entities?limit=1&attr.a[in]=1,2&sort=-key HTTP/1.1\r\n" + signed + "\r\n",
		"GET /api/entities/?fields=id,attributes./a.b&expand=type&count=true HTTP/1.1\r\n" + signed + "If-None-Match: W/\"1\", *\r\n\r\n",
		"GET /api/v1/entities?cursor=AAAA&id=" + someID + "&updated_at[lt]=2026-01-01T00:00:00%2B01:00 HTTP/1.1\r\n" + signed + "\r\n",
		"GET " + someEntity + " HTTP/1.1\r\n" + signed + "Hub-Min-Position: 1\r\nHub-Epoch: x\r\nPrefer: wait=0, return=representation\r\n\r\n",
		"HEAD /api/v1/organization/ HTTP/1.1\r\n" + signed + "\r\n",
		"OPTIONS /api/v1/me HTTP/1.1\r\n" + host + "Origin: http://localhost:5173\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: b, a\r\n\r\n",
		"POST /api/v1/entities?dry_run=true HTTP/1.1\r\n" + signed + "Content-Type: application/json;charset=utf-8\r\nContent-Length: 36\r\n\r\n{\"type\":\"customer\",\"attributes\":{}}\r\n",
		"POST /api/v1/entities HTTP/1.1\r\n" + signed + "Idempotency-Key: k\r\nHub-Reason: \xc3\xa4\r\nContent-Length: 35\r\n\r\n{\"type\":\"customer\",\"attributes\":{}}",
		"PUT /api/v1/entity-types/customer HTTP/1.1\r\n" + signed + "If-Match: \"1\"\r\nIf-None-Match: *\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"title\":1}\r\n0\r\n\r\n",
		"PATCH " + someEntity + " HTTP/1.1\r\n" + signed + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
		"PATCH " + someEntity + " HTTP/1.1\r\n" + signed + "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
		"DELETE /api/v1/entities/%2e%2e/%2F/%00 HTTP/1.1\r\n" + signed + "\r\n",
		"GET /api/docs/assets/..%5cdocs.html HTTP/1.0\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: \r\nAccept: */*;q=x\r\n\r\nGET /livez HTTP/1.1\r\n\r\n",
		"GET /%zz HTTP/1.1\r\n" + host + "\r\n",
		"POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n",
		"\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		connection := dial(t, address)
		defer func() { _ = connection.Close() }()
		go func() { _, _ = connection.Write(bytes.ReplaceAll(sent, []byte("TOKEN"), []byte(e.admin))) }() // it may be refused early
		for answers := bufio.NewReader(connection); ; {
			answer, err := http.ReadResponse(answers, &http.Request{Method: methodOf(sent)})
			if err != nil {
				var broken net.Error
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &broken) {
					t.Errorf("%q is answered by what is no HTTP: %v", sent, err)
				}
				return
			}
			body, _ := io.ReadAll(answer.Body) // it may be cut off with the connection
			told := &reply{t: t, Status: answer.StatusCode, Header: answer.Header, Body: body}
			switch {
			case answer.StatusCode == http.StatusExpectationFailed, answer.StatusCode < 400:
			case answer.Request.Method == http.MethodHead:
				if answer.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%q: %v", sent, answer.Header)
				}
			default:
				told.problem()
			}
			if answer.StatusCode >= 500 && answer.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%q: %d %s, log: %s", sent, answer.StatusCode, body, e.log)
			}
			if methodOf(sent) == http.MethodHead {
				return // those behind it could be of other methods
			}
		}
	})
}

// methodOf is the method of the first request.
func methodOf(sent []byte) string {
	method, _, _ := strings.Cut(string(sent), " ")
	return method
}
