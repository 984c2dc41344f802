package domain

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
)

// JobPayload is the payload of an event of a job: work on many things that a command has
// started, and that a reactor does bit by bit. All events of a job are of one stream, whose
// name is its id.
type JobPayload interface {
	Payload
	// JobChange says what the event means to the job, whatever kind of job it is. It is pure.
	JobChange() JobChange
}

// JobState is how a job is.
type JobState string

// The states. Those but running are the end of a job.
const (
	JobRunning   JobState = "running"
	JobCompleted JobState = "completed"
	JobCancelled JobState = "cancelled"
	JobFailed    JobState = "failed" // as a whole; that items fail is no failure of the job
)

// JobChange is what an event does to a job.
type JobChange struct {
	// Start is there with the first event.
	Start *JobStart
	// State is that from now on, "" for the one before.
	State JobState
	// Done are the items that the event is about, and Failures those of them that failed.
	Done     JobCounts
	Failures []JobFailure
	// Code is that of the problem that ended the job.
	Code string
	// Cleared says that nothing is left of what the job was to do it with.
	Cleared bool
}

// JobStart is what a job begins with.
type JobStart struct {
	// Kind is of lower-case letters and underscores. It stays.
	Kind string
	// Total is the number of items.
	Total int
	By    JobOwner
	// About is what is shown of the request, as a JSON object; nothing personal.
	About json.RawMessage
}

// JobCounts count items by what became of them.
type JobCounts struct{ Created, Updated, Unchanged, Failed int }

// All is how many they are.
func (c JobCounts) All() int { return c.Created + c.Updated + c.Unchanged + c.Failed }

// JobFailure says that one item was refused. It holds no values.
type JobFailure struct {
	// Item is what the kind of job is about: an entity's id, the line of a file.
	Item   string          `json:"item"`
	Code   string          `json:"code"`
	Fields []problem.Field `json:"errors,omitempty"`
}

// maxFailureFields bounds what is recorded of one failure, so that those of a step fit an
// event.
const maxFailureFields = 3

// FailureOf is the failure of an item with a problem.
func FailureOf(item string, p *problem.Problem) JobFailure {
	return JobFailure{Item: item, Code: p.Code, Fields: p.Fields[:min(len(p.Fields), maxFailureFields)]}
}

// JobOwner is for whom a job works, and as whom: what the token said when it was started.
type JobOwner struct {
	Actor
	Roles  []string `json:"roles"`
	Groups []string `json:"groups"`
}

// OwnerOf is the caller of a command.
func OwnerOf(m Meta) JobOwner {
	return JobOwner{m.Actor, append([]string{}, m.Roles...), append([]string{}, m.Groups...)}
}

// As is the metadata of a command that the owner gives.
func (o JobOwner) As(m Meta) Meta {
	m.Actor, m.Roles, m.Groups, m.IfMatch = o.Actor, o.Roles, o.Groups, nil
	return m
}

// The jobs of an organisation that are under way are a boundary, one for each day on which
// some were started, so that none grows for ever. Who starts one looks at two of them: a
// job that takes longer than a day counts for less.

// OpenJobsKind is the kind of the tag that the first and the last event of a job carry.
const OpenJobsKind = "jobs"

// OpenJobsTag is the boundary of the jobs that were started on a day, as 2026-11-22.
func OpenJobsTag(day string) Tag { return NewTag(OpenJobsKind, day) }

// JobDays are the days whose jobs count at a time, that of the time first.
func JobDays(now time.Time) [2]string {
	now = now.UTC()
	return [2]string{now.Format(time.DateOnly), now.AddDate(0, 0, -1).Format(time.DateOnly)}
}

const (
	// maxOpenJobs of an organisation take turns; each has its part of what a reactor does.
	maxOpenJobs = 20
	// maxOpenJobsOfOne leaves room to others.
	maxOpenJobsOfOne = 5
	// jobRetry is about as long as a small job takes.
	jobRetry = 10 * time.Second
	// openJobBytes is the memory of one, roughly.
	openJobBytes = 160
)

// OpenJobs are the jobs of a day that have not ended: their streams, and who started them.
type OpenJobs struct {
	Callers map[Tag]string `json:"callers"`
}

// Evolve folds one fact.
func (o OpenJobs) Evolve(f Fact) State {
	job, ok := f.Payload.(JobPayload)
	if !ok {
		return o
	}
	change := job.JobChange()
	next := maps.Clone(o.Callers)
	switch {
	case change.Start != nil:
		if next == nil {
			next = map[Tag]string{}
		}
		next[f.Stream] = change.Start.By.Sub
	case change.State != "" && change.State != JobRunning:
		delete(next, f.Stream)
	}
	return OpenJobs{next}
}

// Size is the approximate memory held, in bytes.
func (o OpenJobs) Size() int { return openJobBytes * (1 + len(o.Callers)) }

// Keep implements Kept.
func (o OpenJobs) Keep() ([]byte, error) { return json.Marshal(o) }

// Restore implements Kept.
func (OpenJobs) Restore(data []byte) (State, error) {
	var o OpenJobs
	err := json.Unmarshal(data, &o)
	return o, err
}

// RoomForJob refuses a job beyond what an organisation, or one caller, may have under way.
// Problem: too_many_jobs.
func RoomForJob(sub string, days ...OpenJobs) error {
	open, own := 0, 0
	for _, day := range days {
		open += len(day.Callers)
		for _, caller := range day.Callers {
			if caller == sub {
				own++
			}
		}
	}
	if open < maxOpenJobs && own < maxOpenJobsOfOne {
		return nil
	}
	return problem.New(problem.Throttled, "too_many_jobs",
		"An organisation may have %d jobs under way, and one caller %d. Wait until one has ended, or cancel one.", maxOpenJobs, maxOpenJobsOfOne).Retry(jobRetry)
}
