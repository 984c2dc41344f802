package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/eventstore"
)

const (
	// writerGCPercent is what cmd/hub sets for itself.
	writerGCPercent = 400
	// turnSize is how many commands the scenario turns, and its yardstick, write at once.
	turnSize = 100
	// writerConnections is what the hub gives its loop.
	writerConnections = 4
	benchOrg          = "bench"
	airportName       = "airport"
)

// writer writes to the log without HTTP: a command loop in this process, or the
// store alone, or rows past both.
type writer struct {
	spec        loadSpec
	pool        *pgxpool.Pool
	store       *eventstore.Store
	loop        *commands.Loop
	stop        func()
	attributes  []map[string]json.RawMessage
	airports    [][]byte
	hot         uuid.UUID
	incarnation string
	sent        atomic.Int64
	position    int64 // of rows
}

func openWriter(ctx context.Context, spec loadSpec, airports [][]byte) (*writer, error) {
	pool, err := eventstore.OpenPool(ctx, spec.Database, eventstore.RoleCommand, writerConnections)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	w := &writer{spec: spec, pool: pool, store: eventstore.New(pool), airports: airports}
	w.loop = commands.New(commands.Options{
		Store: w.store, Codec: eventstore.NewCodec(entity.Kinds()...), Folds: entity.Folds(), Log: slog.New(slog.DiscardHandler),
	})
	var stopped sync.WaitGroup
	stopped.Go(func() { w.loop.Run(running) })
	w.stop = func() {
		cancel()
		stopped.Wait()
		pool.Close()
	}
	if err := w.prepare(ctx); err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

// prepare makes the type and the one entity that all change; another process may have
// done so.
func (w *writer) prepare(ctx context.Context) error {
	for _, text := range w.airports {
		attributes := map[string]json.RawMessage{}
		if err := json.Unmarshal(text, &attributes); err != nil {
			return err
		}
		w.attributes = append(w.attributes, attributes)
	}
	var definition struct {
		Title  string          `json:"title"`
		Schema json.RawMessage `json:"schema"`
	}
	if err := json.Unmarshal([]byte(airportType), &definition); err != nil {
		return err
	}
	if _, err := w.submit(ctx, entities.DefineEntityType{Name: airportName, Title: definition.Title, Schema: definition.Schema}, ""); err != nil {
		return err
	}
	receipt, err := w.submit(ctx, w.create(uuid.Must(uuid.NewV7()), "hot"), "")
	if p := problem.Of(err); p != nil && p.Code == "key_taken" {
		receipt.ID, err = fmt.Sprint(p.Extra["id"]), nil
	}
	if err != nil {
		return err
	}
	if w.hot, err = uuid.Parse(receipt.ID); err != nil {
		return err
	}
	return w.store.Locked(ctx, func(log *eventstore.LockedLog) error {
		w.incarnation = log.Incarnation
		return nil
	})
}

func (w *writer) create(id uuid.UUID, key string) entities.CreateEntity {
	return entities.CreateEntity{
		ID: id, Type: airportName, Key: key, Attributes: w.attributes[w.sent.Load()%int64(len(w.attributes))], Tags: []string{"bench"},
	}
}

func (w *writer) submit(ctx context.Context, decider domain.Decider, key string) (commands.Receipt, error) {
	submission := commands.Submission{
		Decider: decider, IdempotencyKey: key,
		Meta: domain.Meta{
			Org: benchOrg, Actor: domain.Actor{Sub: "ana", Person: "ana"}, Roles: []string{"editor"}, RequestID: key, CorrelationID: key,
		},
	}
	if key != "" {
		submission.RequestHash = make([]byte, 32) // all requests of a key are the same here
	}
	return w.loop.Submit(ctx, submission)
}

// operation is what each caller repeats.
func (w *writer) operation(ctx context.Context) (operation, error) {
	var do func(n int64, key string) error
	switch w.spec.Work {
	case "store":
		do = func(_ int64, key string) error {
			_, err := w.submit(ctx, w.create(uuid.Must(uuid.NewV7()), key), key)
			return err
		}
	case "store-hot":
		do = func(n int64, key string) error {
			patch := fmt.Appendf(nil, `{"attributes":{"name":"Name %d"}}`, n)
			_, err := w.submit(ctx, entities.PatchEntity{ID: w.hot, Patch: patch}, key)
			return err
		}
	case "turns":
		do = func(_ int64, key string) error { return w.turn(ctx, key) }
	case "rows":
		do = func(_ int64, key string) error { return w.rows(ctx, key) }
	default:
		return nil, fmt.Errorf("there is no work %q", w.spec.Work)
	}
	return func() (time.Duration, error) {
		n := w.sent.Add(1)
		key := w.spec.Run + "-" + strconv.FormatInt(n, 10)
		began := time.Now()
		err := do(n, key)
		return time.Since(began), err
	}, nil
}

// turn appends what the loop would for as many new entities.
func (w *writer) turn(ctx context.Context, key string) error {
	turn := eventstore.Turn{Incarnation: w.incarnation}
	for i := range turnSize {
		id, key := uuid.Must(uuid.NewV7()), key+"-"+strconv.Itoa(i)
		stream, keyTag := entity.Stream(id), entity.KeyTag(airportName, key)
		for _, tag := range []domain.Tag{stream, keyTag} {
			turn.Marks = append(turn.Marks, eventstore.Mark{Boundary: eventstore.Boundary{Org: benchOrg, Tag: tag}})
		}
		turn.Outcomes = append(turn.Outcomes, eventstore.Outcome{
			Meta: domain.Meta{
				Org: benchOrg, Actor: domain.Actor{Sub: "ana", Person: "ana"}, CommandID: uuid.Must(uuid.NewV7()), Now: time.Now(),
				RequestID: key, CorrelationID: key,
			},
			IdempotencyKey: key, RequestHash: make([]byte, 32), ResourceID: id.String(), Created: true, Version: 1,
			Events: []eventstore.NewEvent{{
				ID: uuid.Must(uuid.NewV7()), Stream: stream, Version: 1, Type: "entity.created", SchemaVersion: 1,
				Tags: []domain.Tag{stream, keyTag}, Data: w.airports[i%len(w.airports)],
			}},
		})
	}
	appended, err := w.store.Append(ctx, turn)
	if err == nil && appended.Refused() {
		err = errors.New("a turn of new entities was refused")
	}
	return err
}

// The raw yardstick's tables have the columns, indexes and checks of the log's, and
// neither partitions nor triggers nor row-level security.
const (
	rawSchema = `
		CREATE TABLE raw_events (LIKE events INCLUDING ALL);
		CREATE TABLE raw_tags (LIKE event_tags INCLUDING ALL);
		CREATE TABLE raw_receipts (LIKE receipts INCLUDING ALL);
		GRANT SELECT, INSERT ON raw_events, raw_tags, raw_receipts TO hub_command`
	insertRawEvents = `INSERT INTO raw_events
		SELECT position, position, $8, id, 'bench', stream, 1, 'entity.created', 1, tags::text[], '{}', data,
		       '{"sub":"ana","person":"ana"}', NULL, NULL, request, request, NULL, command, now(), now(), leaf
		  FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::uuid[], $9::bytea[])
		       AS u(position, id, stream, tags, data, request, command, leaf)`
	insertRawTags     = `INSERT INTO raw_tags SELECT 'bench', tag, position FROM unnest($1::text[], $2::bigint[]) AS u(tag, position)`
	insertRawReceipts = `INSERT INTO raw_receipts
		SELECT command, 'bench', 'ana', key, $4, NULL, resource, true, 1, position, position, now()
		  FROM unnest($1::uuid[], $2::text[], $3::text[], $5::bigint[]) AS u(command, key, resource, position)`
)

// rows inserts the rows of a turn, in one transaction and one round trip, and checks
// nothing.
func (w *writer) rows(ctx context.Context, key string) error {
	var (
		positions, tagPositions              []int64
		ids, commandIDs                      []uuid.UUID
		streams, literals, keys, tags, names []string
		data, leaves                         [][]byte
		hash                                 = make([]byte, 32)
	)
	for i := range turnSize {
		w.position++
		id, key := uuid.Must(uuid.NewV7()), key+"-"+strconv.Itoa(i)
		stream, keyTag := string(entity.Stream(id)), string(entity.KeyTag(airportName, key))
		positions, ids, commandIDs = append(positions, w.position), append(ids, uuid.Must(uuid.NewV7())), append(commandIDs, uuid.Must(uuid.NewV7()))
		streams, literals = append(streams, stream), append(literals, `{"`+stream+`","`+keyTag+`"}`)
		data, keys, names, leaves = append(data, w.airports[i%len(w.airports)]), append(keys, key), append(names, id.String()), append(leaves, hash)
		tags, tagPositions = append(tags, stream, keyTag), append(tagPositions, w.position, w.position)
	}
	var batch pgx.Batch
	batch.Queue(insertRawEvents, positions, ids, streams, literals, data, keys, commandIDs, uuid.Nil, leaves)
	batch.Queue(insertRawTags, tags, tagPositions)
	batch.Queue(insertRawReceipts, commandIDs, keys, names, hash, positions)
	return w.pool.SendBatch(ctx, &batch).Close()
}
