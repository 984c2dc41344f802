package readmodels

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// jobsView is the view of the jobs that commands have started.
const jobsView = "jobs"

// Job is a job as it is now, of any kind.
type Job struct {
	ID         uuid.UUID  `json:"id" doc:"The job's id." example:"0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	State      string     `json:"state" enum:"running,completed,failed,cancelled" doc:"failed means that the job as a whole could not go on, and code says why; items that fail are counted."`
	Code       string     `json:"code,omitempty" doc:"Why the job failed." example:"job_data_lost"`
	Total      int64      `json:"total" doc:"How many items there are." example:"1200"`
	Processed  int64      `json:"processed" doc:"How many of them are behind it." example:"400"`
	Created    int64      `json:"created" doc:"Items that were made." example:"0"`
	Updated    int64      `json:"updated" doc:"Items that were changed." example:"390"`
	Unchanged  int64      `json:"unchanged" doc:"Items that were already as they should be." example:"7"`
	Failed     int64      `json:"failed" doc:"Items that were refused; …/errors says why." example:"3"`
	Rate       float64    `json:"rate" doc:"Items a second since it was started." example:"812.5"`
	ETASeconds *float64   `json:"eta_seconds" nullable:"true" doc:"In how many seconds it will be done at that rate; null when nobody can tell, and of a job that has ended." example:"0.98"`
	StartedAt  time.Time  `json:"started_at" doc:"When it was started."`
	StartedBy  string     `json:"started_by" doc:"Who has started it, and for whom it works." example:"ana"`
	UpdatedAt  time.Time  `json:"updated_at" doc:"When it last got further."`
	EndedAt    *time.Time `json:"ended_at" nullable:"true" doc:"When it ended; null while it runs."`
	Version    int64      `json:"version" doc:"Counts the job's events; also its ETag." example:"9"`

	// About is what is shown of the request, as the kind of job says.
	About json.RawMessage `json:"-"`
}

// JobReader is who asks for jobs of a kind: sees those that Sub has started, or All.
type JobReader struct {
	Org, Kind, Sub string
	All            bool
}

// sees is the condition that the reader may see the job of the alias j.
func (r JobReader) sees(args *arguments) string {
	where := "j.org = " + args.add(r.Org) + " AND j.kind = " + args.add(r.Kind)
	if !r.All {
		where += " AND j.by_sub = " + args.add(r.Sub)
	}
	return where
}

// jobColumns are what scanJob reads, of the alias j.
const jobColumns = `j.id, j.state, j.code, j.total, j.created, j.updated, j.unchanged, j.failed, j.started_at, j.by_sub, j.updated_at, j.ended_at, j.version, j.about`

// scanJob reads a row. It reports false for the row of nulls of a statement that finds
// nothing. before are the columns in front of these.
func scanJob(scan func(...any) error, j *Job, before ...any) (bool, error) {
	var (
		id                                         *uuid.UUID
		state, code, by                            *string
		total, created, updated, unchanged, failed *int64
		version                                    *int64
		startedAt, updatedAt, endedAt              *time.Time
	)
	err := scan(append(before,
		&id, &state, &code, &total, &created, &updated, &unchanged, &failed, &startedAt, &by, &updatedAt, &endedAt, &version, (*[]byte)(&j.About))...)
	if err != nil || id == nil {
		return false, err
	}
	j.ID, j.State, j.Code, j.Total, j.StartedBy, j.Version = *id, *state, *code, *total, *by, *version
	j.Created, j.Updated, j.Unchanged, j.Failed = *created, *updated, *unchanged, *failed
	j.Processed = j.Created + j.Updated + j.Unchanged + j.Failed
	j.StartedAt, j.UpdatedAt = startedAt.UTC(), updatedAt.UTC()
	if endedAt != nil {
		at := endedAt.UTC()
		j.EndedAt = &at
	}
	j.pace()
	return true, nil
}

// pace is how fast it goes, and how long it will still take.
func (j *Job) pace() {
	until := j.UpdatedAt
	if j.EndedAt != nil {
		until = *j.EndedAt
	}
	if seconds := until.Sub(j.StartedAt).Seconds(); seconds > 0 {
		j.Rate = float64(j.Processed) / seconds
	}
	if j.EndedAt == nil && j.Rate > 0 {
		left := float64(j.Total-j.Processed) / j.Rate
		j.ETASeconds = &left
	}
}

// Job gives one job that the reader may see. Problem: NotFound not_found.
func (s *Store) Job(ctx context.Context, by JobReader, id uuid.UUID) (Job, Snapshot, error) {
	var j Job
	var found bool
	at, err := s.read(ctx, by.Org, jobsView, func(schema string) statement {
		j, found = Job{}, false
		args := arguments{jobsView}
		return statement{
			sql: `SELECT ` + heads + `, ` + jobColumns + ` FROM ` + pointed + ` LEFT JOIN ` + schema + `.jobs j ON ` +
				by.sees(&args) + ` AND j.id = ` + args.add(id),
			args: args,
			row: func(scan func(...any) error) (err error) {
				found, err = scanJob(scan, &j)
				return err
			},
		}
	})
	if err == nil && !found {
		err = noJob()
	}
	return j, at, err
}

func noJob() error {
	return problem.New(problem.NotFound, "not_found", "There is no job with this id.")
}

// JobPage is a page of jobs.
type JobPage struct {
	Items      []Job
	NextCursor *string
	// Count is nil unless it was asked for.
	Count *int64
}

// Jobs lists jobs, the latest first. Problems: invalid_limit (Invalid), invalid_cursor
// (Malformed), epoch_changed (Conflict).
func (s *Store) Jobs(ctx context.Context, by JobReader, q Page) (JobPage, Snapshot, error) {
	limit, err := q.limit()
	if err != nil {
		return JobPage{}, Snapshot{}, err
	}
	scope := cursorScope{org: by.Org, route: jobsView, sort: "-id", filters: []string{by.Kind, by.Sub, strconv.FormatBool(by.All)}}
	before := cursor{ID: uuid.Max}
	if q.Cursor != "" {
		if before, err = s.open(q.Cursor, scope); err != nil {
			return JobPage{}, Snapshot{}, err
		}
	}
	var page JobPage
	at, err := s.read(ctx, by.Org, jobsView, func(schema string) statement {
		page = JobPage{Items: []Job{}}
		args := arguments{jobsView}
		sees := by.sees(&args)
		return statement{
			sql: `SELECT ` + heads + `, ` + q.counted(schema+`.jobs j WHERE `+sees) + `, ` + jobColumns + ` FROM ` + pointed + ` LEFT JOIN LATERAL (
					SELECT * FROM ` + schema + `.jobs j WHERE ` + sees + ` AND j.id < ` + args.add(before.ID) + `
					 ORDER BY j.id DESC LIMIT ` + args.add(limit+1) + `) j ON true ORDER BY j.id DESC`,
			args: args,
			row: func(scan func(...any) error) error {
				var j Job
				found, err := scanJob(scan, &j, &page.Count)
				if found {
					page.Items = append(page.Items, j)
				}
				return err
			},
		}
	})
	if err == nil && q.Cursor != "" {
		err = before.sameLog(at)
	}
	if err != nil {
		return JobPage{}, at, err
	}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		next, err := s.seal(cursor{Epoch: at.Epoch, ID: page.Items[limit-1].ID}, scope)
		if err != nil {
			return JobPage{}, at, err
		}
		page.NextCursor = &next
	}
	return page, at, nil
}

// JobFailure is an item that failed.
type JobFailure struct {
	Item   string
	Code   string
	Errors []problem.Field
}

// JobFailurePage is a page of the items of a job that failed.
type JobFailurePage struct {
	Items      []JobFailure
	NextCursor *string
	Count      *int64
}

// JobFailures lists the items of a job that failed, as they did. Problems: not_found
// (NotFound), invalid_limit (Invalid), invalid_cursor (Malformed), epoch_changed (Conflict).
func (s *Store) JobFailures(ctx context.Context, by JobReader, id uuid.UUID, q Page) (JobFailurePage, Snapshot, error) {
	limit, err := q.limit()
	if err != nil {
		return JobFailurePage{}, Snapshot{}, err
	}
	scope := cursorScope{org: by.Org, route: "job_failures", filters: []string{by.Kind, id.String()}}
	var begun cursor
	var after failurePlace
	if q.Cursor != "" {
		if begun, err = s.open(q.Cursor, scope); err != nil {
			return JobFailurePage{}, Snapshot{}, err
		}
		if after, err = failurePlaceOf(begun); err != nil {
			return JobFailurePage{}, Snapshot{}, err
		}
	}
	var rows failureRows
	at, err := s.read(ctx, by.Org, jobsView, func(schema string) statement {
		rows = failureRows{items: []JobFailure{}}
		args := arguments{jobsView}
		where := by.sees(&args) + ` AND j.id = ` + args.add(id)
		beyond := `(f.position, f.number) > (` + args.add(after.position) + `, ` + args.add(after.number) + `)`
		return statement{
			sql: `SELECT ` + heads + `, ` + q.counted(schema+`.job_failures f WHERE f.org = j.org AND f.job_id = j.id`) + `, j.version, f.position, f.number, f.item, f.code, f.errors FROM ` + pointed + ` LEFT JOIN ` + schema + `.jobs j ON ` + where + `
				LEFT JOIN LATERAL (SELECT * FROM ` + schema + `.job_failures f WHERE f.org = j.org AND f.job_id = j.id AND ` + beyond + `
				                    ORDER BY f.position, f.number LIMIT ` + args.add(limit+1) + `) f ON true ORDER BY f.position, f.number`,
			args: args, row: rows.scan,
		}
	})
	if err == nil && q.Cursor != "" {
		err = begun.sameLog(at)
	}
	if err == nil && rows.version == nil {
		err = noJob()
	}
	if err != nil {
		return JobFailurePage{}, at, err
	}
	page := JobFailurePage{Items: rows.items, Count: rows.count}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		value := rows.places[limit-1].text()
		next, err := s.seal(cursor{Epoch: at.Epoch, Value: &value}, scope)
		if err != nil {
			return JobFailurePage{}, at, err
		}
		page.NextCursor = &next
	}
	return page, at, nil
}

// failurePlace is where in a job's failures one is; the zero place is before all of them.
type failurePlace struct{ position, number int64 }

func (p failurePlace) text() string {
	return strconv.FormatInt(p.position, 10) + "/" + strconv.FormatInt(p.number, 10)
}

func failurePlaceOf(c cursor) (p failurePlace, err error) {
	if c.Value == nil {
		return p, invalidCursor()
	}
	position, number, _ := strings.Cut(*c.Value, "/")
	if p.position, err = strconv.ParseInt(position, 10, 64); err == nil {
		p.number, err = strconv.ParseInt(number, 10, 32)
	}
	if err != nil {
		return p, invalidCursor()
	}
	return p, nil
}

// failureRows are the rows of a page.
type failureRows struct {
	count, version *int64 // the job's version, nil when there is none
	items          []JobFailure
	places         []failurePlace
}

func (r *failureRows) scan(scan func(...any) error) error {
	var (
		position   *int64
		number     *int32
		item, code *string
		errors     []byte
	)
	if err := scan(&r.count, &r.version, &position, &number, &item, &code, &errors); err != nil || position == nil {
		return err
	}
	failure := JobFailure{Item: *item, Code: *code}
	if err := json.Unmarshal(errors, &failure.Errors); err != nil {
		return err
	}
	r.items, r.places = append(r.items, failure), append(r.places, failurePlace{*position, int64(*number)})
	return nil
}
