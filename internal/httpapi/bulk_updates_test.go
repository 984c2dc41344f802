package httpapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/entities"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

// bulk is an edge of a whole system, whose steps of jobs the test takes itself.
type bulk struct {
	*edge
	*testing.T
	loop *commands.Loop
	url  string
	// position is that of the last write.
	position int64
}

const bulkType = `{"title":"Customer","schema":{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0}},"required":["name"]},"search":["name"],"sensitive":["iban"]}`

func newBulk(t *testing.T) *bulk {
	t.Helper()
	s := startSystem(t)
	s.project(t)
	b := &bulk{edge: newEdge(t, func(o *Options) { o.Loop, o.Reads = s.loop, s.reads }), T: t, loop: s.loop, url: s.url}
	b.write("PUT", "/api/v1/entity-types/customer", bulkType)
	return b
}

// as makes somebody the caller from now on.
func (b *bulk) as(sub string, roles ...string) {
	b.Helper()
	b.admin = b.issuer.tokenOf(b.T, identity.TokenRequest{Sub: sub, Org: "acme", Roles: roles})
}

// write sends a write that succeeds and returns the id of what it is about.
func (b *bulk) write(method, path, body string, headers ...string) string {
	b.Helper()
	receipt := b.call(method, path, body, headers...).receipt()
	if receipt.Position != nil {
		b.position = *receipt.Position
	}
	return receipt.ID
}

// send asks for a bulk update of what is there by now.
func (b *bulk) send(body string, headers ...string) *reply {
	b.Helper()
	target := bulkUpdatesPath
	if slices.Contains(headers, "dry run") {
		headers = slices.DeleteFunc(headers, func(h string) bool { return h == "dry run" })
		target += "?dry_run=true"
	}
	return b.call("POST", target, body, append(headers, after(b.position)...)...)
}

// begin starts a job and returns its id.
func (b *bulk) begin(body string, headers ...string) string {
	b.Helper()
	answer := b.send(body, headers...)
	require.Equal(b.T, 202, answer.Status, "%s", answer.Body)
	var receipt BulkUpdateReceipt
	answer.json(&receipt)
	require.NotEmpty(b.T, receipt.JobID)
	require.Equal(b.T, receipt.JobID, receipt.ID)
	require.Equal(b.T, bulkUpdatesPath+"/"+receipt.JobID, answer.Header.Get("Location"))
	require.Equal(b.T, entityTag(receipt.Version), answer.Header.Get("ETag"))
	require.Equal(b.T, fmt.Sprint(*receipt.Position), answer.Header.Get("Hub-Position"))
	b.position = *receipt.Position
	return receipt.JobID
}

// finish takes steps until nothing is left to do.
func (b *bulk) finish(id string) {
	b.Helper()
	for {
		receipt, err := b.loop.Submit(b.Context(), commands.Submission{
			Decider: entities.AdvanceBulkUpdate{ID: uuid.MustParse(id)}, Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "ana", Person: "ana"}, Reason: "New segments"},
		})
		require.NoError(b.T, err)
		b.position = max(b.position, receipt.Position)
		if len(receipt.Events) == 0 {
			return
		}
	}
}

// job reads a job as it is by now.
func (b *bulk) job(id string) (job BulkUpdateJob) {
	b.Helper()
	answer := b.call("GET", bulkUpdatesPath+"/"+id, "", after(b.position)...)
	require.Equal(b.T, 200, answer.Status, "%s", answer.Body)
	require.Equal(b.T, entityTag(jobVersion(answer)), answer.Header.Get("ETag"))
	answer.json(&job)
	return job
}

func jobVersion(answer *reply) int64 {
	var of struct{ Version int64 }
	answer.json(&of)
	return of.Version
}

// customers makes so many, of whom some do not follow the type any more, are hidden from
// others than eve, or may only be read.
func (b *bulk) customers(count int) (ids []string) {
	b.Helper()
	for n := range count {
		id := b.write("POST", "/api/v1/entities", fmt.Sprintf(`{"type":"customer","key":"C-%d","attributes":{"name":"Ana %d","age":%d},"tags":["t%d"]}`, n, n, n, n%2))
		switch n % 10 {
		case 7:
			b.write("PUT", "/api/v1/entities/"+id+"/acl", `{"entries":[{"principal":"user:eve","permissions":["read","write"]}]}`)
		case 8:
			b.write("PUT", "/api/v1/entities/"+id+"/acl", `{"entries":[{"principal":"user:ana","permissions":["read"]}]}`)
		case 9:
			b.write("PATCH", "/api/v1/entities/"+id, `{"attributes":{"segment":"gold"}}`)
		}
		ids = append(ids, id)
	}
	return ids
}

// What a dry run says the run then does, if nobody else writes: the same entities, counts
// and refusals. What the caller may not see is neither changed nor counted.
func TestADryRunOfABulkUpdateEqualsTheRun(t *testing.T) {
	t.Parallel()
	b := newBulk(t)
	ids := b.customers(130)
	b.write("PUT", "/api/v1/entity-types/customer", strings.Replace(bulkType, `"minimum":0`, `"minimum":5`, 1)[:len(bulkType)-1]+`,"force":true}`)
	b.as("ana", "editor")
	const body = `{"filter":{"type":"customer","attr.age[lt]":125},"attributes":{"segment":"gold","iban":"DE1"},"tags":["new"]}`
	events := func() (count int) {
		require.NoError(t, hubtest.Pool(t, b.url, "").QueryRow(t.Context(), `SELECT count(*) FROM events WHERE type NOT LIKE 'member.%'`).Scan(&count))
		return count
	}
	before := events()
	tried := b.send(body, "dry run", "Idempotency-Key", "k1")
	require.Equal(t, 200, tried.Status, "%s", tried.Body)
	require.NotContains(t, string(tried.Body), "DE1")
	var dry BulkUpdateReceipt
	tried.json(&dry)
	require.True(t, dry.DryRun)
	require.Empty(t, dry.JobID)
	require.Equal(t, before, events(), "a dry run has written something")

	// 125 match, of which 12 are hidden: 12 may be read only, and 5 do not follow the type.
	want := *dry.Preview
	require.Equal(t, []int{113, 113, 113 - 12 - 5, 0, 12 + 5}, []int{want.Total, want.Processed, want.Updated, want.Unchanged, want.Failed})
	require.Len(t, want.Errors, 17)

	id := b.begin(body, "Idempotency-Key", "k1", "Hub-Reason", "New segments")
	again := b.send(body, "Idempotency-Key", "k1", "Hub-Reason", "New segments")
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Contains(t, string(again.Body), `"job_id":"`+id+`"`)
	running := b.job(id)
	require.Equal(t, []any{"running", int64(113), int64(0), "ana"}, []any{running.State, running.Total, running.Processed, running.StartedBy})
	require.Equal(t, BulkFilter{Type: "customer", Others: []string{"attr.age[lt]"}}, running.Filter)
	require.Equal(t, []string{"iban", "segment"}, running.Attributes)
	require.Equal(t, []string{"new"}, running.Tags)
	b.finish(id)
	done := b.job(id)
	require.Equal(t, []any{"completed", int64(113), int64(want.Updated), int64(0), int64(want.Failed)}, []any{done.State, done.Processed, done.Updated, done.Unchanged, done.Failed})

	var errors JobErrorPage
	b.call("GET", bulkUpdatesPath+"/"+id+"/errors", "").json(&errors)
	require.Equal(t, want.Errors, errors.Items)
	for _, fault := range errors.Items {
		require.NotEqual(t, "The item was refused.", fault.Detail)
	}

	// Entity by entity.
	b.as("root", "admin")
	failed := map[string]bool{}
	for _, fault := range errors.Items {
		failed[fault.Item] = true
	}
	for n, one := range ids {
		var got struct {
			Version    int64
			Attributes struct{ Segment, IBAN string }
			UpdatedBy  string `json:"updated_by"`
		}
		b.call("GET", "/api/v1/entities/"+one, "").json(&got)
		changed := n < 125 && n%10 != 7 && !failed[one]
		require.Equal(t, changed, got.Attributes.IBAN == "***", "%d: %+v", n, got)
		if changed {
			require.Equal(t, "ana", got.UpdatedBy)
		}
	}
	var history struct{ Items []struct{ Reason string } }
	b.call("GET", "/api/v1/entities/"+ids[20]+"/history?limit=1", "").json(&history)
	require.Equal(t, "New segments", history.Items[0].Reason)
	// Neither the patch nor the filter is in the log.
	var leaked int
	require.NoError(t, hubtest.Pool(t, b.url, "").QueryRow(t.Context(), `SELECT count(*) FROM events WHERE position(convert_to('DE1', 'UTF8') IN data) > 0`).Scan(&leaked))
	require.Zero(t, leaked)

	// And once more: nothing is left to change.
	b.as("ana", "editor")
	b.send(body, "dry run").json(&dry)
	require.Equal(t, []int{0, want.Updated, want.Failed}, []int{dry.Preview.Updated, dry.Preview.Unchanged, dry.Preview.Failed})
}

// Whoever has started a job sees and cancels it, and admins do.
func TestWhoseABulkUpdateIs(t *testing.T) {
	t.Parallel()
	b := newBulk(t)
	b.customers(10)
	b.as("ana", "editor")
	id := b.begin(`{"filter":{"type":"customer"},"tags":["x"]}`)
	path := bulkUpdatesPath + "/" + id
	listed := func() (ids []string) {
		var page BulkUpdatePage
		b.call("GET", bulkUpdatesPath, "", after(b.position)...).json(&page)
		for _, job := range page.Items {
			ids = append(ids, job.ID.String())
		}
		return ids
	}
	require.Equal(t, []string{id}, listed())
	b.as("bob", "editor")
	require.Empty(t, listed())
	for _, call := range [][2]string{{"GET", path}, {"GET", path + "/errors"}, {"GET", path + "/errors?format=csv"}, {"POST", path + "/cancel"}} {
		b.call(call[0], call[1], "").expect(404, "not_found")
	}
	b.as("root", "admin")
	require.Equal(t, []string{id}, listed())
	b.call("POST", path+"/cancel", "", "If-Match", `"7"`).expect(412, "version_conflict")
	if dry := b.call("POST", path+"/cancel?dry_run=true", ""); dry.Status != 200 || !strings.Contains(string(dry.Body), "bulk_update.cancelled") {
		t.Errorf("%d %s", dry.Status, dry.Body)
	}
	b.as("ana", "editor")
	b.write("POST", path+"/cancel", "", "If-Match", `"2"`)
	b.finish(id)
	job := b.job(id)
	require.Equal(t, "cancelled", job.State)
	require.Zero(t, job.Processed)
	require.NotNil(t, job.EndedAt)
	if again := b.call("POST", path+"/cancel", ""); again.Status != 200 || !strings.Contains(string(again.Body), `"events":[]`) {
		t.Errorf("%d %s", again.Status, again.Body)
	}
	over := b.begin(`{"filter":{"type":"ghost"},"tags":["x"]}`)
	require.Equal(t, "completed", b.job(over).State)
	b.call("POST", bulkUpdatesPath+"/"+over+"/cancel", "").expect(409, "conflict")
	b.call("GET", bulkUpdatesPath+"/7", "").expect(404, "not_found")
	require.Equal(t, []string{over, id}, listed())
	for target, want := range map[string]string{
		bulkUpdatesPath + "?count=true&fields=state,filter&limit=1": `"count":2,`,
		path + "?fields=state,on_change":                            `{"state":"cancelled","on_change":"skip"}`,
		path + "/errors?count=true&fields=code":                     `"count":0`,
	} {
		if answer := b.call("GET", target, ""); answer.Status != 200 || !strings.Contains(string(answer.Body), want) {
			t.Errorf("%s: %d %s", target, answer.Status, answer.Body)
		}
	}
	b.call("GET", path+"?fields=about", "").expect(422, "invalid_fields")
}

// All that failed, in pages and in one file.
func TestErrorsOfABulkUpdate(t *testing.T) {
	t.Parallel()
	b := newBulk(t)
	const count = 620
	for n := range count {
		b.write("POST", "/api/v1/entities", fmt.Sprintf(`{"type":"customer","attributes":{"name":"Ana %d"}}`, n))
	}
	id := b.begin(`{"filter":{"type":"customer"},"attributes":{"name":7,"age":-1}}`)
	b.finish(id)
	require.EqualValues(t, count, b.job(id).Failed)
	var want [][]string
	path := bulkUpdatesPath + "/" + id + "/errors"
	for cursor := ""; ; {
		var page JobErrorPage
		b.call("GET", path+"?limit=500"+cursor, "").json(&page)
		for _, item := range page.Items {
			require.Equal(t, "invalid_attributes", item.Code)
			require.Len(t, item.Errors, 2)
			for _, fault := range item.Errors {
				want = append(want, []string{item.Item, item.Code, fault.Location, fault.Message})
			}
		}
		if page.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *page.NextCursor
	}
	require.Len(t, want, 2*count)
	answer := b.call("GET", path+"?format=csv", "")
	require.Equal(t, "text/csv; charset=utf-8; header=present", answer.Header.Get("Content-Type"))
	lines, err := csv.NewReader(bytes.NewReader(answer.Body)).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"item", "code", "location", "message"}, lines[0])
	require.True(t, reflect.DeepEqual(want, lines[1:]))
	page := b.call("GET", path, "")
	require.Equal(t, "application/json", page.Header.Get("Content-Type"))
	unchanged := b.call("GET", path, "", "If-None-Match", page.Header.Get("ETag"))
	require.Equal(t, 304, unchanged.Status)
	require.Empty(t, unchanged.Body)
	b.call("GET", path+"?format=xml", "").expect(422, "invalid_request")
	b.call("GET", path+"?cursor=x", "").expect(400, "invalid_cursor")
}

func TestBulkUpdatesThatCannotBe(t *testing.T) {
	t.Parallel()
	b := newBulk(t)
	b.customers(3)
	filtered := func(filter string) string { return `{"filter":{` + filter + `},"attributes":{"age":1}}` }
	for body, want := range map[string]string{
		`{"attributes":{"age":1}}`:                                           "invalid_request body",
		filtered(``):                                                         "invalid_request body.filter",
		`{"filter":{"type":"customer"}}`:                                     "invalid_patch body",
		`{"filter":{"type":"customer"},"attributes":{}}`:                     "invalid_patch body",
		`{"filter":{"type":"customer"},"attributes":null}`:                   "invalid_patch body.attributes",
		`{"filter":{"type":"customer"},"attributes":{"$sealed":1}}`:          "invalid_attributes body.attributes/$sealed",
		`{"filter":{"type":"customer"},"tags":["",""]}`:                      "invalid_tags body.tags/0",
		`{"filter":{"type":"customer"},"tags":["a"],"key":"b"}`:              "unknown_field body.key",
		`{"filter":{"type":"customer"},"tags":["a"],"on_change":"force"}`:    "invalid_request body.on_change",
		filtered(`"type":""`):                                                "invalid_filter body.filter/type",
		filtered(`"type":["customer"]`):                                      "invalid_filter body.filter/type",
		filtered(`"type":null`):                                              "invalid_filter body.filter/type",
		filtered(`"status":"asleep"`):                                        "invalid_filter body.filter/status",
		filtered(`"id":"7"`):                                                 "invalid_filter body.filter/id",
		filtered(`"attr.":1`):                                                "invalid_filter body.filter/attr.",
		filtered(`"limit":1`):                                                "invalid_filter body.filter/limit",
		filtered(`"attr.age[like]":1`):                                       "invalid_filter body.filter/attr.age",
		filtered(`"updated_at[lt]":"soon"`):                                  "invalid_filter body.filter/updated_at",
		filtered(`"attr.iban":"DE1"`):                                        "sealed_attribute ",
		filtered(`"attr.iban[gt]":"DE1"`):                                    "sealed_attribute ",
		filtered(`"q":"?"`):                                                  "invalid_search body.filter/q",
		filtered(`"q":"ana","type":"ghost"`):                                 "not_searchable body.filter/q",
		filtered(`"type":"customer","q":"` + strings.Repeat("a", 201) + `"`): "invalid_search body.filter/q",
	} {
		for _, dry := range []string{"", "dry run"} {
			var headers []string
			if dry != "" {
				headers = []string{dry}
			}
			p := b.send(body, headers...).problem()
			location := ""
			if len(p.Errors) > 0 {
				location = p.Errors[0].Location
			}
			require.Equal(t, want, p.Code+" "+location, "%s %s", dry, body)
			require.Equal(t, 422, p.Status, body)
		}
	}
	b.call("POST", bulkUpdatesPath, filtered(`"type":"customer"`), "Hub-Min-Position", "-1").expect(400, "invalid_min_position")
	b.call("POST", bulkUpdatesPath, `{"filter":{"type":"customer"},"attributes":{"name":"`+strings.Repeat("x", 70_000)+`"}}`).expect(413, "body_too_large")
	for range 5 {
		b.begin(filtered(`"type":"customer"`))
	}
	full := b.send(filtered(`"type":"customer"`), "Idempotency-Key", "k")
	full.expect(429, "too_many_jobs")
	require.NotEmpty(t, full.Header.Get("Retry-After"))
	b.send(filtered(`"type":"customer"`), "dry run").expect(429, "too_many_jobs")
	b.as("bob", "editor")
	b.begin(filtered(`"type":"customer"`))
}

// Filters select as they do in lists: numbers, truth, and what is searched for.
func TestFiltersOfBulkUpdates(t *testing.T) {
	t.Parallel()
	b := newBulk(t)
	ids := b.customers(10)
	for filter, want := range map[string]int{
		`"attr.age[gte]":6`: 4, `"attr.age":"6"`: 1, `"attr.gone[ne]":true`: 10, `"key":"C-3"`: 1, `"tag":"t1","type":"customer"`: 5,
		`"q":"ana 4"`: 1, `"id":"` + ids[0] + `,` + ids[1] + `"`: 2, `"status":"archived"`: 0, `"version[lt]":2`: 7, `"type":"customer","attr.age[in]":"1,2"`: 2,
	} {
		answer := b.send(`{"filter":{`+filter+`},"tags":["x"]}`, "dry run")
		require.Equal(t, 200, answer.Status, "%s: %s", filter, answer.Body)
		var dry BulkUpdateReceipt
		answer.json(&dry)
		require.Equal(t, want, dry.Preview.Total, filter)
		require.Equal(t, want, dry.Preview.Processed, filter)
	}
	// Who may write none of them is told so of each that he may see.
	b.as("vic", "viewer")
	var dry BulkUpdateReceipt
	b.send(`{"filter":{"type":"customer"},"tags":["x"]}`, "dry run").json(&dry)
	require.Equal(t, []int{8, 0, 8}, []int{dry.Preview.Total, dry.Preview.Updated, dry.Preview.Failed})
	require.Equal(t, "forbidden", dry.Preview.Errors[0].Code)
	b.as("aud", "auditor")
	b.send(`{"filter":{"type":"customer"},"tags":["x"]}`, "dry run").expect(403, "forbidden")
}

// What cannot be done of one entity is left behind in a dry run, too.
func TestADryRunLeavesBehindWhatCannotBeDone(t *testing.T) {
	t.Parallel()
	b := newBulk(t)
	ids := b.customers(6)
	large := `{"attributes":{"large":{"text":"` + strings.Repeat("x", 220_000) + `"}}}`
	b.write("PATCH", "/api/v1/entities/"+ids[3], large)
	body := `{"filter":{"type":"customer"},"attributes":{"large":{"more":"` + strings.Repeat("y", 50_000) + `"}}}`
	var dry BulkUpdateReceipt
	tried := b.send(body, "dry run")
	require.Equal(t, 200, tried.Status, "%s %s", tried.Body, b.log)
	tried.json(&dry)
	require.Equal(t, []int{6, 5, 1}, []int{dry.Preview.Processed, dry.Preview.Updated, dry.Preview.Failed})
	require.Equal(t, JobError{Item: ids[3], Code: "event_too_large", Detail: meaningOf("event_too_large")}, dry.Preview.Errors[0])
	// While the loop has no room, a dry run is refused, and nothing is taken for done.
	b.api.send = refuseSteps(b.api.send)
	b.send(body, "dry run").expect(503, "overloaded")
}

// refuseSteps has no room for any step.
func refuseSteps(send func(context.Context, commands.Submission) (commands.Receipt, error)) func(context.Context, commands.Submission) (commands.Receipt, error) {
	return func(ctx context.Context, s commands.Submission) (commands.Receipt, error) {
		if _, step := s.Decider.(entities.AdvanceBulkUpdate); step {
			return commands.Receipt{}, problem.New(problem.Unavailable, "overloaded", "On purpose.")
		}
		return send(ctx, s)
	}
}
