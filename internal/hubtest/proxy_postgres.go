package hubtest

import (
	"bytes"
	"encoding/binary"
)

// Messages of a client in PostgreSQL's protocol, version 3 ("Message Formats" in its
// documentation), of which only those are read that carry SQL or name it.
const (
	messageParse   = 'P'
	messageBind    = 'B'
	messageExecute = 'E'
	messageQuery   = 'Q'
)

// postgresWatcher follows what one client asks of PostgreSQL.
type postgresWatcher struct {
	buffer []byte
	// started says that the startup packets, which have no type, are over.
	started    bool
	statements map[string]string // name → SQL
	portals    map[string]string // name → SQL
}

func watchPostgres() watcher {
	w := &postgresWatcher{statements: make(map[string]string), portals: make(map[string]string)}
	return w.sent
}

// sent takes more bytes and returns the SQL of each execution that is complete in them.
func (w *postgresWatcher) sent(chunk []byte) (executed []string) {
	w.buffer = append(w.buffer, chunk...)
	for {
		header := 5
		if !w.started {
			header = 4
		}
		if len(w.buffer) < header {
			return executed
		}
		end := header - 4 + int(binary.BigEndian.Uint32(w.buffer[header-4:]))
		if end < header || len(w.buffer) < end {
			return executed
		}
		kind, body := w.buffer[0], w.buffer[header:end]
		if w.started {
			if sql, done := w.message(kind, body); done {
				executed = append(executed, sql)
			}
		} else if len(body) >= 4 && binary.BigEndian.Uint16(body) == 3 {
			w.started = true // protocol 3; anything else asks about encryption first
		}
		w.buffer = w.buffer[end:]
	}
}

// message takes one message and returns SQL that it executes.
func (w *postgresWatcher) message(kind byte, body []byte) (sql string, executes bool) {
	first, rest := cString(body)
	second, _ := cString(rest)
	switch kind {
	case messageParse:
		w.statements[first] = second
	case messageBind:
		w.portals[first] = w.statements[second]
	case messageExecute:
		return w.portals[first], true
	case messageQuery:
		return first, true
	}
	return "", false
}

// cString cuts a text that ends with NUL off the start.
func cString(from []byte) (text string, rest []byte) {
	before, after, _ := bytes.Cut(from, []byte{0})
	return string(before), after
}
