package projections

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
)

// JobEvents are the events of all kinds of jobs. A new kind is a line here and one in
// reactions.JobKinds, and raises jobsVersion.
func JobEvents() []domain.JobPayload { return entity.BulkUpdateEvents() }

// jobsVersion goes up with each change of JobEvents or of the tables.
const jobsVersion = 2

// WorkJobs is the view of the jobs that commands have started, of every kind: a row for
// each with how far it is, and one for each item that failed. Reactors find in it what is to
// be done; see reactions/jobs.go.
func WorkJobs() Projection {
	var types []string
	for _, payload := range JobEvents() {
		types = append(types, payload.EventType())
	}
	return Projection{
		Name: "jobs", Version: jobsVersion, Types: types, Tables: []string{"jobs", "job_failures"},
		DDL: func(schema string) string {
			return `
				CREATE TABLE ` + schema + `.jobs (
					org            text COLLATE "C" NOT NULL,
					id             uuid             NOT NULL,
					kind           text             NOT NULL,
					state          text             NOT NULL,
					code           text             NOT NULL, -- of the problem that ended it, or ''
					cleared        boolean          NOT NULL, -- nothing is left of what it worked with
					total          bigint           NOT NULL,
					created        bigint           NOT NULL,
					updated        bigint           NOT NULL,
					unchanged      bigint           NOT NULL,
					failed         bigint           NOT NULL,
					about          jsonb            NOT NULL,
					by_sub         text             NOT NULL,
					by_person      text             NOT NULL,
					request_id     text             NOT NULL,
					correlation_id text             NOT NULL,
					started_by     uuid             NOT NULL, -- the event that has started it
					position       bigint           NOT NULL, -- of that event
					version        bigint           NOT NULL,
					started_at     timestamptz      NOT NULL,
					updated_at     timestamptz      NOT NULL,
					ended_at       timestamptz,
					PRIMARY KEY (org, id)
				) WITH (fillfactor = 70);
				CREATE TABLE ` + schema + `.job_failures (
					org      text COLLATE "C" NOT NULL,
					job_id   uuid             NOT NULL,
					position bigint           NOT NULL, -- of the event that tells it
					number   integer          NOT NULL, -- within that event
					item     text             NOT NULL,
					code     text             NOT NULL,
					errors   jsonb            NOT NULL,
					PRIMARY KEY (org, job_id, position, number)
				);`
		},
		Indexes: func(schema string) string {
			return `
				CREATE INDEX jobs_open ON ` + schema + `.jobs (position) WHERE NOT cleared;
				CREATE INDEX jobs_kind ON ` + schema + `.jobs (org, kind, id);`
		},
		Apply: applyJobs,
	}
}

// jobKey is a job in its table.
type jobKey struct {
	org string
	id  uuid.UUID
}

// jobDelta is what a batch does to a job.
type jobDelta struct {
	// start is the event that it begins with, where that is in the batch.
	start       *Event
	begun       *domain.JobStart
	state, code string
	cleared     bool
	done        domain.JobCounts
	version     int64
	at          time.Time
	endedAt     *time.Time
}

func (d *jobDelta) add(e Event, change domain.JobChange) {
	if change.Start != nil {
		d.start, d.begun = &e, change.Start
	}
	if change.State != "" {
		d.state = string(change.State)
		if change.State != domain.JobRunning {
			at := e.RecordedAt
			d.endedAt = &at
		}
	}
	if change.Code != "" {
		d.code = change.Code
	}
	d.cleared = d.cleared || change.Cleared
	d.done.Created += change.Done.Created
	d.done.Updated += change.Done.Updated
	d.done.Unchanged += change.Done.Unchanged
	d.done.Failed += change.Done.Failed
	d.version, d.at = e.Version, e.RecordedAt
}

// applyJobs queues two statements for all jobs of a batch, and one for the items that
// failed.
func applyJobs(batch *pgx.Batch, schema string, events []Event) error {
	deltas := map[jobKey]*jobDelta{}
	var order []jobKey
	var failures jobFailureRows
	for _, e := range events {
		payload, ok := e.Payload.(domain.JobPayload)
		id, err := uuid.Parse(e.Stream.Name())
		if !ok || err != nil {
			return fmt.Errorf("event type %s at position %d is not that of a job", e.Type, e.Position)
		}
		change, key := payload.JobChange(), jobKey{e.Org, id}
		if deltas[key] == nil {
			deltas[key] = &jobDelta{}
			order = append(order, key)
		}
		deltas[key].add(e, change)
		if err := failures.add(key, e.Position, change.Failures); err != nil {
			return err
		}
	}
	var started startedJobs
	var changed jobRows
	for _, key := range order {
		if delta := deltas[key]; delta.start != nil {
			started.add(key, delta)
		} else {
			changed.add(key, delta)
		}
	}
	started.queue(batch, schema)
	changed.queue(batch, schema)
	failures.queue(batch, schema)
	return nil
}

// jobRows are what changes of jobs, by column.
type jobRows struct {
	orgs, states, codes                           []string
	ids                                           []uuid.UUID
	cleared                                       []bool
	created, updated, unchanged, failed, versions []int64
	updatedAt                                     []time.Time
	endedAt                                       []*time.Time
}

func (r *jobRows) add(key jobKey, d *jobDelta) {
	r.orgs, r.ids, r.states, r.codes = append(r.orgs, key.org), append(r.ids, key.id), append(r.states, d.state), append(r.codes, d.code)
	r.cleared, r.versions = append(r.cleared, d.cleared), append(r.versions, d.version)
	r.created, r.updated = append(r.created, int64(d.done.Created)), append(r.updated, int64(d.done.Updated))
	r.unchanged, r.failed = append(r.unchanged, int64(d.done.Unchanged)), append(r.failed, int64(d.done.Failed))
	r.updatedAt, r.endedAt = append(r.updatedAt, d.at), append(r.endedAt, d.endedAt)
}

func (r *jobRows) queue(batch *pgx.Batch, schema string) {
	if len(r.orgs) == 0 {
		return
	}
	batch.Queue(`
		UPDATE `+schema+`.jobs j
		   SET state = coalesce(nullif(c.state, ''), j.state), code = coalesce(nullif(c.code, ''), j.code), cleared = j.cleared OR c.cleared,
		       created = j.created + c.created, updated = j.updated + c.updated, unchanged = j.unchanged + c.unchanged, failed = j.failed + c.failed,
		       version = c.version, updated_at = c.updated_at, ended_at = coalesce(c.ended_at, j.ended_at)
		  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::boolean[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
		              $11::timestamptz[], $12::timestamptz[])
		       AS c (org, id, state, code, cleared, created, updated, unchanged, failed, version, updated_at, ended_at)
		 WHERE j.org = c.org AND j.id = c.id`,
		r.orgs, r.ids, r.states, r.codes, r.cleared, r.created, r.updated, r.unchanged, r.failed, r.versions, r.updatedAt, r.endedAt)
}

// startedJobs are jobs that begin, by column.
type startedJobs struct {
	jobRows
	kinds, abouts, subs, persons, requests, correlations []string
	totals, positions                                    []int64
	startedBy                                            []uuid.UUID
	startedAt                                            []time.Time
}

func (r *startedJobs) add(key jobKey, d *jobDelta) {
	r.jobRows.add(key, d)
	r.kinds, r.abouts, r.totals = append(r.kinds, d.begun.Kind), append(r.abouts, string(d.begun.About)), append(r.totals, int64(d.begun.Total))
	r.subs, r.persons = append(r.subs, d.begun.By.Sub), append(r.persons, d.begun.By.Person)
	r.requests, r.correlations = append(r.requests, d.start.RequestID), append(r.correlations, d.start.CorrelationID)
	r.startedBy, r.positions, r.startedAt = append(r.startedBy, d.start.ID), append(r.positions, d.start.Position), append(r.startedAt, d.start.RecordedAt)
}

func (r *startedJobs) queue(batch *pgx.Batch, schema string) {
	if len(r.orgs) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO `+schema+`.jobs (org, id, kind, state, code, cleared, total, created, updated, unchanged, failed, about, by_sub, by_person,
		                             request_id, correlation_id, started_by, position, version, started_at, updated_at, ended_at)
		SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::bigint[], $8::bigint[], $9::bigint[],
		                     $10::bigint[], $11::bigint[], $12::jsonb[], $13::text[], $14::text[], $15::text[], $16::text[],
		                     $17::uuid[], $18::bigint[], $19::bigint[], $20::timestamptz[], $21::timestamptz[], $22::timestamptz[])`,
		r.orgs, r.ids, r.kinds, r.states, r.codes, r.cleared, r.totals, r.created, r.updated, r.unchanged, r.failed, r.abouts, r.subs, r.persons,
		r.requests, r.correlations, r.startedBy, r.positions, r.versions, r.startedAt, r.updatedAt, r.endedAt)
}

// jobFailureRows are items that failed, by column.
type jobFailureRows struct {
	orgs, items, codes, errors []string
	jobs                       []uuid.UUID
	positions                  []int64
	numbers                    []int32
}

func (r *jobFailureRows) add(key jobKey, position int64, failures []domain.JobFailure) error {
	for n, failure := range failures {
		fields, err := json.Marshal(failure.Fields)
		if err != nil {
			return fmt.Errorf("writing what was wrong with an item of a job: %w", err)
		}
		if failure.Fields == nil {
			fields = []byte("[]")
		}
		r.orgs, r.jobs, r.positions, r.numbers = append(r.orgs, key.org), append(r.jobs, key.id), append(r.positions, position), append(r.numbers, int32(n))
		r.items, r.codes, r.errors = append(r.items, failure.Item), append(r.codes, failure.Code), append(r.errors, string(fields))
	}
	return nil
}

func (r *jobFailureRows) queue(batch *pgx.Batch, schema string) {
	if len(r.orgs) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO `+schema+`.job_failures (org, job_id, position, number, item, code, errors)
		SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $7::jsonb[])`,
		r.orgs, r.jobs, r.positions, r.numbers, r.items, r.codes, r.errors)
}
