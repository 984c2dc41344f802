package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/access"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/keyring"
	"github.com/reactdjango-hub/backend/readmodels"
)

// clearConnections are for opening sensitive values, and for recording that.
const clearConnections = 3

// clearReads opens sensitive values and records who sees them, on the log's own database:
// a replica of it could not say that it was recorded.
type clearReads struct {
	keys     *keyring.Keyring
	store    *eventstore.Store
	recorder *eventstore.AccessRecorder
	codec    *eventstore.Codec
}

// startLogReads starts what queries read of the log itself.
func (s *system) startLogReads(ctx, background context.Context, options *httpapi.Options) (err error) {
	if options.Events, err = s.startEvents(ctx, background); err != nil {
		return err
	}
	return s.startClearReads(ctx, background, options)
}

// startClearReads starts what opens and records. It does not wait for the log's database: all other queries go on without.
func (s *system) startClearReads(ctx, background context.Context, options *httpapi.Options) error {
	pool, err := s.openPool(ctx, "clear", s.cfg.DatabaseURL, eventstore.RoleQuery, clearConnections)
	if err != nil {
		return err
	}
	store := eventstore.New(pool)
	c := &clearReads{
		keys:  keyring.New(keyring.Options{Pool: pool, Masters: s.masters, ReadOnly: true, Cache: s.unwrapped, Metrics: s.metrics}),
		store: store, recorder: eventstore.NewAccessRecorder(store), codec: codec(),
	}
	s.work(background, "access recorder", func(ctx context.Context) error {
		c.recorder.Run(ctx)
		return nil
	})
	options.Clear = &httpapi.Clear{Open: c.open, Hasher: c.hasher, Record: c.record}
	options.Accesses = c.list
	return nil
}

func (c *clearReads) open(ctx context.Context, org string, values []domain.Sealed) ([]json.RawMessage, error) {
	var refs []keyring.Ref
	for _, value := range values {
		refs = append(refs, keyring.Refs(org, value.Subjects())...)
	}
	keys, err := c.keys.Load(ctx, refs)
	if err != nil {
		return nil, err
	}
	opened := make([]json.RawMessage, len(values))
	for i, value := range values {
		plain, err := keys.Open(org, value)
		if err != nil && !errors.Is(err, domain.ErrErased) {
			return nil, err
		}
		opened[i] = plain
	}
	return opened, nil
}

func (c *clearReads) hasher(ctx context.Context, org string) (func(...string) []byte, error) {
	hasher, err := c.keys.Hasher(ctx, org)
	if err != nil {
		return nil, err
	}
	if hasher == nil {
		return func(...string) []byte { return nil }, nil
	}
	return hasher.Hash, nil
}

func (c *clearReads) record(ctx context.Context, org string, actor domain.Actor, requestID string, seen []httpapi.Seen) error {
	accesses := make([]eventstore.Access, len(seen))
	for i, one := range seen {
		_, schemaVersion, data, err := c.codec.Encode(one.Recorded)
		if err != nil {
			return err
		}
		accesses[i] = eventstore.Access{Org: org, Actor: actor, RequestID: requestID, Subjects: one.Subjects, SchemaVersion: schemaVersion, Data: data}
	}
	return c.recorder.Record(ctx, accesses...)
}

func (c *clearReads) list(ctx context.Context, org string, q httpapi.AccessQuery) (httpapi.AccessPage, readmodels.Snapshot, error) {
	found, err := c.store.Accesses(ctx, org, eventstore.AccessQuery(q))
	if err != nil {
		return httpapi.AccessPage{}, readmodels.Snapshot{}, databaseAway(err)
	}
	at := readmodels.Snapshot{Position: found.Head, Epoch: found.Epoch}
	page := httpapi.AccessPage{Items: make([]httpapi.RecordedAccess, len(found.Events)), Next: found.Next, Count: found.Count}
	for i, e := range found.Events {
		fact, err := c.codec.Fact(e)
		if err != nil {
			return httpapi.AccessPage{}, at, err
		}
		seen, ok := fact.Payload.(access.Recorded)
		if !ok {
			return httpapi.AccessPage{}, at, fmt.Errorf("position %d is no access", e.Position)
		}
		page.Items[i] = httpapi.RecordedAccess{
			Position: e.Position, Actor: e.Actor.Sub, Person: e.Actor.Person, Subjects: e.Subjects, Attributes: seen.Attributes, Reasons: seen.Reasons, Route: seen.Route,
			RequestID: e.RequestID, RecordedAt: e.RecordedAt,
		}
	}
	return page, at, nil
}
