package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

// requests prepares the bytes of requests. A request for the bare servers is the
// same as one for the hub, so that the client's part is the same too.
type requests struct {
	head string // header fields that all have
	run  string // makes keys of this run distinct
	ids  []string
	// paths are asked for by get.
	paths []string
	// path takes bodies by send.
	path   string
	bodies []string
	// airports are attributes, as JSON.
	airports [][]byte
	sent     atomic.Int64
	mixes    atomic.Int64
}

func newRequests(spec loadSpec) (*requests, error) {
	r := &requests{
		head: " HTTP/1.1\r\nHost: " + spec.Address + "\r\nAuthorization: Bearer " + spec.Token + "\r\n",
		run:  spec.Run, ids: spec.IDs, paths: spec.Paths, path: spec.Path, bodies: spec.Bodies,
	}
	var err error
	r.airports, err = readAirports(spec.Airports)
	return r, err
}

// create asks for a new entity with a key of its own.
func (r *requests) create(request []byte) []byte {
	n := r.sent.Add(1)
	key := r.run + "-" + strconv.FormatInt(n, 10)
	attributes := r.airports[n%int64(len(r.airports))]
	const opening, middle, closing = `{"type":"airport","key":"`, `","tags":["bench"],"attributes":`, `}`
	length := len(opening) + len(key) + len(middle) + len(attributes) + len(closing)
	request = append(request[:0], "POST /api/v1/entities"...)
	request = append(request, r.head...)
	request = append(request, "Content-Type: application/json\r\nIdempotency-Key: "...)
	request = append(request, key...)
	request = append(request, "\r\nContent-Length: "...)
	request = strconv.AppendInt(request, int64(length), 10)
	request = append(request, "\r\n\r\n"...)
	request = append(request, opening...)
	request = append(request, key...)
	request = append(request, middle...)
	request = append(request, attributes...)
	return append(request, closing...)
}

// patch asks for a change of the first entity.
func (r *requests) patch(request []byte) []byte {
	n := r.sent.Add(1)
	body := fmt.Appendf(nil, `{"attributes":{"name":"Name %d"}}`, n)
	return fmt.Appendf(request[:0], "PATCH /api/v1/entities/%s%sContent-Type: application/merge-patch+json\r\nIdempotency-Key: %s-%d\r\nContent-Length: %d\r\n\r\n%s",
		r.ids[0], r.head, r.run, n, len(body), body)
}

// change asks for new values of a person, a different one each time.
func (r *requests) change(request []byte) []byte {
	n := r.sent.Add(1)
	body := fmt.Appendf(nil, `{"attributes":{"email":"person.%d@example.org","phone":"+44 1 23 45 %[1]d","birthday":"1990-01-%02[2]d"}}`, n, 1+n%28)
	return fmt.Appendf(request[:0], "PATCH /api/v1/entities/%s%sContent-Type: application/merge-patch+json\r\nIdempotency-Key: %s-%d\r\nContent-Length: %d\r\n\r\n%s",
		r.ids[n%int64(len(r.ids))], r.head, r.run, n, len(body), body)
}

// read asks for one entity, a different one each time.
func (r *requests) read(request []byte) []byte {
	id := r.ids[r.sent.Add(1)%int64(len(r.ids))]
	request = append(request[:0], "GET /api/v1/entities/"...)
	request = append(request, id...)
	request = append(request, r.head...)
	return append(request, "\r\n"...)
}

// get asks for one path after the other.
func (r *requests) get(request []byte) []byte {
	request = append(request[:0], "GET "...)
	request = append(request, r.paths[r.sent.Add(1)%int64(len(r.paths))]...)
	request = append(request, r.head...)
	return append(request, "\r\n"...)
}

// commandEvery is how often mixed is a command: one request in five.
const commandEvery = 5

// mixed reads four times and creates once.
func (r *requests) mixed(request []byte) []byte {
	if r.mixes.Add(1)%commandEvery == 0 {
		return r.create(request)
	}
	return r.read(request)
}

// readAt asks for an entity as of a position or later.
func (r *requests) readAt(request []byte, location []byte, position int64) []byte {
	return fmt.Appendf(request[:0], "GET %s%sHub-Min-Position: %d\r\n\r\n", location, r.head, position)
}

// readAirports makes attributes of the rows of a file whose first line names them.
func readAirports(path string) ([][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("start this in the project's folder: %w", err)
	}
	rows, err := csv.NewReader(file).ReadAll()
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	if len(rows) < 2 {
		return nil, fmt.Errorf("%s holds no airports", path)
	}
	airports := make([][]byte, 0, len(rows)-1)
	for _, row := range rows[1:] {
		attributes := make(map[string]any, len(row))
		for i, name := range rows[0] {
			attributes[name] = row[i]
			if name == "latitude" || name == "longitude" {
				attributes[name] = json.Number(row[i])
			}
		}
		text, err := json.Marshal(attributes)
		if err != nil {
			return nil, fmt.Errorf("airport %s: %w", row[0], err)
		}
		airports = append(airports, text)
	}
	return airports, nil
}
