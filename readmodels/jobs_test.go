package readmodels_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/readmodels"
)

// job begins a bulk update of so many entities.
func (h *hub) job(t testing.TB, org, sub string, total int) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	h.append(t, org, entity.BulkUpdateStream(id), entity.BulkUpdateStarted{
		By: domain.JobOwner{Actor: domain.Actor{Sub: sub, Person: sub}}, Total: total, SelectedAt: 7, Filter: entity.BulkFilter{Type: "customer"},
	})
	return id
}

// Whoever has started a job sees it, and who sees all.
func TestJobsAreTheirOwners(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	by := func(org, sub string, all bool) readmodels.JobReader {
		return readmodels.JobReader{Org: org, Kind: entity.BulkUpdateKind, Sub: sub, All: all}
	}
	ours := []uuid.UUID{h.job(t, "acme", "ana", 4), h.job(t, "acme", "ana", 1), h.job(t, "acme", "ana", 1)}
	bobs, others := h.job(t, "acme", "bob", 1), h.job(t, "other", "ana", 1)
	h.append(t, "acme", entity.BulkUpdateStream(ours[0]), entity.BulkUpdateProgressed{Through: 2, Updated: 1, Unchanged: 1})
	h.append(t, "acme", entity.BulkUpdateStream(ours[1]), entity.BulkUpdateCancelled{})
	h.project(t)

	running, at, err := h.reads.Job(t.Context(), by("acme", "ana", false), ours[0])
	require.NoError(t, err)
	require.EqualValues(t, 7, at.Position)
	require.Equal(t, "running", running.State)
	require.Equal(t, []int64{4, 2, 1, 1, 0, 2}, []int64{running.Total, running.Processed, running.Updated, running.Unchanged, running.Failed, running.Version})
	require.JSONEq(t, `{"filter":{"type":"customer"},"selected_at":7,"attributes":[],"merge":false}`, string(running.About))
	require.Positive(t, running.Rate)
	require.InDelta(t, 2/running.Rate, *running.ETASeconds, 0.001)
	require.Nil(t, running.EndedAt)

	cancelled, _, err := h.reads.Job(t.Context(), by("acme", "bob", true), ours[1])
	require.NoError(t, err)
	require.Equal(t, "cancelled", cancelled.State)
	require.Equal(t, "ana", cancelled.StartedBy)
	require.Nil(t, cancelled.ETASeconds)
	require.False(t, cancelled.EndedAt.Before(cancelled.StartedAt))

	for _, reader := range []readmodels.JobReader{by("acme", "bob", false), by("other", "ana", true), {Org: "acme", Kind: "import", All: true}} {
		_, _, err := h.reads.Job(t.Context(), reader, ours[0])
		requireProblem(t, problem.NotFound, "not_found", err)
		_, _, err = h.reads.JobFailures(t.Context(), reader, ours[0], readmodels.Page{})
		requireProblem(t, problem.NotFound, "not_found", err)
	}

	list := func(reader readmodels.JobReader) (found []uuid.UUID) {
		for q := (readmodels.Page{Limit: 2, Count: true}); ; {
			page, _, err := h.reads.Jobs(t.Context(), reader, q)
			require.NoError(t, err)
			defer func() { require.EqualValues(t, len(found), *page.Count) }()
			for _, j := range page.Items {
				found = append(found, j.ID)
			}
			if page.NextCursor == nil {
				return found
			}
			q.Cursor = *page.NextCursor
		}
	}
	require.Equal(t, []uuid.UUID{ours[2], ours[1], ours[0]}, list(by("acme", "ana", false)))
	require.Equal(t, []uuid.UUID{bobs, ours[2], ours[1], ours[0]}, list(by("acme", "eve", true)))
	require.Equal(t, []uuid.UUID{others}, list(by("other", "ana", false)))
	require.Empty(t, list(by("acme", "eve", false)))

	page, _, err := h.reads.Jobs(t.Context(), by("acme", "ana", false), readmodels.Page{Limit: 1})
	require.NoError(t, err)
	_, _, err = h.reads.Jobs(t.Context(), by("acme", "eve", true), readmodels.Page{Limit: 1, Cursor: *page.NextCursor})
	requireProblem(t, problem.Malformed, "invalid_cursor", err)
}

func TestFailuresOfAJobInPages(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id, other := h.job(t, "acme", "ana", 50), h.job(t, "acme", "ana", 1)
	var want []string
	for step := range 5 {
		var failed []domain.JobFailure
		for n := range 10 {
			item := fmt.Sprint(step, "/", n)
			want = append(want, item+" invalid_attributes body.attributes/x is required")
			failed = append(failed, domain.FailureOf(item, problem.New(problem.Invalid, "invalid_attributes", "").
				With(problem.Field{Location: "body.attributes/x", Message: "is required"})))
		}
		h.append(t, "acme", entity.BulkUpdateStream(id), entity.BulkUpdateProgressed{Through: 10 * (step + 1), Failed: failed})
	}
	h.project(t)
	by := readmodels.JobReader{Org: "acme", Kind: entity.BulkUpdateKind, Sub: "ana"}
	var got []string
	q := readmodels.Page{Limit: 7, Count: true}
	for {
		page, _, err := h.reads.JobFailures(t.Context(), by, id, q)
		require.NoError(t, err)
		require.EqualValues(t, 50, *page.Count)
		for _, f := range page.Items {
			got = append(got, fmt.Sprintf("%s %s %s %s", f.Item, f.Code, f.Errors[0].Location, f.Errors[0].Message))
		}
		if page.NextCursor == nil {
			break
		}
		q.Cursor = *page.NextCursor
	}
	require.Equal(t, want, got)
	_, _, err := h.reads.JobFailures(t.Context(), by, other, q)
	requireProblem(t, problem.Malformed, "invalid_cursor", err)
	page, _, err := h.reads.JobFailures(t.Context(), by, other, readmodels.Page{})
	require.NoError(t, err)
	require.Empty(t, page.Items)
	require.Nil(t, page.Count)
}
