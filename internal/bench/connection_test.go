package main

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadsAnswersOneAfterTheOther(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	answers := []string{
		"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nhub-position: 4711\r\nLocation: /api/v1/entities/x\r\n\r\nfirst",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\n\r\n",
		"SSH-2.0\r\n",
	}
	go func() {
		request := make([]byte, len("request"))
		for _, answer := range answers {
			if _, err := io.ReadFull(server, request); err != nil {
				return
			}
			if _, err := server.Write([]byte(answer)); err != nil {
				return
			}
		}
	}()
	c := newConnection(client)

	got, err := c.do([]byte("request"))
	require.NoError(t, err)
	require.Equal(t, 201, got.status)
	require.Equal(t, int64(4711), got.position)
	require.Equal(t, "/api/v1/entities/x", string(got.location))
	require.Equal(t, "first", string(got.body))

	got, err = c.do([]byte("request"))
	require.NoError(t, err)
	require.Equal(t, "second", string(got.body))
	require.Zero(t, got.position)
	require.Empty(t, got.location)

	got, err = c.do([]byte("request"))
	require.NoError(t, err)
	require.Equal(t, 304, got.status)
	require.Empty(t, got.body)

	_, err = c.do([]byte("request"))
	require.ErrorContains(t, err, "no answer of HTTP/1.1")
}
