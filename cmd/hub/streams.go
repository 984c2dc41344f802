package main

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/eventstore/subscription"
	"github.com/reactdjango-hub/backend/internal/httpapi"
)

// eventConnections read the log for those who follow it, who share what is new; more at a
// time come from who catches up.
const eventConnections = 4

// startEvents does not wait for the log's database: queries go on without it.
func (s *system) startEvents(ctx, background context.Context) (*httpapi.Events, error) {
	pool, err := s.openPool(ctx, "events", s.cfg.DatabaseURL, eventstore.RoleQuery, eventConnections)
	if err != nil {
		return nil, err
	}
	feed, err := s.events()
	if err != nil {
		return nil, err
	}
	store := eventstore.New(pool)
	tail := subscription.NewTail(subscription.Options{Store: store, Feed: feed, Log: s.log, Metrics: s.metrics})
	s.work(background, "event tail", tail.Run)
	return &httpapi.Events{Tail: tail, Types: codec().Types(), UseTicket: store.UseTicket}, nil
}

// endWaits lets go of those who wait for something, when the process stops: another one
// serves them.
func (s *system) endWaits() {
	if s.reads != nil {
		s.reads.EndWaits()
	}
	if s.api != nil {
		s.api.EndStreams()
	}
}

// events is the feed of all who follow the log in this process.
func (s *system) events() (*subscription.Feed, error) {
	if s.feed == nil {
		js, err := jetstream.New(s.nats)
		if err != nil {
			return nil, fmt.Errorf("preparing JetStream: %w", err)
		}
		s.feed = subscription.NewFeed(js)
	}
	return s.feed, nil
}
