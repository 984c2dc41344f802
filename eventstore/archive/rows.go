package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// PostgreSQL's binary COPY format: a signature, flags and an extension that are both
// zero, then rows, then −1. A row is the number of its fields as int16, and each field's
// length as int32, −1 for null, with its bytes.
var (
	copyHeader  = append([]byte("PGCOPY\n\xff\r\n\x00"), 0, 0, 0, 0, 0, 0, 0, 0)
	copyTrailer = []byte{0xff, 0xff}
)

// maxFieldBytes is far above the largest field, an event's data of 256 KiB.
const maxFieldBytes = 16 << 20

// row is one row: its fields, nil for null, and the bytes that are all of it.
type row struct {
	fields [][]byte
	raw    []byte
}

// rows reads rows one after the other.
type rows struct {
	from *bufio.Reader
	raw  []byte
	ends []int // of each field in raw; −1 of a null
}

var errNotRows = errors.New("not rows in PostgreSQL's binary form")

func newRows(from io.Reader) (*rows, error) {
	r := &rows{from: bufio.NewReaderSize(from, 1<<16)}
	head := make([]byte, len(copyHeader))
	if _, err := io.ReadFull(r.from, head); err != nil {
		return nil, err
	}
	if !bytes.Equal(head, copyHeader) {
		return nil, errNotRows
	}
	return r, nil
}

// next is the next row, good until the one after it; io.EOF after the last.
func (r *rows) next(columns int) (row, error) {
	r.raw, r.ends = r.raw[:0], r.ends[:0]
	if err := r.take(2); err != nil {
		return row{}, err
	}
	if bytes.Equal(r.raw, copyTrailer) {
		return row{}, io.EOF
	}
	if int(binary.BigEndian.Uint16(r.raw)) != columns {
		return row{}, errNotRows
	}
	for range columns {
		if err := r.field(); err != nil {
			return row{}, err
		}
	}
	fields, start := make([][]byte, columns), 2
	for i, end := range r.ends {
		start += 4
		if end >= 0 {
			fields[i] = r.raw[start:end]
			start = end
		}
	}
	return row{fields: fields, raw: r.raw}, nil
}

func (r *rows) field() error {
	if err := r.take(4); err != nil {
		return err
	}
	length := int32(binary.BigEndian.Uint32(r.raw[len(r.raw)-4:])) //nolint:gosec // it is an int32, −1 for null
	switch {
	case length == -1:
		r.ends = append(r.ends, -1)
		return nil
	case length < 0 || length > maxFieldBytes:
		return errNotRows
	}
	if err := r.take(int(length)); err != nil {
		return err
	}
	r.ends = append(r.ends, len(r.raw))
	return nil
}

// take reads n bytes more into raw.
func (r *rows) take(n int) error {
	start := len(r.raw)
	r.raw = append(r.raw, make([]byte, n)...)
	if _, err := io.ReadFull(r.from, r.raw[start:]); err != nil {
		return errors.Join(errNotRows, err)
	}
	return nil
}

// copied is a chunk of rows as COPY FROM takes it.
func copied(chunk []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(copyHeader), bytes.NewReader(chunk), bytes.NewReader(copyTrailer))
}
