package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain"
)

// ErrNotTheTail says that what was to be appended again is not all of a lost end of the
// log, or not what the log wrote. Nothing was written.
var ErrNotTheTail = errors.New("the copies are not the lost end of the log")

// Reappend writes again, exactly as they were, events that the log has lost, with their
// receipts. next gives them in order, some at a time, and nothing at their end; all or
// none are written, while the log's lock is held. False says that the log has another
// head or epoch than expected: something was appended since. RoleRelay only.
func (s *Store) Reappend(ctx context.Context, epoch uuid.UUID, head int64, next func(context.Context) ([]LogEntry, error)) (done bool, err error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("starting a transaction: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	tail := tail{epoch: epoch, last: head}
	for {
		entries, err := next(ctx)
		if err != nil {
			return false, err
		}
		if len(entries) == 0 {
			break
		}
		args, err := tail.args(entries)
		if err != nil {
			return false, err
		}
		var follows bool
		err = tx.QueryRow(ctx, `SELECT reappend_events($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,
			$23,$24,$25,$26,$27,$28,$29,$30,$31,$32)`, args...).Scan(&follows)
		switch {
		case BadData(err):
			return false, fmt.Errorf("%w: %w", ErrNotTheTail, err)
		case err != nil:
			return false, fmt.Errorf("appending again: %w", err)
		case !follows:
			return false, nil
		}
	}
	if tail.open != uuid.Nil || tail.last == head {
		return false, fmt.Errorf("%w: the last command is not complete", ErrNotTheTail)
	}
	if err := tx.Commit(ctx); err != nil {
		return false, fmt.Errorf("appending again: %w", err)
	}
	return true, nil
}

// tail checks what the database cannot: that every command is complete, which its
// receipt beside its last event shows.
type tail struct {
	epoch uuid.UUID
	last  int64
	// open is a command whose receipt has not come yet, Nil for none.
	open uuid.UUID
}

func (t *tail) follow(entry LogEntry) error {
	switch {
	case entry.Position != t.last+1:
		return fmt.Errorf("%w: position %d is missing", ErrNotTheTail, t.last+1)
	case entry.Epoch != t.epoch:
		return fmt.Errorf("%w: position %d is of another epoch", ErrNotTheTail, entry.Position)
	case t.open != uuid.Nil && t.open != entry.CommandID:
		return fmt.Errorf("%w: a command before position %d is not complete", ErrNotTheTail, entry.Position)
	}
	t.last, t.open = entry.Position, entry.CommandID
	if entry.Receipt != nil {
		t.open = uuid.Nil
	}
	return nil
}

// args lays entries out in the arrays of reappend_events.
func (t *tail) args(entries []LogEntry) ([]any, error) {
	var (
		e                     eventArrays
		m                     metaArrays
		c                     outcomeArrays
		position, orgPosition []int64
		recorded              []time.Time
		leaf                  [][]byte
		first, final          []int64
	)
	for _, entry := range entries {
		if err := t.follow(entry); err != nil {
			return nil, err
		}
		meta := domain.Meta{
			Org: entry.Org, Actor: entry.Actor, OnBehalfOf: entry.OnBehalfOf, RequestID: entry.RequestID,
			CorrelationID: entry.CorrelationID, CausationID: entry.CausationID, CommandID: entry.CommandID, Now: entry.OccurredAt,
		}
		if err := m.add(meta); err != nil {
			return nil, err
		}
		e.add(NewEvent{
			ID: entry.ID, Stream: entry.Stream, Version: entry.Version, Type: entry.Type, SchemaVersion: entry.SchemaVersion,
			Tags: entry.Tags, Subjects: entry.Subjects, Reason: entry.Reason, Data: entry.Data,
		})
		position, orgPosition = append(position, entry.Position), append(orgPosition, entry.OrgPosition)
		recorded, leaf = append(recorded, entry.RecordedAt), append(leaf, entry.LeafHash)
		if r := entry.Receipt; r != nil {
			c.add(Outcome{
				Meta:           domain.Meta{CommandID: r.CommandID, Org: r.Org, Actor: domain.Actor{Sub: r.Caller}},
				IdempotencyKey: r.IdempotencyKey, RequestHash: r.RequestHash, ResourceID: r.ResourceID, Created: r.Created, Version: r.Version,
			})
			first, final = append(first, r.FirstPosition), append(final, r.Position)
		}
	}
	return []any{
		t.epoch, position, orgPosition, e.id, m.org, e.stream, e.version, e.kind, e.schemaVersion, e.tags, e.subjects, e.data,
		m.actor, m.onBehalfOf, e.reason, m.request, m.correlation, m.causation, m.command, m.occurred, recorded, leaf,
		c.id, c.org, c.caller, c.key, c.hash, c.resource, c.created, c.version, first, final,
	}, nil
}
