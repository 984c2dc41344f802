package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// maxLineBytes bounds a line of an answer's head.
const maxLineBytes = 16 << 10

// connection is one keep-alive connection of HTTP/1.1 that sends prepared bytes and
// reads of the answers only what a load needs. net/http's client takes as much CPU
// per request as a small server does, and here both share the cores.
type connection struct {
	conn   net.Conn
	reader *bufio.Reader
	answer answer
}

// answer is valid until the next request on its connection.
type answer struct {
	status   int
	position int64 // Hub-Position, 0 without one
	location []byte
	body     []byte
}

// dial connects; everything on the connection fails after the deadline.
func dial(address string, deadline time.Time) (*connection, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return newConnection(conn), nil
}

func newConnection(conn net.Conn) *connection {
	return &connection{conn: conn, reader: bufio.NewReaderSize(conn, maxLineBytes)}
}

func (c *connection) close() { _ = c.conn.Close() }

// do sends one whole request and reads its answer.
func (c *connection) do(request []byte) (*answer, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	return &c.answer, nil
}

func (c *connection) read() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("no answer of HTTP/1.1: %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return fmt.Errorf("no status: %q", line)
	}
	c.answer = answer{status: status, location: c.answer.location[:0], body: c.answer.body[:0]}
	length, chunked, err := c.head()
	switch {
	case err != nil:
		return err
	case chunked:
		return c.chunks()
	default:
		return c.take(length)
	}
}

// head reads the header fields up to the empty line.
func (c *connection) head() (length int, chunked bool, err error) {
	for {
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return length, chunked, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Hub-Position")):
			c.answer.position, err = strconv.ParseInt(string(value), 10, 64)
		case bytes.EqualFold(name, []byte("Location")):
			c.answer.location = append(c.answer.location, value...)
		}
		if err != nil {
			return 0, false, fmt.Errorf("header field %q: %w", line, err)
		}
	}
}

// chunks reads a chunked body (RFC 9112, section 7.1).
func (c *connection) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(line), 16, 32)
		if err != nil {
			return fmt.Errorf("size of a chunk: %w", err)
		}
		if err := c.take(int(size)); err != nil {
			return err
		}
		if line, err = c.line(); err != nil || len(line) > 0 {
			return errors.Join(err, fmt.Errorf("after a chunk comes %q", line))
		}
		if size == 0 {
			return nil
		}
	}
}

// take appends n bytes to the body.
func (c *connection) take(n int) error {
	before := len(c.answer.body)
	c.answer.body = append(c.answer.body, make([]byte, n)...)
	_, err := io.ReadFull(c.reader, c.answer.body[before:])
	return err
}

// line reads one line without its end.
func (c *connection) line() ([]byte, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
