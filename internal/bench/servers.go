package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The bare servers are the least that does the job without this project. They get
// the same requests as the hub and write rows like its events.

// poolSizes are what suits two cores: more backends only wait for each other.
var poolSizes = map[string]int{"insert": 12, "gather": 12, "select": 8}

// maxGathered bounds one INSERT of the gathering server, like a turn of the hub.
const maxGathered = 256

const (
	insertOne  = `INSERT INTO bench_events (id, stream, version, type, data) VALUES ($1, $2, 1, 'entity.created', $3)`
	insertMany = `INSERT INTO bench_events (id, stream, version, type, data)
		SELECT id, stream, 1, 'entity.created', data FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS new(id, stream, data)`
	selectOne = `SELECT data FROM bench_rows WHERE id = $1`
)

// serveBare is a bare server as a child: it writes its address and serves until its
// standard input ends.
func serveBare(ctx context.Context, kind, database string, in io.Reader, out io.Writer) error {
	size, known := poolSizes[kind]
	if !known {
		return fmt.Errorf("there is no server %q", kind)
	}
	pool, err := openPool(ctx, database, size)
	if err != nil {
		return err
	}
	defer pool.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var handler http.HandlerFunc
	switch kind {
	case "insert":
		handler = insertHandler(pool)
	case "gather":
		handler = gatherHandler(ctx, pool)
	case "select":
		handler = selectHandler(pool)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, in) // an error is an end as well
		_ = server.Close()
	}()
	fmt.Fprintln(out, listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func openPool(ctx context.Context, database string, size int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(size) //nolint:gosec // a handful
	return pgxpool.NewWithConfig(ctx, config)
}

// newRow is a row like an event of a new entity.
func newRow(r *http.Request) (id uuid.UUID, stream string, data []byte, err error) {
	if data, err = io.ReadAll(r.Body); err != nil {
		return id, "", nil, err
	}
	if id, err = uuid.NewV7(); err != nil {
		return id, "", nil, err
	}
	return id, "entity:" + id.String(), data, nil
}

// insertHandler is yardstick B: each request one transaction of its own.
func insertHandler(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, stream, data, err := newRow(r)
		if err == nil {
			_, err = pool.Exec(r.Context(), insertOne, id, stream, data)
		}
		receipt(w, id, err)
	}
}

// gathered is a row that waits for its INSERT.
type gathered struct {
	id     uuid.UUID
	stream string
	data   []byte
	done   chan error
}

// gatherHandler is yardstick C: what arrives while one INSERT is under way goes
// into the next one.
func gatherHandler(ctx context.Context, pool *pgxpool.Pool) http.HandlerFunc {
	queue := make(chan gathered, maxGathered)
	go func() {
		for {
			select {
			case first := <-queue:
				flush(ctx, pool, gather(first, queue))
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(w http.ResponseWriter, r *http.Request) {
		id, stream, data, err := newRow(r)
		if err == nil {
			row := gathered{id, stream, data, make(chan error, 1)}
			queue <- row
			err = <-row.done
		}
		receipt(w, id, err)
	}
}

func gather(first gathered, queue <-chan gathered) []gathered {
	rows := []gathered{first}
	for len(rows) < maxGathered {
		select {
		case row := <-queue:
			rows = append(rows, row)
		default:
			return rows
		}
	}
	return rows
}

func flush(ctx context.Context, pool *pgxpool.Pool, rows []gathered) {
	ids, streams, data := make([]uuid.UUID, len(rows)), make([]string, len(rows)), make([][]byte, len(rows))
	for i, row := range rows {
		ids[i], streams[i], data[i] = row.id, row.stream, row.data
	}
	_, err := pool.Exec(ctx, insertMany, ids, streams, data)
	for _, row := range rows {
		row.done <- err
	}
}

// selectHandler is yardstick D: one row by its key, the last part of the path.
func selectHandler(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := uuid.Parse(path.Base(r.URL.Path))
		var data []byte
		if err == nil {
			err = pool.QueryRow(r.Context(), selectOne, id).Scan(&data)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, http.StatusOK, data)
	}
}

// receipt answers a write.
func receipt(w http.ResponseWriter, id uuid.UUID, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body, err := json.Marshal(map[string]any{"id": id, "version": 1})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusCreated, body)
}

func reply(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone, nobody to tell
}
