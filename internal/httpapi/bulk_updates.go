package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

const bulkUpdatesPath = entitiesPath + "/bulk"

// maxSelections bounds those under way: each holds the ids of up to 100,000 entities, and
// a preview keeps the loop busy.
const maxSelections = 2

// BulkUpdate is the body that starts a bulk update.
type BulkUpdate struct {
	Filter     map[string]json.RawMessage `json:"filter" minProperties:"1" doc:"Which entities: parameters of the list of entities with their values, all of which must match. type, key, tag, status (active unless given), q, id, and comparisons as attr.city or updated_at[lt]. Not by sensitive attributes." example:"{\"type\":\"customer\",\"attr.city\":\"Paris\"}"`
	Attributes map[string]json.RawMessage `json:"attributes,omitempty" doc:"New values by name, as in a patch of one entity; null removes one." example:"{\"segment\":\"gold\"}"`
	Tags       []string                   `json:"tags,omitempty" doc:"The new labels, all of them; an empty list removes them." example:"[\"vip\"]"`
	OnChange   string                     `json:"on_change,omitempty" enum:"skip,merge" default:"skip" doc:"What becomes of an entity that somebody has changed since it was selected: skip refuses it as version_conflict, so that nothing is overwritten that nobody has seen; merge changes it all the same."`
}

// BulkFilter is what is shown of a filter. What may be personal is not kept.
type BulkFilter struct {
	Type   string   `json:"type,omitempty" doc:"As it was given." example:"customer"`
	Tag    string   `json:"tag,omitempty" doc:"As it was given." example:"vip"`
	Status string   `json:"status,omitempty" doc:"As it was given." example:"active"`
	Others []string `json:"others,omitempty" doc:"The other parameters, without what they were compared with." example:"[\"attr.city\"]"`
}

// BulkUpdateJob is a bulk update as it is now.
type BulkUpdateJob struct {
	readmodels.Job
	Filter     BulkFilter `json:"filter" doc:"Which entities were selected."`
	SelectedAt int64      `json:"selected_at" doc:"The position of the view that they were selected in." example:"4711"`
	Attributes []string   `json:"attributes" doc:"Names of the attributes that are changed. Their values are not shown." example:"[\"segment\"]"`
	Tags       []string   `json:"tags,omitzero" nullable:"true" doc:"The new labels, where they are changed."`
	OnChange   string     `json:"on_change" enum:"skip,merge" doc:"What becomes of an entity that was changed since it was selected."`
}

func bulkUpdateJob(j readmodels.Job) (BulkUpdateJob, error) {
	var about entity.BulkAbout
	if err := json.Unmarshal(j.About, &about); err != nil {
		return BulkUpdateJob{}, fmt.Errorf("reading what a job is about: %w", err)
	}
	return BulkUpdateJob{
		Job: j, Filter: BulkFilter(about.Filter), SelectedAt: about.SelectedAt, Attributes: about.Names, Tags: about.Tags, OnChange: onChange(about.Merge),
	}, nil
}

func onChange(merge bool) string {
	if merge {
		return "merge"
	}
	return "skip"
}

// BulkUpdatePage is a page of bulk updates.
type BulkUpdatePage struct {
	Items      []BulkUpdateJob `json:"items" doc:"The jobs of this page, the latest first."`
	NextCursor *string         `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64          `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

// BulkUpdateReceipt is the answer to a bulk update.
type BulkUpdateReceipt struct {
	JobReceipt[BulkUpdateJob]
	Preview *BulkPreview `json:"preview,omitempty" doc:"What would happen, in a dry run."`
}

type startBulkUpdateInput struct {
	MinPosition string `header:"Hub-Min-Position" doc:"Select from a view that includes this position." example:"4711"`
	Epoch       string `header:"Hub-Epoch" doc:"The log that Hub-Min-Position belongs to, as a read answered it." example:"0197a3a2-0000-7c3e-9d5b-6f2a8f1d0c11"`
	Body        BulkUpdate
}

type bulkUpdateOutput struct {
	Status   int
	Position int64  `header:"Hub-Position" doc:"Position of the last event; send it as Hub-Min-Position to read the job. Of a dry run, the position that it was decided at." example:"4711"`
	ETag     string `header:"ETag" doc:"The job's version. Not sent with a dry run." example:"\"2\""`
	Location string `header:"Location" doc:"Where the job is; not sent with a dry run." example:"/api/v1/entities/bulk/0197a3a2-51c4-7c3e-9d5b-6f2a8f1d0c11"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when this is the first answer again." example:"true"`
	Applied  string `header:"Preference-Applied" doc:"Sent when resource is there because Prefer asked for it." example:"return=representation"`
	Body     BulkUpdateReceipt
}

// bulkUpdateResource is what the commands of bulk updates are about.
var bulkUpdateResource = resource[BulkUpdateJob]{collection: bulkUpdatesPath, kind: entity.BulkUpdateKind, view: viewOfBulkUpdate, complete: addProgress}

// viewOfBulkUpdate has what a command decides of a job.
func viewOfBulkUpdate(r commands.Resource) (BulkUpdateJob, error) {
	id, err := uuid.Parse(r.ID)
	return BulkUpdateJob{Job: readmodels.Job{ID: id, State: string(r.State.(entity.BulkUpdate).State), Version: r.Version}}, err
}

// addProgress adds all else, which is in the view.
func addProgress(ctx context.Context, a *API, shown *BulkUpdateJob) error {
	found, _, err := a.views.Job(ctx, exchangeOf(ctx).jobReader(entity.BulkUpdateKind), shown.ID)
	if err != nil {
		return err
	}
	found.State, found.Version = shown.State, shown.Version
	*shown, err = bulkUpdateJob(found)
	return err
}

// startBulkUpdate selects the entities and starts the job, or goes through them to tell
// what it would do.
func (a *API) startBulkUpdate(ctx context.Context, in *startBulkUpdateInput) (*bulkUpdateOutput, error) {
	e := exchangeOf(ctx)
	asked, shown, err := bulkQuery(in.Body.Filter)
	if err != nil {
		return nil, err
	}
	release, err := a.takeSelection(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	selected, at, err := a.selectEntities(ctx, asked)
	if err != nil {
		return nil, err
	}
	id, err := newID(ctx)
	if err != nil {
		return nil, err
	}
	start := entities.StartBulkUpdate{Days: domain.JobDays(time.Now()), Update: entity.NewBulkUpdate{
		ID: id, Document: patchWithin(e.document), Merge: in.Body.OnChange == "merge", Filter: shown, SelectedAt: at.Position, Selected: selected,
	}}
	about := bulkUpdateResource
	if id == uuid.Nil {
		about.view = nil // the preview says more than a job that there is not
	}
	done, err := submit(ctx, a, start, about)
	if err != nil {
		return nil, err
	}
	out := &bulkUpdateOutput{Status: http.StatusAccepted, Position: done.Position, ETag: done.ETag, Applied: done.PreferenceApplied, Body: BulkUpdateReceipt{JobReceipt: JobReceipt[BulkUpdateJob]{Receipt: done.Body}}}
	if !done.Body.DryRun {
		out.Body.JobID, out.Location = done.Body.ID, bulkUpdatesPath+"/"+done.Body.ID
		out.Replayed = e.Header().Get("Idempotency-Replayed")
		return out, nil
	}
	out.Status, out.Body.Events = http.StatusOK, []ReceiptEvent{} // the preview says more
	out.Body.Preview, err = a.previewBulkUpdate(ctx, start)
	return out, err
}

// takeSelection makes room for a selection. Problem: too_many_reads.
func (a *API) takeSelection(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxExamination)
	defer cancel()
	select {
	case a.selections <- struct{}{}:
		return func() { <-a.selections }, nil
	case <-ctx.Done():
		return nil, problem.New(problem.Unavailable, "too_many_reads", "Too many selections are under way. Send this one again in a moment.").Retry(time.Second)
	}
}

// selectEntities finds what a filter finds for the caller. Faults are told of the body.
func (a *API) selectEntities(ctx context.Context, asked readmodels.EntityQuery) ([]entity.Selected, readmodels.Snapshot, error) {
	by := exchangeOf(ctx).reader()
	selected, at, err := observeIn(ctx, a, a.views, false, func(ctx context.Context) ([]entity.Selected, readmodels.Snapshot, error) {
		return a.views.SelectEntities(ctx, by, asked, entity.MaxBulk)
	})
	p := problem.Of(err)
	switch {
	case p == nil:
		return selected, at, err
	case p.Code == "privacy_required" || p.Code == "sealed_attribute":
		// Who sees what such a job has changed would see who has the value.
		return nil, at, problem.New(problem.Invalid, "sealed_attribute", "Entities cannot be selected by a sensitive attribute: what the job changes would show who has the value.")
	case len(p.Fields) > 0:
		told := *p
		told.Fields = slices.Clone(p.Fields)
		for i, field := range told.Fields {
			if name, found := strings.CutPrefix(field.Location, "query."); found {
				told.Fields[i].Location = clip(filterLocation + name)
			}
		}
		return nil, at, &told
	}
	return nil, at, err
}

// filterLocation is where the parameters of a filter are.
const filterLocation = "body.filter/"

// bulkQuery reads a filter, and what of it may be kept in the log. Problem: invalid_filter.
func bulkQuery(filter map[string]json.RawMessage) (asked readmodels.EntityQuery, shown entity.BulkFilter, err error) {
	var faults []problem.Field
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		value, fault := filterValue(filter[name])
		if fault == "" {
			fault = setFilter(&asked, &shown, name, value)
		}
		if fault != "" {
			faults = append(faults, problem.Field{Location: clip(filterLocation + name), Message: fault})
		}
	}
	if len(faults) > 0 {
		return asked, shown, problem.New(problem.Invalid, "invalid_filter", "A filter cannot be used; errors says which.").With(sorted(faults)...)
	}
	return asked, shown, nil
}

// filterValue is a value of a filter as a URL has it, and what is wrong with it.
func filterValue(raw json.RawMessage) (value, fault string) {
	switch {
	case len(raw) > 0 && raw[0] == '"':
		if json.Unmarshal(raw, &value) != nil || value == "" {
			return "", "must not be empty"
		}
		return value, ""
	case len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'), string(raw) == "true", string(raw) == "false":
		return string(raw), ""
	}
	return "", "must be a string, a number, true or false"
}

// setFilter puts one parameter into the query, and says what is wrong with it.
func setFilter(asked *readmodels.EntityQuery, shown *entity.BulkFilter, name, value string) (fault string) {
	switch name {
	case "type":
		asked.Type, shown.Type = value, value
		return ""
	case "tag":
		asked.Tag, shown.Tag = value, value
		return ""
	case "status":
		asked.Status, shown.Status = value, value
		return ""
	case "key":
		asked.Key = value
	case "q":
		asked.Search = value
	case "id":
		ids, err := idList(value)
		if err != nil {
			return problem.Of(err).Fields[0].Message
		}
		asked.IDs = ids
	default:
		field, operator := filterName(name)
		attribute, found := strings.CutPrefix(field, readmodels.AttributePrefix)
		if found && attribute == "" || !found && !slices.Contains(readmodels.EntityFilters(), field) {
			return "is not something to filter by"
		}
		asked.Filters = append(asked.Filters, readmodels.Filter{Field: field, Operator: operator, Value: value})
	}
	shown.Others = append(shown.Others, name)
	return ""
}

// patchWithin is the merge patch within the body: in it null and absence differ, which a
// Go struct cannot say.
func patchWithin(body []byte) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil // it was read before
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return name != "attributes" && name != "tags" })
	patch, _ := json.Marshal(members) // what is JSON can be written
	return patch
}

func (a *API) getBulkUpdate(ctx context.Context, in *getJobInput) (*view[BulkUpdateJob], error) {
	id, err := jobID(in.ID)
	if err != nil {
		return nil, err
	}
	shape, err := shapeOf[BulkUpdateJob](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	by := exchangeOf(ctx).jobReader(entity.BulkUpdateKind)
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.Job, readmodels.Snapshot, error) {
		return a.reads.Job(ctx, by, id)
	})
	if err != nil {
		return nil, err
	}
	job, err := bulkUpdateJob(found)
	if err != nil {
		return nil, err
	}
	return answerOne(ctx, job, at, job.Version, shape, nil)
}

func (a *API) listBulkUpdates(ctx context.Context, in *listJobsInput) (*view[BulkUpdatePage], error) {
	shape, err := shapeOf[BulkUpdateJob](in.Fields, "", nil, nil)
	if err != nil {
		return nil, err
	}
	by := exchangeOf(ctx).jobReader(entity.BulkUpdateKind)
	found, at, err := observe(ctx, a, func(ctx context.Context) (readmodels.JobPage, readmodels.Snapshot, error) {
		return a.reads.Jobs(ctx, by, readmodels.Page{Limit: in.Limit, Cursor: in.Cursor, Count: in.Count})
	})
	if err != nil {
		return nil, err
	}
	page := BulkUpdatePage{Items: make([]BulkUpdateJob, len(found.Items)), NextCursor: found.NextCursor, Count: found.Count}
	for i, job := range found.Items {
		if page.Items[i], err = bulkUpdateJob(job); err != nil {
			return nil, err
		}
	}
	return answerList(ctx, page, page.Items, at, shape, nil)
}

func (a *API) cancelBulkUpdate(ctx context.Context, in *jobInput) (*receiptOutput[BulkUpdateJob], error) {
	id, err := jobID(in.ID)
	if err != nil {
		return nil, err
	}
	return submit(ctx, a, entities.CancelBulkUpdate{ID: id}, bulkUpdateResource)
}
