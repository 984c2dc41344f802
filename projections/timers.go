package projections

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// TimerKinds are the timers of the product. A new one is a line here and one in
// reactions.Timers, and raises timersVersion.
func TimerKinds() []domain.Timer {
	return []domain.Timer{ledger.Expiry()}
}

// timersVersion goes up with each change of TimerKinds, so that what the log says of a
// new kind from before is in the view, too.
const timersVersion = 1

// maxTimerKey fits an index with room to spare.
const maxTimerKey = 256

// Timers is what is to happen when: a row for each timer that is set. One that has fired
// is gone when an event says so; see reactions/timers.go.
func Timers(kinds []domain.Timer) Projection {
	var types []string
	for _, kind := range kinds {
		types = append(types, kind.Types...)
	}
	slices.Sort(types)
	return Projection{
		Name: "timers", Version: timersVersion, Types: slices.Compact(types), Tables: []string{"timers"},
		DDL: func(schema string) string {
			return `
				CREATE TABLE ` + schema + `.timers (
					org            text COLLATE "C" NOT NULL,
					kind           text COLLATE "C" NOT NULL,
					key            text COLLATE "C" NOT NULL,
					due_at         timestamptz      NOT NULL,
					set_by         uuid             NOT NULL, -- the event that has set it
					set_at         bigint           NOT NULL, -- its position
					stream         text             NOT NULL,
					type           text             NOT NULL,
					correlation_id text             NOT NULL,
					request_id     text             NOT NULL,
					PRIMARY KEY (org, kind, key)
				);`
		},
		Indexes: func(schema string) string {
			return `
				CREATE INDEX timers_due ON ` + schema + `.timers (due_at, set_at);
				CREATE INDEX timers_set_by ON ` + schema + `.timers (set_by);`
		},
		Apply: func(batch *pgx.Batch, schema string, events []Event) error {
			return applyTimers(kinds, batch, schema, events)
		},
	}
}

// timerID is a timer in its table.
type timerID struct{ org, kind, key string }

// timerSetting is the last word of a batch on a timer.
type timerSetting struct {
	by     Event
	change domain.TimerChange
}

// applyTimers queues two statements: those that are set, and those that are not.
func applyTimers(kinds []domain.Timer, batch *pgx.Batch, schema string, events []Event) error {
	last := map[timerID]timerSetting{}
	for _, e := range events {
		for _, kind := range kinds {
			if !slices.Contains(kind.Types, e.Type) {
				continue
			}
			change, found := kind.Change(e.Event, e.Payload)
			if !found {
				continue
			}
			if len(change.Key) == 0 || len(change.Key) > maxTimerKey || change.Set && change.Due.IsZero() {
				return fmt.Errorf("the timer %s cannot be changed as position %d says: no time, or a key of %d bytes", kind.Name, e.Position, len(change.Key))
			}
			last[timerID{e.Org, kind.Name, change.Key}] = timerSetting{e, change}
		}
	}
	var set, cancelled timerRows
	for id, setting := range last {
		if setting.change.Set {
			set.add(id, setting)
		} else {
			cancelled.add(id, setting)
		}
	}
	if len(set.orgs) > 0 {
		batch.Queue(`
			INSERT INTO `+schema+`.timers (org, kind, key, due_at, set_by, set_at, stream, type, correlation_id, request_id)
			SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[])
			ON CONFLICT (org, kind, key) DO UPDATE
			   SET due_at = excluded.due_at, set_by = excluded.set_by, set_at = excluded.set_at, stream = excluded.stream,
			       type = excluded.type, correlation_id = excluded.correlation_id, request_id = excluded.request_id`,
			set.orgs, set.kinds, set.keys, set.due, set.by, set.at, set.streams, set.types, set.correlations, set.requests)
	}
	if len(cancelled.orgs) > 0 {
		batch.Queue(`
			DELETE FROM `+schema+`.timers t USING unnest($1::text[], $2::text[], $3::text[]) AS c (org, kind, key)
			 WHERE t.org = c.org AND t.kind = c.kind AND t.key = c.key`, cancelled.orgs, cancelled.kinds, cancelled.keys)
	}
	return nil
}

// timerRows are rows by column.
type timerRows struct {
	orgs, kinds, keys, streams, types, correlations, requests []string
	due                                                       []time.Time
	by                                                        []uuid.UUID
	at                                                        []int64
}

func (r *timerRows) add(id timerID, s timerSetting) {
	r.orgs, r.kinds, r.keys = append(r.orgs, id.org), append(r.kinds, id.kind), append(r.keys, id.key)
	r.streams, r.types = append(r.streams, string(s.by.Stream)), append(r.types, s.by.Type)
	r.correlations, r.requests = append(r.correlations, s.by.CorrelationID), append(r.requests, s.by.RequestID)
	r.due, r.by, r.at = append(r.due, notBefore(s.change.Due)), append(r.by, s.by.ID), append(r.at, s.by.Position)
}

// notBefore is the first time from t on that PostgreSQL can keep: a timer that fired a
// part of a microsecond early would be refused as too early.
func notBefore(t time.Time) time.Time {
	kept := t.UTC().Truncate(time.Microsecond)
	if kept.Before(t) {
		kept = kept.Add(time.Microsecond)
	}
	return kept
}
